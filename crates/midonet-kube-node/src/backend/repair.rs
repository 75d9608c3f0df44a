//! Keeping Pods' interfaces as they should be. What cannot be done for one Pod is a problem of that Pod's. Each Pod is worked on
//! alone, so that another one's ADD or DEL waits for one step only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use naming::GATEWAY_MAC;
use naming::alias::PortAlias;
use plumbing::Link;
use plumbing::veth::HostSide;
use tracing::warn;

use super::ports::Ports;
use super::record::lost_alias;
use crate::backend::PortRecord;

/// The ports, for as long as they are held.
pub(super) fn lock(ports: &Mutex<Ports>) -> MutexGuard<'_, Ports> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works on one Pod's port, unless it was released meanwhile.
pub(super) fn one(ports: &Mutex<Ports>, port: &PortRecord, work: impl FnOnce() -> Result<()>) {
    let mut ports = lock(ports);
    if ports.records.get(&port.host_ifname) != Some(port) {
        return;
    }
    if let Err(error) = work() {
        let problem = format!("the Pod's interface cannot be repaired: {error}");
        let problem = port.problem(problem, "correct what is named, or delete the Pod");
        ports.unrepaired.insert(port.host_ifindex, problem);
    }
}

/// Makes the host sides that `is_wrong` tells of what they should be; those in the datapath's block are in no bridge.
pub(super) fn host_sides(
    ports: &Mutex<Ports>,
    records: &[PortRecord],
    links: &BTreeMap<u32, Link>,
    in_block: bool,
    is_wrong: impl Fn(&PortRecord, &Link) -> bool,
) {
    free_names(records, links);
    for port in records {
        let link = links.get(&port.host_ifindex).filter(|link| !link.is_retired());
        let Some(link) = link.filter(|link| is_wrong(port, link)) else { continue };
        let wanted = HostSide {
            ifindex: link.ifindex,
            name: port.host_ifname.clone(),
            mac: GATEWAY_MAC.0,
            alias: port.owner.known().filter(|_| lost_alias(port, link)).map(PortAlias::encode),
            in_block,
        };
        one(ports, port, || plumbing::veth::repair_host_side(&wanted).map_err(Into::into));
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

/// Gives Pods another MTU than they were last told.
///
/// # Errors
/// The kernel does not list the node's interfaces.
pub(super) fn tell_mtu(
    ports: &Mutex<Ports>,
    records: &[PortRecord],
    links: &BTreeMap<u32, Link>,
    mtu: u32,
) -> Result<()> {
    let before = lock(ports).mtu.replace(mtu);
    if before == Some(mtu) {
        return Ok(());
    }
    let other = |port: &&PortRecord| {
        links.get(&port.host_ifindex).is_some_and(|link| !link.is_retired() && link.mtu != mtu)
    };
    let others: Vec<&PortRecord> = records.iter().filter(other).collect();
    let sides: Vec<(u32, [u8; 6])> = others.iter().map(|port| (port.host_ifindex, port.mac.0)).collect();
    let set = plumbing::veth::set_mtus(&sides, mtu).inspect_err(|_| lock(ports).mtu = before)?;
    for (port, set) in others.into_iter().zip(set) {
        match set {
            Ok(true) => {}
            Err(error) => one(ports, port, || Err(error.into())),
            Ok(false) => warn!(
                pod = %port.pod(),
                "the Pods' MTU is now {mtu}, but this Pod's namespace is not to be found: it keeps its own until \
                 the Pod is made again, and is told when a packet is too big"
            ),
        }
    }
    Ok(())
}
