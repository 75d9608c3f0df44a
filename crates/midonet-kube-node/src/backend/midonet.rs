//! MidoNet as the network: the MidoNet agent of this node carries the packets, as midonet-kube-controllers has MidoNet wired.
//! What is done here is the node's own veth pair into it, with kernel routes, and the record of Pods' ports, whose interfaces the
//! MidoNet agent binds by their names. There are no eBPF programs, and nothing here talks to MidoNet.
//!
//! Everything can be repeated. Only `work` is held for long: by [`apply`](Backend::apply) and [`detect`](Backend::detect).

pub mod host_id;
mod ports;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use model::{Changes, Local, Problem};
use naming::interface;
use plumbing::Link;
use plumbing::probe::{Fault, Question};
use plumbing::veth::VethPair;
use tracing::info;

use self::ports::{Committed, changed};
use super::underlay::{TUNNELS, Tunnels, Underlay, mtu_problem};
use super::up::Up;
use super::{
    Backend, BindError, BindRequest, Detected, Network, Outcome, Packets, PortRecord, Status, node_pair,
    settings,
};
use crate::config::NetworkKind;
use crate::drift::Drift;
use crate::repairs::Repairs;

/// Where MidoNet's tunnels end on other nodes (`agent.datapath.vxlan_overlay_udp_port` of its configuration, by default).
pub const TUNNEL_PORT: u16 = 6677;

/// What the alias of the node's veth pair begins with.
const ALIAS: &str = "midonet node ";

/// Whether the node's veth pair with this alias was made for MidoNet.
pub(super) fn is_own(alias: &str) -> bool {
    alias.starts_with(ALIAS)
}

/// Whether a fault of the node's surroundings matters here: no Pod's packet leaves the cluster through the node.
pub(crate) fn concerns(fault: &Fault) -> bool {
    !["forward_dropped", "forwarding", "not_forwarded"].contains(&fault.what)
}

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name.
    pub node_name: String,
    /// Where all Pods' addresses are from.
    pub cluster_cidrs: Vec<IpNet>,
    /// Where Services' addresses are from.
    pub service_cidrs: Vec<IpNet>,
    /// The Pods' MTU, instead of the one that follows from the uplink.
    pub mtu: Option<u32>,
    /// The agent's own directory.
    pub state_dir: PathBuf,
    /// The directory of Pods' addresses in the cluster's network, if the IPAM plugin keeps one.
    pub reservations: Option<PathBuf>,
}

/// The network of this node.
pub struct Midonet {
    settings: Settings,
    committed: Committed,
    applied: Mutex<Option<Arc<Applied>>>,
    work: Mutex<Work>,
}

/// What the kernel was last made to agree with.
#[derive(Debug, Clone)]
struct Applied {
    local: Local,
    underlay: Underlay,
    mtu: u32,
}

/// What applying and detecting know.
#[derive(Debug, Default)]
struct Work {
    tunnels: Tunnels,
    up: Up,
    /// How many tunnels were asked about.
    asked: usize,
    /// Whether what was applied may not hold any more.
    invalid: bool,
}

impl fmt::Debug for Midonet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Midonet").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Midonet {
    /// Goes on with the Pods' interfaces that there are.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn open(settings: Settings, repairs: Repairs) -> Result<Self> {
        let committed = Committed::restore(&settings.state_dir, settings.reservations.as_deref(), repairs)?;
        Ok(Self { settings, committed, applied: Mutex::default(), work: Mutex::default() })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self) -> Option<Arc<Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pod_cidrs(&self) -> Vec<IpNet> {
        self.applied().map(|applied| applied.local.pod_cidrs.clone()).unwrap_or_default()
    }

    /// The node's veth pair: by it the node's own traffic to Pods and Services enters MidoNet.
    fn node_pair(&self, local: &Local, mtu: u32) -> VethPair {
        let Settings { node_name, cluster_cidrs, service_cidrs, .. } = &self.settings;
        let destinations: Vec<IpNet> = cluster_cidrs.iter().chain(service_cidrs).map(IpNet::trunc).collect();
        let pair = node_pair::of(node_name, local, mtu, &destinations);
        VethPair { alias: format!("{ALIAS}{node_name}"), ..pair }
    }

    /// Makes this node's own part, and repairs Pods' interfaces.
    fn make(&self, local: &Local, underlay: Underlay, all: bool) -> Result<Applied> {
        let mtu = match (self.settings.mtu, mtu_problem(&underlay, local.has_ipv6(), None)) {
            (Some(mtu), _) => mtu,
            (None, None) => underlay.mtu,
            (None, Some((problem, remedy))) => bail!("{problem}; {remedy}"),
        };
        settings::forward(&self.settings.state_dir, local)?;
        let pair = self.node_pair(local, mtu);
        node_pair::ensure(&pair)?;
        remove_other_routes(&pair)?;
        settings::repair(&self.settings.state_dir, local)?;
        plumbing::link::set_up(interface::MIDO).context("cannot set the node's port up")?;
        self.committed.repair(mtu, all)?;
        info!(
            pod_cidrs = ?local.pod_cidrs, uplink = underlay.names(), tunnel_address = %local.tunnel_address, mtu,
            "the node's network is set up"
        );
        Ok(Applied { local: local.clone(), underlay, mtu })
    }
}

/// Of a former range of Services, or of an agent before this one.
fn remove_other_routes(pair: &VethPair) -> Result<()> {
    let wanted = |net: &IpNet| {
        pair.routes.iter().any(|route| route.dst == *net)
            || pair.gateways.iter().any(|gateway| IpNet::from(*gateway) == *net)
    };
    let there = plumbing::own_routes(interface::NODE).context("cannot list the node's routes")?;
    let others: Vec<IpNet> = there.into_keys().filter(|net| !wanted(net)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let failed = plumbing::remove_routes(interface::NODE, &others).context("cannot remove former routes")?;
    match failed.into_iter().next() {
        Some((net, error)) => Err(error).with_context(|| format!("cannot remove the former route to {net}")),
        None => Ok(()),
    }
}

impl Backend for Midonet {
    fn apply(&self, local: &Local, changes: Changes, _prune: bool, first: bool) -> Result<Outcome> {
        let work = &mut *self.work();
        work.tunnels.change(changes.tunnels);
        let before = self.applied().filter(|applied| applied.local == *local && !work.invalid);
        if before.is_none() {
            work.tunnels.forget();
        }
        if first {
            let Settings { cluster_cidrs, service_cidrs, .. } = &self.settings;
            settings::check_overlap(cluster_cidrs, service_cidrs, local)?;
        }
        let has_ipv6 = local.has_ipv6();
        let underlay = work.tunnels.ask(local.tunnel_address, has_ipv6)?;
        let (applied, whole) = match before {
            Some(before) if before.underlay == underlay => (before, false),
            _ => {
                // Until all of it is done, nothing of it is taken for granted.
                let again = std::mem::replace(&mut work.invalid, true);
                let made = Arc::new(self.make(local, underlay, again)?);
                *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&made));
                work.invalid = false;
                (made, true)
            }
        };
        let mut problems = work.tunnels.problems(&applied.underlay, has_ipv6);
        if let Some((problem, remedy)) = mtu_problem(&applied.underlay, has_ipv6, self.settings.mtu) {
            if first {
                bail!("{problem}; {remedy}");
            }
            problems.push(Problem::new("mtu", applied.underlay.names(), problem, remedy));
        }
        Ok(Outcome { mtu: applied.mtu, problems, whole, retry: None })
    }

    fn invalidate(&self) {
        self.work().invalid = true;
    }

    fn detect(&self) -> Result<Detected> {
        let work = &mut *self.work();
        let Some(applied) = self.applied() else { return Ok(Detected::default()) };
        let mut drift = node_pair::drift(&self.node_pair(&applied.local, applied.mtu))?;
        let difference = work.tunnels.difference(&applied.underlay, work.asked, TUNNELS)?;
        work.asked = work.asked.wrapping_add(TUNNELS);
        drift.extend(difference.map(|difference| Drift::new("uplink", difference)));
        drift.extend(settings::drift(&self.settings.state_dir, &applied.local)?);
        let links: BTreeMap<u32, Link> =
            plumbing::link::list()?.into_iter().map(|link| (link.ifindex, link)).collect();
        work.up.retain(&links);
        for port in self.ports() {
            let link = links.get(&port.host_ifindex).filter(|link| !link.is_retired());
            let Some(link) = link else { continue };
            let down = work.up.is_broken(link).then_some("is down");
            drift.extend(
                down.into_iter().chain(changed(&port, link)).map(|what| {
                    Drift::new("pod", format!("{} of Pod {} {what}", port.host_ifname, port.pod()))
                }),
            );
        }
        Ok(Detected { drift, settled: work.up.is_all() })
    }

    fn bind(&self, request: &BindRequest) -> Result<(), BindError> {
        let applied = self.applied();
        let applied =
            applied.ok_or_else(|| BindError::NotYet("the node's network is not set up yet".into()))?;
        self.committed.bind(request, &applied.local)
    }

    fn release(&self, host_ifname: &str, container_id: &str) -> Result<Option<PortRecord>> {
        Ok(self.committed.release(host_ifname, container_id))
    }

    fn check(&self, request: &BindRequest) -> Result<(), BindError> {
        self.committed.check(request)
    }

    fn sweep(&self) -> Vec<PortRecord> {
        self.committed.sweep()
    }

    fn ports(&self) -> Vec<PortRecord> {
        self.committed.all()
    }

    fn port_problems(&self) -> Vec<Problem> {
        self.committed.problems(&self.pod_cidrs())
    }

    fn question(&self, peers: Vec<(String, IpAddr)>) -> Option<Question> {
        let applied = self.applied()?;
        let Settings { cluster_cidrs, service_cidrs, .. } = &self.settings;
        Some(settings::question(cluster_cidrs, service_cidrs, &applied.local, TUNNEL_PORT, false, peers))
    }

    fn packets(&self) -> Option<&dyn Packets> {
        None
    }

    fn status(&self) -> Status {
        let network = self.applied().map(|applied| Network {
            local: applied.local.clone(),
            node_mac: node_pair::mac(&self.settings.node_name),
            mtu: applied.mtu,
            encapsulation: None,
            uplink: applied.underlay.names(),
        });
        let cluster_cidrs = self.settings.cluster_cidrs.clone();
        Status { kind: NetworkKind::Midonet, tunnels: None, cluster_cidrs, network }
    }
}
