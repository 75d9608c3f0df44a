//! Restoring ports when the agent starts: those that the datapath has, and those that it has lost, whose Pods run and are
//! not added a second time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use datapath::{Limits, Port, Role};
use ipam::Reserved;
use model::Problem;
use naming::alias::PortAlias;
use naming::{Mac, attachment_mac, interface};
use plumbing::{Link, shape, tc};
use tracing::{info, warn};

use super::ports::Ports;
use super::sets::Sets;
use super::tables::Tables;
use crate::backend::{Owner, PortRecord};
use crate::leak;
use crate::repairs::Repairs;

impl Ports {
    /// Finds the ports that an earlier agent committed, and makes those again that were lost. `reservations` is the
    /// directory of Pods' addresses, if the IPAM plugin keeps one.
    pub(super) fn restore(
        &mut self,
        tables: &Tables,
        sets: &Sets,
        reservations: Option<&Path>,
        repairs: &Repairs,
    ) -> Result<()> {
        let committed = tables.lock().datapath.ports().context("cannot read the datapath's ports")?;
        let links = plumbing::link::list().context("cannot list the node's interfaces")?;
        let alive: BTreeMap<u32, &Link> =
            links.iter().filter(|link| !link.is_retired()).map(|link| (link.ifindex, link)).collect();
        let reserved = reservations.and_then(reserved);
        for port in committed.into_iter().filter(|port| port.role != Role::Node) {
            let Some(link) = alive.get(&port.ifindex) else {
                let released = tables.lock().datapath.release(port.ifindex);
                released.context("cannot release a port without an interface")?;
                repairs.count(leak::Kind::PortWithoutInterface.name());
                info!(ifindex = port.ifindex, addresses = ?port.addresses, "released a port whose interface is gone");
                continue;
            };
            let reserved = reserved.as_deref().unwrap_or_default();
            let record = PortRecord::restored(link, port, reserved, &self.names);
            self.records.insert(record.host_ifname.clone(), record);
        }
        self.rebuild(&links, reserved.as_deref(), tables, sets, repairs)?;
        self.names.forget_others(self.records.keys());
        info!(ports = self.records.len(), "restored the ports of Pods");
        Ok(())
    }

    /// Commits a port for each Pod's interface that is up and has none: setting it up is the last step of an ADD. The
    /// alias says whose it is, the reservations which addresses that has. What is missing is told.
    fn rebuild(
        &mut self,
        links: &[Link],
        reserved: Option<&[Reserved]>,
        tables: &Tables,
        sets: &Sets,
        repairs: &Repairs,
    ) -> Result<()> {
        let members = tc::block_members()?;
        let is_committed = |link: &Link| self.records.values().any(|port| port.host_ifindex == link.ifindex);
        let is_pods = |link: &Link| interface::is_pods(&link.name) || members.contains(&link.ifindex);
        let lost: Vec<(&Link, PortAlias)> = links
            .iter()
            .filter(|link| link.up && !link.is_retired() && is_pods(link) && !is_committed(link))
            .filter_map(|link| Some((link, self.names.complete(PortAlias::parse(&link.alias)?))))
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let container_sides = plumbing::link::peers(lost.iter().map(|(link, _)| *link))?;
        let limited = shape::limited()?;
        for ((link, alias), container_side) in lost.into_iter().zip(container_sides) {
            let object = format!("{} of Pod {}", link.name, alias.pod);
            match self.rebind(link, alias, container_side.as_ref(), reserved, tables, sets.of(link.ifindex)) {
                Ok(record) => {
                    repairs.count(leak::Kind::InterfaceWithoutPort.name());
                    warn!(pod = %record.pod(), interface = record.host_ifname, addresses = ?record.addresses,
                        "the datapath had lost this port: bound again");
                    if limited.contains_key(&link.ifindex) {
                        let problem =
                            "its limits are lost with the datapath's maps: it is as fast as it can be";
                        let remedy = "delete the Pod: it gets its limits with its new interface";
                        self.lost
                            .insert(link.ifindex, Problem::new("pod_interface", object, problem, remedy));
                    }
                    self.records.insert(record.host_ifname.clone(), record);
                }
                Err(reason) => {
                    let problem =
                        format!("the datapath has lost its port, its packets are dropped: {reason}");
                    let problem = Problem::new("pod_interface", object, problem, "delete the Pod");
                    self.lost.insert(link.ifindex, problem);
                }
            }
        }
        Ok(())
    }

    fn rebind(
        &self,
        link: &Link,
        alias: PortAlias,
        container_side: Option<&Link>,
        reserved: Option<&[Reserved]>,
        tables: &Tables,
        set: u32,
    ) -> Result<PortRecord, String> {
        let elsewhere;
        let reserved = match &alias.network {
            // Another network's addresses are in a directory of its own.
            Some(network) => {
                elsewhere =
                    ipam::reserved(&ipam::directory(None, network)).map_err(|error| error.to_string())?;
                &elsewhere
            }
            None => reserved.ok_or("the IPAM plugin keeps its addresses to itself")?,
        };
        let addresses = addresses_of(&alias, reserved);
        if addresses.is_empty() {
            return Err(format!("no address is reserved for its container {}", alias.container_id));
        }
        if let Some(other) = self
            .records
            .values()
            .find(|port| port.addresses.iter().any(|address| addresses.contains(address)))
        {
            return Err(format!("its addresses {addresses:?} are those of Pod {}", other.pod()));
        }
        let mac = mac_of(&alias, container_side);
        let port = Port {
            ifindex: link.ifindex,
            mac: mac.0,
            addresses,
            role: Role::Pod,
            limits: Limits::default(),
            set,
        };
        tables.lock().datapath.bind(&port).map_err(|error| error.to_string())?;
        let host_ports = self.names.host_ports(&alias.container_id);
        Ok(PortRecord { host_ports, ..PortRecord::of(link, Owner::Known(alias), port) })
    }
}

/// The reservations of Pods' addresses; `None` if they cannot be read.
fn reserved(directory: &Path) -> Option<Vec<Reserved>> {
    let reserved = ipam::reserved(directory);
    reserved.inspect_err(|error| warn!(%error, "cannot read which addresses are reserved")).ok()
}

/// The addresses that are reserved for an attachment. An old host-local noted the container alone.
fn addresses_of(alias: &PortAlias, reserved: &[Reserved]) -> Vec<IpAddr> {
    let owner = leak::owner(alias);
    let is_its = |r: &&Reserved| match &r.owner {
        Some(holder) => *holder == owner,
        None => r.container_id == owner.container_id,
    };
    reserved.iter().filter(is_its).map(|r| r.address).collect()
}

/// The MAC address inside the Pod: what it has, or else what it was given unless the runtime asked for another.
fn mac_of(alias: &PortAlias, container_side: Option<&Link>) -> Mac {
    let is_hosts = |mac: &[u8; 6]| mac[0] & 1 == 0 && *mac != [0; 6];
    let has = container_side.map(|link| link.mac).filter(is_hosts);
    has.map_or_else(|| attachment_mac(&alias.container_id, &alias.ifname), Mac)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use naming::PodKey;

    use super::*;

    fn alias(container_id: &str, ifname: &str) -> PortAlias {
        let (pod, container_id, ifname) = (PodKey::new("default", "a"), container_id.into(), ifname.into());
        PortAlias { pod, container_id, ifname, pod_uid: None, network: None }
    }

    fn reserved(address: &str, container_id: &str, ifname: Option<&str>) -> Reserved {
        let owner =
            ifname.map(|ifname| cni::Attachment { container_id: container_id.into(), ifname: ifname.into() });
        let address = address.parse().unwrap();
        Reserved { address, owner, container_id: container_id.into(), modified: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn addresses_are_found_by_container_and_interface() {
        let all = [
            reserved("10.0.0.3", "c1", Some("eth0")),
            reserved("fd00::3", "c1", Some("eth0")),
            reserved("10.0.0.4", "c1", Some("net1")),
            reserved("10.0.0.5", "c2", Some("eth0")),
            reserved("10.0.0.6", "c3", None),
        ];
        for (container_id, ifname, want) in [
            ("c1", "eth0", &["10.0.0.3", "fd00::3"][..]),
            ("c1", "net1", &["10.0.0.4"]),
            ("c3", "eth0", &["10.0.0.6"]),
            ("c4", "eth0", &[]),
        ] {
            let found: Vec<String> =
                addresses_of(&alias(container_id, ifname), &all).iter().map(ToString::to_string).collect();
            assert_eq!(found, want, "{container_id}/{ifname}");
        }
    }

    #[test]
    fn the_mac_is_the_pods_own_or_the_one_it_was_given() {
        let alias = alias("c1", "eth0");
        let container_side = |mac| Link { mac, ..Link::default() };
        let given = attachment_mac("c1", "eth0");
        assert_eq!(mac_of(&alias, Some(&container_side([2, 0, 0, 0, 0, 9]))), Mac([2, 0, 0, 0, 0, 9]));
        for none in [None, Some(container_side([0; 6])), Some(container_side([1, 0, 0, 0, 0, 9]))] {
            assert_eq!(mac_of(&alias, none.as_ref()), given);
        }
    }
}
