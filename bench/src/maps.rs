//! The agent's maps, as the node of a lab has them pinned.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use lab::Lab;

/// `struct service_key` and `struct service` of crates/datapath/bpf/layout.h.
type Services = HashMap<MapData, [u8; 20], [u8; 48]>;

/// Protocols of Services that are measured, by number.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// Where a Service is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frontend {
    ClusterIp(SocketAddr),
    /// Over IPv4.
    NodePort(u16),
}

/// Where Services are reached, and by whom they are served.
pub(crate) struct ServiceMap(Services);

impl ServiceMap {
    /// That of a node's agent, once it has made it.
    pub(crate) fn open(lab: &Lab, node: &str) -> Result<Self> {
        let data = MapData::from_pin(pin(lab, node, "services")?).context("the map of Services")?;
        Ok(Self(Map::HashMap(data).try_into()?))
    }

    /// What there is for a frontend: it changes with the backends. `None`: nothing.
    pub(crate) fn get(&self, at: Frontend, protocol: u8) -> Result<Option<[u8; 48]>> {
        let (address, port, scope) = match at {
            Frontend::ClusterIp(at) => (at.ip(), at.port(), 0),
            Frontend::NodePort(port) => (Ipv4Addr::UNSPECIFIED.into(), port, 1),
        };
        let mut key = [0; 20];
        key[..16].copy_from_slice(&octets(address));
        key[16..18].copy_from_slice(&port.to_be_bytes());
        key[18..].copy_from_slice(&[protocol, scope]);
        match self.0.get(&key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("cannot read the map of Services"),
        }
    }

    /// How many backends those inside the cluster get there.
    pub(crate) fn backends(&self, at: Frontend, protocol: u8) -> Result<u32> {
        let value = self.get(at, protocol)?;
        let count = value.as_ref().and_then(|value| value.get(20..24)?.try_into().ok());
        Ok(count.map_or(0, u32::from_ne_bytes))
    }
}

/// How many established connections there are with an address.
pub(crate) fn connections(lab: &Lab, node: &str, address: IpAddr) -> Result<usize> {
    let data = MapData::from_pin(pin(lab, node, "connections")?).context("the map of connections")?;
    let map: HashMap<_, [u8; 40], [u8; 56]> = Map::LruHashMap(data).try_into()?;
    let address = octets(address);
    Ok(map.keys().flatten().filter(|key| key[..16] == address || key[16..32] == address).count())
}

/// The generation of policy that is in force: every change comes into force by its next one.
pub(crate) struct Generation(Array<MapData, [u8; 152]>);

impl Generation {
    /// That of a node's agent.
    pub(crate) fn open(lab: &Lab, node: &str) -> Result<Self> {
        let data = MapData::from_pin(pin(lab, node, "config")?).context("the map config")?;
        Ok(Self(Map::Array(data).try_into()?))
    }

    /// `policy_generation` of `struct config` of crates/datapath/bpf/layout.h.
    pub(crate) fn get(&self) -> Result<u32> {
        let config = self.0.get(&0, 0).context("cannot read the map config")?;
        let bytes = config.get(144..148).context("config is too short")?;
        Ok(u32::from_ne_bytes(bytes.try_into()?))
    }
}

/// How many entries a map can have.
pub(crate) fn size(lab: &Lab, node: &str, map: &str) -> Result<u32> {
    let data = MapData::from_pin(pin(lab, node, map)?).with_context(|| format!("the map {map}"))?;
    Ok(data.info()?.max_entries())
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// A map's pin, by the name that is before its version.
fn pin(lab: &Lab, node: &str, map: &str) -> Result<PathBuf> {
    let init = lab.state()?.node(node)?.init;
    let dir = PathBuf::from(format!("/proc/{}/root/sys/fs/bpf/midonet-kube/maps", init.pid));
    let entries = fs::read_dir(&dir).with_context(|| format!("{node} has no maps"))?;
    let prefix = format!("{map}-v");
    let found = entries.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    Ok(found.with_context(|| format!("{node} has no map {map}"))?.path())
}
