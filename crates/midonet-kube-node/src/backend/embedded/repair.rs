//! Keeping Pods' ports as they should be: entries in the datapath, interfaces, MTU and limits. What cannot be done for one
//! Pod is a problem of that Pod's. Each Pod is worked on alone, so that another one's ADD or DEL waits for one step only.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use ipnet::IpNet;
use model::Problem;
use naming::GATEWAY_MAC;
use naming::alias::PortAlias;
use plumbing::veth::HostSide;
use plumbing::{Link, tc};
use tracing::warn;

use super::parts::Parts;
use super::record::{changed, lost_alias, same};
use crate::backend::PortRecord;

impl Parts {
    /// Repairs what differs; with `all`, also what may be on its way up. Pods are told the MTU when it is another.
    pub(super) fn repair_ports(&self, pod_cidrs: &[IpNet], mtu: u32, all: bool) -> Result<()> {
        let records: Vec<PortRecord> = self.ports().records.values().cloned().collect();
        self.ports().unrepaired.clear();
        self.rebind(&records, pod_cidrs)?;
        let members = tc::block_members()?;
        let links: BTreeMap<u32, Link> =
            plumbing::link::list()?.into_iter().map(|link| (link.ifindex, link)).collect();
        free_names(&records, &links);
        for port in &records {
            let Some(link) = links.get(&port.host_ifindex).filter(|link| !link.is_retired()) else {
                continue;
            };
            // One that is down may be in the middle of its ADD.
            let left = all && (!link.up || !members.contains(&link.ifindex));
            if left || changed(port, link).next().is_some() {
                let wanted = HostSide {
                    ifindex: link.ifindex,
                    name: port.host_ifname.clone(),
                    mac: GATEWAY_MAC.0,
                    alias: port.owner.known().filter(|_| lost_alias(port, link)).map(PortAlias::encode),
                };
                self.one(port, || plumbing::veth::repair_host_side(&wanted).map_err(Into::into));
            }
        }
        self.tell_mtu(&records, &links, mtu)?;
        self.ports().restore_limits(&self.tables)
    }

    /// Commits again what the datapath lacks or has otherwise.
    fn rebind(&self, records: &[PortRecord], pod_cidrs: &[IpNet]) -> Result<()> {
        let committed = self.tables.lock().datapath.ports().context("cannot read the datapath's ports")?;
        let committed: BTreeMap<u32, _> = committed.into_iter().map(|port| (port.ifindex, port)).collect();
        for record in records {
            let port = record.port(pod_cidrs, self.sets.of(record.host_ifindex));
            if !committed.get(&port.ifindex).is_some_and(|now| same(now, &port)) {
                self.one(record, || Ok(self.tables.lock().datapath.bind(&port)?));
            }
        }
        Ok(())
    }

    /// Works on one Pod's port, unless it was released meanwhile.
    fn one(&self, port: &PortRecord, work: impl FnOnce() -> Result<()>) {
        let mut ports = self.ports();
        if ports.records.get(&port.host_ifname) != Some(port) {
            return;
        }
        if let Err(error) = work() {
            ports.unrepaired.insert(port.host_ifindex, unrepaired(port, &error));
        }
    }

    /// Gives Pods another MTU than they were last told.
    fn tell_mtu(&self, records: &[PortRecord], links: &BTreeMap<u32, Link>, mtu: u32) -> Result<()> {
        let before = self.ports().mtu.replace(mtu);
        if before == Some(mtu) {
            return Ok(());
        }
        let other = |port: &&PortRecord| {
            links.get(&port.host_ifindex).is_some_and(|link| !link.is_retired() && link.mtu != mtu)
        };
        let others: Vec<&PortRecord> = records.iter().filter(other).collect();
        let sides: Vec<(u32, [u8; 6])> = others.iter().map(|port| (port.host_ifindex, port.mac.0)).collect();
        let set = plumbing::veth::set_mtus(&sides, mtu).inspect_err(|_| self.ports().mtu = before)?;
        for (port, set) in others.into_iter().zip(set) {
            match set {
                Ok(true) => {}
                Err(error) => self.one(port, || Err(error.into())),
                Ok(false) => warn!(
                    pod = %port.pod(),
                    "the Pods' MTU is now {mtu}, but this Pod's namespace is not to be found: it keeps its own until \
                     the Pod is made again, and is told when a packet is too big"
                ),
            }
        }
        Ok(())
    }
}

/// Frees the names of Pods' interfaces that other interfaces have.
fn free_names(records: &[PortRecord], links: &BTreeMap<u32, Link>) {
    let wanted: BTreeMap<&str, u32> =
        records.iter().map(|port| (port.host_ifname.as_str(), port.host_ifindex)).collect();
    let takes = |link: &&Link| {
        wanted
            .get(link.name.as_str())
            .is_some_and(|owner| *owner != link.ifindex && links.contains_key(owner))
    };
    for link in links.values().filter(takes) {
        if let Err(error) = plumbing::link::free_name(link.ifindex) {
            warn!(%error, interface = link.name, "it has the name of a Pod's interface, and keeps it");
        }
    }
}

/// What could not be repaired for one Pod. The others are repaired all the same.
fn unrepaired(port: &PortRecord, error: &dyn fmt::Display) -> Problem {
    let object = format!("{} of Pod {}", port.host_ifname, port.pod());
    let problem = format!("the Pod's interface cannot be repaired: {error}");
    Problem::new("pod_interface", object, problem, "correct what is named, or delete the Pod")
}
