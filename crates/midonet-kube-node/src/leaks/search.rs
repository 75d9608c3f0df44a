//! Searching for leaks and repairing what is certain: the I/O around [`classify`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use ipam::Reserved;
use naming::alias::{CLUSTER_NETWORK, PortAlias};
use naming::{GATEWAY_MAC, interface};
use nix::time::{ClockId, clock_gettime};
use plumbing::Link;
use tracing::{info, warn};

use super::classify::{Classified, Interface, Snapshot, classify};
use crate::agent::Agent;
use crate::backend::PortRecord;
use crate::leak::{Kind, Report, owner};

/// Searches again and again.
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// The directory of reservations; or why there is none to read.
    directory: Result<PathBuf, String>,
    /// Since when which interface is seen without a port.
    portless: BTreeMap<u32, Instant>,
}

impl Search {
    pub(super) fn new(ipam_type: &str) -> Self {
        let directory = if super::keeps_files(ipam_type) {
            Ok(ipam::directory(None, CLUSTER_NETWORK))
        } else {
            Err(format!("{ipam_type} keeps the addresses: the agent cannot tell which of them are leaked"))
        };
        Self { directory, portless: BTreeMap::new() }
    }

    /// Searches once: repairs, counts and logs what is certain; the rest is the report.
    pub(super) fn search(&mut self, agent: &Agent) -> Report {
        let mut report =
            Report { incomplete: self.directory.clone().err().unwrap_or_default(), ..Report::default() };
        if let Err(error) = self.try_search(agent, &mut report) {
            report.incomplete = format!("{error:#}");
        }
        report
    }

    fn try_search(&mut self, agent: &Agent, report: &mut Report) -> Result<()> {
        let snapshot = self.snapshot(agent)?;
        let Classified { release, reserve, remove, leaks } = classify(&snapshot);
        if !leaks.is_empty() {
            // Read one after the other, parts of a change may seem a leak: one that is there is seen twice.
            let again = classify(&self.snapshot(agent)?).leaks;
            report.leaks = leaks.into_iter().filter(|leak| again.contains(leak)).collect();
        }
        for interface in &remove {
            take_away(interface, agent)?;
        }
        if let Ok(directory) = &self.directory {
            release_reservations(directory, &release, agent)?;
            reserve_again(directory, &reserve, agent)?;
        }
        Ok(())
    }

    /// In the order that [`classify`] presumes.
    fn snapshot(&mut self, agent: &Agent) -> Result<Snapshot> {
        let reserved = self.directory.as_ref().ok().map(|directory| read(directory)).transpose()?;
        let links = plumbing::link::list().context("cannot list the node's interfaces")?;
        let ports = ports(agent);
        let committed: BTreeSet<u32> = ports.iter().map(|port| port.host_ifindex).collect();
        let mut interfaces: Vec<Interface> = links.iter().filter_map(|link| of_a_pod(link, &ports)).collect();
        let is_portless =
            |ifindex: u32| interfaces.iter().any(|i| i.ifindex == ifindex) && !committed.contains(&ifindex);
        self.portless.retain(|ifindex, _| is_portless(*ifindex));
        for interface in interfaces.iter_mut().filter(|interface| !committed.contains(&interface.ifindex)) {
            interface.portless =
                self.portless.entry(interface.ifindex).or_insert_with(Instant::now).elapsed();
        }
        let (now, uptime) = (SystemTime::now(), Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?));
        let boot = now.checked_sub(uptime).context("the clock stands before this node's start")?;
        Ok(Snapshot { reserved, interfaces, ports, now, boot })
    }
}

/// A living host interface that a plugin made: its port or its alias says so, or else name and MAC address.
fn of_a_pod(link: &Link, ports: &[PortRecord]) -> Option<Interface> {
    let port = ports.iter().find(|port| port.host_ifindex == link.ifindex);
    let owner = PortAlias::parse(&link.alias).or_else(|| port.map(PortRecord::alias));
    let ours = interface::is_pods(&link.name) && link.mac == GATEWAY_MAC.0;
    (!link.is_retired() && (owner.is_some() || ours)).then(|| Interface {
        name: link.name.clone(),
        ifindex: link.ifindex,
        up: link.up,
        owner,
        portless: Duration::ZERO,
    })
}

fn ports(agent: &Agent) -> Vec<PortRecord> {
    agent.backend().ports()
}

fn read(directory: &Path) -> Result<Vec<Reserved>> {
    ipam::reserved(directory).context("cannot read which addresses are reserved")
}

fn take_away(interface: &Interface, agent: &Agent) -> Result<()> {
    let Interface { name, ifindex, owner, .. } = interface;
    plumbing::link::retire(*ifindex, name).context("cannot remove what is left of an ADD")?;
    agent.repairs().count(Kind::InterfaceWithoutPort.name());
    let pod = owner.as_ref().map(|owner| owner.pod.to_string());
    warn!(interface = name, pod, "an ADD that nobody finished left this interface: removed");
    Ok(())
}

fn release_reservations(directory: &Path, reservations: &[Reserved], agent: &Agent) -> Result<()> {
    if reservations.is_empty() {
        return Ok(());
    }
    let released =
        ipam::release(directory, reservations).context("cannot release addresses without a container")?;
    for _ in 0..released {
        agent.repairs().count(Kind::AddressWithoutContainer.name());
    }
    let of = reservations.iter().map(|r| format!("{} of container {:?}", r.address, r.container_id));
    warn!(
        released,
        addresses = of.collect::<Vec<_>>().join(", "),
        "released addresses whose containers are gone"
    );
    Ok(())
}

fn reserve_again(directory: &Path, lost: &[(IpAddr, PortRecord)], agent: &Agent) -> Result<()> {
    let mut again = Vec::new();
    for (address, port) in lost {
        let reserved = ipam::reserve(directory, &owner(&port.alias()), *address);
        if reserved.with_context(|| format!("cannot reserve {address} of Pod {} again", port.pod()))? {
            agent.repairs().count(Kind::ContainerWithoutAddress.name());
            warn!(%address, pod = %port.pod(), "a Pod's address was not reserved any more: reserved again");
            again.push((*address, port));
        }
    }
    // A DEL that began after the search has by now released the port, or will release what was just reserved.
    let still = if again.is_empty() { Vec::new() } else { ports(agent) };
    again.retain(|(_, port)| !still.contains(port));
    if again.is_empty() {
        return Ok(());
    }
    let of_gone = |r: &Reserved| {
        again.iter().any(|(address, port)| r.address == *address && r.owner == Some(owner(&port.alias())))
    };
    let mut reserved = read(directory)?;
    reserved.retain(of_gone);
    let released = ipam::release(directory, &reserved).context("cannot release addresses")?;
    info!(released, "released them: their Pods have gone meanwhile");
    Ok(())
}
