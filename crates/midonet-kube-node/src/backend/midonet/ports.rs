//! The record of Pods' ports. The MidoNet agent binds their interfaces, whenever it hears of them; nobody waits for it here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use datapath::Limits;
use ipam::Reserved;
use ipnet::IpNet;
use model::{Local, Problem};
use naming::alias::PortAlias;
use naming::interface;
use plumbing::{Link, shape};
use tracing::{info, warn};

use crate::backend::binding::Bound;
use crate::backend::names::Names;
use crate::backend::ports::Ports;
use crate::backend::reserved::{addresses_of, mac_of, of_alias, reserved};
use crate::backend::{BindError, BindRequest, Owner, PortRecord, repair};
use crate::leak;
use crate::repairs::Repairs;

pub(super) use crate::backend::record::changed;

/// The MidoNet agent binds an interface within seconds; midonet-kube-controllers may have to push thousands of Pods before.
const BINDING: Duration = Duration::from_secs(60);

/// The ports that were asked for, and what MidoNet made of them.
#[derive(Debug)]
pub(super) struct Committed {
    ports: Mutex<Ports>,
    /// Since when which interface is seen unbound, the node's own among them. Taken after `ports`.
    unbound: Mutex<BTreeMap<String, Instant>>,
    repairs: Repairs,
}

impl Committed {
    /// Those of the interfaces that an agent before this one left: whose they are is in their aliases, their addresses are
    /// reserved.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn restore(state_dir: &Path, reservations: Option<&Path>, repairs: Repairs) -> Result<Self> {
        let mut ports = Ports::new(Names::open(state_dir), plumbing::Netlink::here()?);
        let links = plumbing::link::list().context("cannot list the node's interfaces")?;
        // Setting it up is the last step of an ADD.
        let alive = links.iter().filter(|link| link.up && !link.is_retired());
        let found: Vec<(&Link, PortAlias)> = alive
            .filter_map(|link| Some((link, ports.names.complete(PortAlias::parse(&link.alias)?))))
            .collect();
        let container_sides = plumbing::link::peers(found.iter().map(|(link, _)| *link))?;
        let limited = shape::limited()?;
        let reserved = reservations.and_then(reserved);
        for ((link, alias), container_side) in found.into_iter().zip(container_sides) {
            let mac = mac_of(&alias, container_side.as_ref());
            let addresses = addresses(&alias, reserved.as_deref());
            let host_ports = ports.names.host_ports(&alias.container_id);
            let record = PortRecord::of(
                link,
                Owner::Known(alias),
                mac,
                addresses.as_ref().map_or_else(|_| Vec::new(), Clone::clone),
                Limits::default(),
            );
            let lost = addresses.err().or_else(|| {
                let limits = limited.contains_key(&link.ifindex);
                left_over(limits, !host_ports.is_empty())
            });
            if let Some((problem, remedy)) = lost {
                ports.lost.insert(link.ifindex, record.problem(problem, remedy));
            }
            ports.records.insert(record.host_ifname.clone(), record);
        }
        ports.names.forget_others(ports.records.keys());
        info!(ports = ports.records.len(), "restored the ports of Pods");
        Ok(Self { ports: Mutex::new(ports), unbound: Mutex::default(), repairs })
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        repair::lock(&self.ports)
    }

    fn unbound(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.unbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<PortRecord> {
        self.ports().records.values().cloned().collect()
    }

    /// Notes a port.
    ///
    /// # Errors
    /// [`BindError`]; nothing is noted then.
    pub(super) fn bind(&self, request: &BindRequest, local: &Local) -> Result<(), BindError> {
        refuse_what_midonet_lacks(request)?;
        let mut ports = self.ports();
        let owner = ports.admit(request, local)?;
        // The plugin does not say which network it is; its interface does.
        let alias = PortAlias { network: owner.network.clone(), ..request.owner.clone() };
        let BindRequest { host_ifname, host_ifindex, mac, addresses, limits, .. } = request.clone();
        let record = PortRecord {
            owner: Owner::Known(alias.clone()),
            host_ifname: host_ifname.clone(),
            host_ifindex,
            mac,
            addresses,
            limits,
            host_ports: Vec::new(),
        };
        ports.lost.remove(&host_ifindex);
        ports.names.keep(&host_ifname, &alias, &owner, &[]);
        ports.records.insert(host_ifname, record);
        Ok(())
    }

    /// Forgets a port, if it still is this container's. Returns what it was.
    pub(super) fn release(&self, host_ifname: &str, container_id: &str) -> Option<PortRecord> {
        let mut ports = self.ports();
        let port = ports.records.get(host_ifname)?;
        (port.owner.container_id() == Some(container_id)).then(|| forget(&mut ports, host_ifname))?
    }

    /// Whether a port is noted as described.
    ///
    /// # Errors
    /// [`BindError::Precondition`] says what differs.
    pub(super) fn check(&self, request: &BindRequest) -> Result<(), BindError> {
        let mut ports = self.ports();
        let _owner = ports.check_link(request)?;
        let differs = |what: String| Err(BindError::Precondition(what));
        let (pod, name) = (&request.owner.pod, &request.host_ifname);
        let port = ports.records.get(name).filter(|port| port.host_ifindex == request.host_ifindex);
        let Some(port) = port else {
            return differs(format!("the port of Pod {pod} ({name}) is not known"));
        };
        let sorted = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
        // Where another IPAM plugin keeps addresses, an agent that was started later knows none.
        let same = port.addresses.is_empty() || sorted(&port.addresses) == sorted(&request.addresses);
        if port.mac == request.mac && same {
            return Ok(());
        }
        let (mac, addresses) = (port.mac, &port.addresses);
        differs(format!(
            "the port of Pod {pod} has {mac} {addresses:?}, not {} {:?}",
            request.mac, request.addresses
        ))
    }

    /// Forgets the ports whose interface is gone or retired without anybody having said so, and looks which are bound. Returns
    /// those that are forgotten.
    pub(super) fn sweep(&self) -> Vec<PortRecord> {
        // The ports first: the interface of each was there before it was noted.
        let records = self.all();
        let links = match plumbing::link::list() {
            Ok(links) => links,
            Err(error) => {
                warn!(%error, "cannot look for ports without an interface");
                return Vec::new();
            }
        };
        let live: BTreeMap<u32, &Link> =
            links.iter().filter(|link| !link.is_retired()).map(|link| (link.ifindex, link)).collect();
        let mut ports = self.ports();
        let is_wrong = |port: &&PortRecord| {
            let link = live.get(&port.host_ifindex);
            link.is_some_and(|link| !link.up || changed(port, link).next().is_some())
        };
        let wrong: Vec<u32> = records.iter().filter(is_wrong).map(|port| port.host_ifindex).collect();
        ports.unrepaired.retain(|ifindex, _| wrong.contains(ifindex));
        ports.lost.retain(|ifindex, _| live.contains_key(ifindex));
        let is_gone = |port: &&PortRecord| !live.contains_key(&port.host_ifindex);
        let mut gone = Vec::new();
        for port in records.iter().filter(is_gone) {
            if ports.records.get(&port.host_ifname) == Some(port) {
                gone.extend(forget(&mut ports, &port.host_ifname));
                self.repairs.count(leak::Kind::PortWithoutInterface.name());
                info!(pod = %port.pod(), interface = port.host_ifname, "interface is gone: port released");
            }
        }
        self.note_unbound(&ports, &links);
        gone
    }

    fn note_unbound(&self, ports: &Ports, links: &[Link]) {
        let bound = Bound::of(links, true);
        let of_pods = ports.records.values().filter(|port| bound.is_bound(port.host_ifindex) == Some(false));
        let mut names: Vec<&str> = of_pods.map(|port| port.host_ifname.as_str()).collect();
        names.extend((bound.node == Some(false)).then_some(interface::MIDO));
        let mut unbound = self.unbound();
        unbound.retain(|name, _| names.contains(&name.as_str()));
        for name in names {
            unbound.entry(name.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// What is wrong with ports, and stays so until somebody does something about it.
    pub(super) fn problems(&self, pod_cidrs: &[IpNet]) -> Vec<Problem> {
        let ports = self.ports();
        let mut problems = ports.problems(pod_cidrs);
        let unbound = self.unbound();
        let late: Vec<&String> =
            unbound.iter().filter(|(_, since)| since.elapsed() >= BINDING).map(|(name, _)| name).collect();
        problems.extend(not_bound(&ports, &late));
        problems
    }

    /// Repairs Pods' interfaces; with `all`, also those that may be on their way up. Pods are told the MTU when it is another.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn repair(&self, mtu: u32, all: bool) -> Result<()> {
        let records = self.all();
        self.ports().unrepaired.clear();
        let links: BTreeMap<u32, Link> =
            plumbing::link::list()?.into_iter().map(|link| (link.ifindex, link)).collect();
        repair::host_sides(&self.ports, &records, &links, false, |port, link| {
            (all && !link.up) || changed(port, link).next().is_some()
        });
        repair::tell_mtu(&self.ports, &records, &links, mtu)
    }
}

fn forget(ports: &mut Ports, host_ifname: &str) -> Option<PortRecord> {
    ports.names.forget(host_ifname);
    ports.records.remove(host_ifname)
}

/// The addresses of an attachment, as they are reserved; none where the IPAM plugin keeps them to itself. Or what that means, and
/// what helps.
fn addresses(
    alias: &PortAlias,
    reserved: Option<&[Reserved]>,
) -> Result<Vec<IpAddr>, (String, &'static str)> {
    let remedy = "delete the Pod: it gets another address";
    let others =
        of_alias(alias).map_err(|error| (format!("its addresses are not known: {error}"), remedy))?;
    let Some(reserved) = others.as_deref().or(reserved) else { return Ok(Vec::new()) };
    let addresses = addresses_of(alias, reserved);
    if addresses.is_empty() {
        let problem = format!(
            "no address is reserved for its container {}: another Pod may get the one it has",
            alias.container_id
        );
        return Err((problem, remedy));
    }
    Ok(addresses)
}

/// What the embedded network gave a Pod and MidoNet does not, and what helps.
fn left_over(limits: bool, host_ports: bool) -> Option<(String, &'static str)> {
    let mut left = Vec::new();
    if limits {
        left.push("only what it gets is limited, not what it sends");
    }
    if host_ports {
        left.push("its hostPorts are not served");
    }
    let problem = format!("it is from when this node had the embedded network: {}", left.join(", and "));
    (!left.is_empty()).then_some((
        problem,
        "make the Pod anew, without limits and hostPorts, or on a node with the embedded network",
    ))
}

/// What MidoNet does not have is refused when it is asked for.
fn refuse_what_midonet_lacks(request: &BindRequest) -> Result<(), BindError> {
    let pod = &request.owner.pod;
    let refused = |what: &str| {
        Err(BindError::Unsupported(format!(
            "Pod {pod} asks for {what}, which --network midonet does not have: leave it out, or run the Pod on a node with \
             the embedded network"
        )))
    };
    if !request.host_ports.is_empty() {
        return refused("hostPorts");
    }
    if request.limits != Limits::default() {
        return refused("a limit of its bandwidth");
    }
    Ok(())
}

/// One problem for all interfaces that the MidoNet agent should have bound by now.
fn not_bound(ports: &Ports, late: &[&String]) -> Option<Problem> {
    const MOST: usize = 5;
    if late.is_empty() {
        return None;
    }
    let named = |name: &String| match ports.records.get(name.as_str()) {
        Some(port) => format!("{name} of Pod {}", port.pod()),
        None => format!("{name} of the node itself"),
    };
    let mut names: Vec<String> = late.iter().take(MOST).map(|name| named(name)).collect();
    let more = late.len().saturating_sub(MOST);
    names.extend((more > 0).then(|| format!("{more} more")));
    let problem =
        format!("the MidoNet agent has not bound {}: there is no network behind it", names.join(", "));
    let remedy = "see that the MidoNet agent (midolman) runs on this node, that the Node has the annotation \
                  midonet.org/host-id of this host, and what midonet-kube-controllers says";
    Some(Problem::new("not_bound", "MidoNet", problem, remedy))
}

#[cfg(test)]
mod tests;
