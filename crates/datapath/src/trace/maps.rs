//! The maps of a tracer: those that it shares, and how large its own are.

use std::net::IpAddr;
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Map, MapData};

use super::{id_of, missing};
use crate::api::CONFIG;
use crate::error::{Error, Result};
use crate::layout::services::{SCOPE_ADDRESS, SCOPE_HOST_PORT, SCOPE_NODE_PORT, Service, ServiceKey};
use crate::layout::{Address, Config, Endpoint, Port, ROUTE_TUNNEL, Route, RouteKey};
use crate::sys::RawMap;

/// An LRU map that is too small for the CPUs evicts what was just added: each CPU takes 128 free entries at a time.
const LRU_EACH_CPU: u32 = 256;
const LRU_LEAST: u32 = 1024;

/// How many entries a tracer's own map has; `None`: it shares that of the datapath. What it counts by the numbers of
/// Services and rules it does not need.
pub(super) fn own_entries(name: &str) -> Option<u32> {
    match name {
        "connections" | "new_connections" | "flows" | "affinities" | "fragments" | "answers" | "drops"
        | "records" => {
            let cpus = aya::util::nr_cpus().unwrap_or(1);
            Some(u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(LRU_EACH_CPU).max(LRU_LEAST))
        }
        "service_counts" | "policy_counts" | "flows_used" => Some(1),
        "counters" => Some(crate::layout::REASONS_MAX),
        _ => None,
    }
}

/// The maps that say where a packet leaves.
pub(super) struct Shared {
    config: RawMap,
    endpoints: RawMap,
    ports: RawMap,
    routes: RawMap,
    nodes: RawMap,
    services: RawMap,
    /// Held, since the programs are loaded later.
    _others: Vec<MapData>,
}

impl Shared {
    /// Takes the maps out of the load, each the one of the datapath.
    pub(super) fn take(ebpf: &mut Ebpf, maps: &[(&'static str, PathBuf, u32, u32)]) -> Result<Self> {
        let mut take = |name: &'static str| {
            let map = take(ebpf, name)?;
            let wanted = maps.iter().find(|(of, ..)| *of == name).map(|(_, _, id, _)| *id);
            if wanted != Some(id_of(&map)?) {
                let reason = format!("map {name} was replaced in this moment: try again");
                return Err(Error::Load { what: "maps", reason });
            }
            Ok(map)
        };
        let mut raw = |name| RawMap::new(take(name)?).map_err(|error| Error::map("open", name, &error));
        let (config, endpoints, ports) = (raw("config")?, raw("endpoints")?, raw("ports")?);
        let (routes, nodes, services) = (raw("routes")?, raw("nodes")?, raw("services")?);
        let named = ["config", "endpoints", "ports", "routes", "nodes", "services"];
        let others = maps.iter().map(|(name, ..)| *name).filter(|name| !named.contains(name));
        let others = others.map(&mut take).collect::<Result<_>>()?;
        Ok(Self { config, endpoints, ports, routes, nodes, services, _others: others })
    }

    /// # Errors
    /// The map cannot be read.
    pub(super) fn config(&self) -> Result<Config> {
        Ok(read(&self.config, "config", &CONFIG)?.unwrap_or_default())
    }

    /// What is bound to an interface.
    pub(super) fn port(&self, ifindex: u32) -> Result<Option<Port>> {
        read(&self.ports, "ports", &ifindex)
    }

    /// Who has an address on this node.
    pub(super) fn endpoint(&self, address: IpAddr) -> Result<Option<Endpoint>> {
        read(&self.endpoints, "endpoints", &Address::from(address))
    }

    /// Where the tunnel to an address ends.
    pub(super) fn tunnel_end(&self, address: IpAddr) -> Result<Option<IpAddr>> {
        let address = Address::from(address);
        let route: Option<Route> = read(&self.routes, "routes", &RouteKey { prefix_length: 128, address })?;
        if let Some(route) = route.filter(|route| route.kind == ROUTE_TUNNEL) {
            return Ok(Some(route.tunnel.into()));
        }
        let end: Option<Address> = read(&self.nodes, "nodes", &address)?;
        Ok(end.filter(|end| *end != Address::default()).map(IpAddr::from))
    }

    /// The numbers of the Services that a packet may be for.
    pub(super) fn services(&self, to: std::net::SocketAddr, protocol: u8) -> Result<Vec<u32>> {
        let zero: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let mut numbers = Vec::new();
        for (address, scope) in [(to.ip(), SCOPE_ADDRESS), (zero, SCOPE_NODE_PORT), (zero, SCOPE_HOST_PORT)] {
            let key = ServiceKey { address: address.into(), port: to.port().to_be_bytes(), protocol, scope };
            let service: Option<Service> = read(&self.services, "services", &key)?;
            numbers.extend(service.map(|service| service.number));
        }
        Ok(numbers)
    }
}

/// A map of a load.
pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData> {
    match ebpf.take_map(name) {
        Some(
            Map::Array(map)
            | Map::HashMap(map)
            | Map::LruHashMap(map)
            | Map::LpmTrie(map)
            | Map::PerCpuArray(map)
            | Map::PerCpuHashMap(map),
        ) => Ok(map),
        _ => Err(missing(name)),
    }
}

/// The value of a key.
pub(super) fn read<K: bytemuck::Pod, V: bytemuck::Pod>(
    map: &RawMap,
    name: &'static str,
    key: &K,
) -> Result<Option<V>> {
    let value = map.get(bytemuck::bytes_of(key)).map_err(|error| Error::map("read", name, &error))?;
    let foreign = |_| Error::Foreign { map: name, value: "an entry of another size".to_owned() };
    value.map(|value| bytemuck::try_pod_read_unaligned(&value).map_err(foreign)).transpose()
}
