//! The embedded network of this node: makes the kernel agree with what is desired, and commits Pods'
//! ports. Everything here is repeatable; a call that failed half-way is simply made again.

mod detect;
mod hook;
mod limits;
mod names;
mod node;
pub mod overlap;
mod ports;
mod probe;
mod rebuild;
mod underlay;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use datapath::{Counter, Datapath, Route};
use ipnet::IpNet;
use plumbing::tc;
use tracing::{info, warn};

use crate::backend::PortRecord;
use crate::config::{self, Encapsulation};
use crate::desired::{Desired, Local};
use crate::leak;
use crate::problems::Problem;
use crate::repairs::Repairs;

pub use detect::{Expectation, Settled};
pub use hook::Hook;
pub(crate) use names::{directory as names_directory, files as name_files};
pub use node::is_direct;
pub(crate) use ports::live_ports;
pub use probe::question;
pub use underlay::{Underlay, mtu_problem};

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
    /// The UDP port of the tunnels.
    pub tunnel_port: u16,
    /// The VXLAN network identifier of the tunnels.
    pub vni: u32,
    /// Who writes and removes the tunnels' headers.
    pub encapsulation: Encapsulation,
    /// What holds programs at the overlay device and the uplink.
    pub hook: config::Hook,
    /// Where eBPF objects are pinned.
    pub bpf_dir: PathBuf,
    /// The agent's own folder.
    pub state_dir: PathBuf,
    /// The most Pods of this node.
    pub max_pods: u32,
    /// The most nodes of the cluster.
    pub max_nodes: u32,
    /// The directory of Pods' addresses in the cluster's network, if the IPAM plugin keeps one.
    pub reservations: Option<PathBuf>,
}

/// The network of this node.
pub struct Network {
    settings: Settings,
    datapath: Datapath,
    hook: Hook,
    /// For the one look that every new port needs: to open another each time takes longer than the look.
    netlink: plumbing::Netlink,
    ports: BTreeMap<String, PortRecord>,
    names: names::Names,
    applied: Option<Applied>,
    kept: Option<detect::Kept>,
    /// Where what limited Pods send has to queue, once there was such a Pod.
    shaper: Option<datapath::Shaper>,
    wanted_routes: BTreeMap<IpNet, Route>,
    /// Where this agent set routes to: when they are wanted no more it removes them, whoever else has some.
    own_routes: BTreeSet<IpNet>,
    /// The addresses of nodes that the datapath should know.
    wanted_nodes: BTreeMap<IpAddr, Option<IpAddr>>,
    /// Those that this agent made known.
    own_nodes: BTreeSet<IpAddr>,
    /// The MTU that Pods were last told.
    pods_mtu: Option<u32>,
    /// Whether somebody else changed something: what was applied may not hold any more.
    invalidated: bool,
    repairs: Repairs,
    /// What the datapath lost of Pods' interfaces and could not be found out, by their numbers.
    lost: BTreeMap<u32, Problem>,
    /// Pods' interfaces that could not be repaired, by their numbers.
    unrepaired: BTreeMap<u32, Problem>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, ports, applied, .. } = self;
        f.debug_struct("Network")
            .field("settings", settings)
            .field("ports", ports)
            .field("applied", applied)
            .finish_non_exhaustive()
    }
}

/// What the kernel was last made to agree with.
#[derive(Debug, Clone)]
pub struct Applied {
    /// This node's own part of it.
    pub local: Local,
    /// What carries the tunnels.
    pub underlay: Underlay,
    /// Whether the datapath writes and removes the headers of tunnels over IPv4 there itself.
    pub direct: bool,
    /// The largest packet of a Pod, in bytes.
    pub mtu: u32,
}

impl Applied {
    /// Where the datapath's program takes tunnels' packets off the wire.
    fn uplinks_with_program(&self) -> impl Iterator<Item = &plumbing::underlay::Uplink> {
        self.underlay.uplinks.iter().filter(|uplink| self.direct && !uplink.loopback)
    }
}

impl Network {
    /// Takes over what an earlier agent left in the kernel: programs, tables and ports go on.
    ///
    /// # Errors
    /// Says what the kernel refused and what may be missing.
    pub fn open(settings: Settings) -> Result<Self> {
        let datapath = Datapath::open(&datapath::Options {
            pin_dir: settings.bpf_dir.clone(),
            // The node's own port is one more.
            max_endpoints: config::endpoints(settings.max_pods),
            max_routes: config::routes(settings.max_nodes),
            at_work: tc::block_program(tc::INGRESS_BLOCK)?,
        })
        .context("cannot open the eBPF datapath")?;
        let mut network = Self {
            hook: Hook::choose(settings.hook)?,
            names: names::Names::open(&settings.state_dir),
            settings,
            datapath,
            netlink: plumbing::Netlink::here()?,
            ports: BTreeMap::new(),
            applied: None,
            kept: None,
            shaper: None,
            wanted_routes: BTreeMap::new(),
            own_routes: BTreeSet::new(),
            wanted_nodes: BTreeMap::new(),
            own_nodes: BTreeSet::new(),
            pods_mtu: None,
            invalidated: false,
            lost: BTreeMap::new(),
            unrepaired: BTreeMap::new(),
            repairs: Repairs::default(),
        };
        network.adopt_ports()?;
        Ok(network)
    }

    /// Makes the kernel agree. Routes that are desired no more are removed; with `prune`, to be said only of what comes
    /// from a complete sync, also those that never were. Returns what of other nodes could not be applied.
    ///
    /// # Errors
    /// Names the step of this node's own part that failed; the others hold, and what was applied before serves on.
    pub fn apply(&mut self, desired: &Desired, prune: bool) -> Result<Vec<Problem>> {
        self.own_routes.extend(desired.routes.keys());
        self.own_nodes.extend(desired.nodes.keys());
        let before =
            self.applied.as_ref().filter(|applied| applied.local == desired.local && !self.invalidated);
        let known = before.map(|applied| &applied.underlay);
        let Local { tunnel_address, .. } = desired.local;
        let underlay = Underlay::look(tunnel_address, &desired.tunnels(), desired.local.has_ipv6(), known);
        if let (Some(known), Ok(underlay)) = (known, &underlay)
            && known.is_like(underlay)
        {
            let (problems, underlay) = (self.apply_routes(desired, prune)?, underlay.clone());
            self.applied = self.applied.take().map(|applied| Applied { underlay, ..applied });
            return Ok(problems);
        }
        // Until all of it is done, nothing of it is taken for granted.
        self.invalidated |= self.applied.is_some();
        let prepared = underlay.and_then(|underlay| self.prepare_local(&desired.local, underlay));
        // Those of other nodes do not wait for this node's own part.
        let problems = self.apply_routes(desired, prune)?;
        // The programs last: the tables that they read are complete.
        let applied = self.attach_programs(prepared?)?;
        self.restore_ports(&applied.local.pod_cidrs, applied.mtu)?;
        self.applied = Some(applied);
        Ok(problems)
    }

    /// What the kernel was last made to agree with; `None` before the first time.
    pub fn applied(&self) -> Option<&Applied> {
        self.applied.as_ref()
    }

    /// The datapath's counters.
    ///
    /// # Errors
    /// The kernel does not give them.
    pub fn counters(&self) -> Result<Vec<Counter>> {
        Ok(self.datapath.counters()?)
    }

    /// The committed ports of Pods.
    pub fn ports(&self) -> impl Iterator<Item = &PortRecord> {
        self.ports.values()
    }

    /// What was put right, from the beginning on.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// This node's name.
    pub fn node_name(&self) -> &str {
        &self.settings.node_name
    }

    /// Where all Pods' addresses are from.
    pub fn cluster_cidrs(&self) -> &[IpNet] {
        &self.settings.cluster_cidrs
    }

    /// The UDP port and the VXLAN network identifier of the tunnels.
    pub fn tunnel_port_and_vni(&self) -> (u16, u32) {
        (self.settings.tunnel_port, self.settings.vni)
    }

    /// Returns the routes and the nodes' addresses that could not be set. They cost the others nothing.
    fn apply_routes(&mut self, desired: &Desired, prune: bool) -> Result<Vec<Problem>> {
        let mut problems = self.apply_nodes(&desired.nodes, prune)?;
        let desired = &desired.routes;
        let current = self.datapath.routes().context("cannot read the datapath's routes")?;
        self.wanted_routes.clone_from(desired);
        // New ones first: a podCIDR that moves to another node is never without a route.
        for (cidr, route) in desired.iter().filter(|(cidr, route)| current.get(*cidr) != Some(*route)) {
            match self.datapath.set_route(*cidr, *route) {
                Ok(()) => info!(%cidr, ?route, "route set"),
                Err(error) => {
                    self.wanted_routes.remove(cidr);
                    let problem = format!("packets to it do not reach its node: {error}");
                    problems.push(Problem::new("route", cidr.to_string(), problem, "correct what is named"));
                }
            }
        }
        let stale = current.keys().filter(|cidr| !desired.contains_key(*cidr));
        for cidr in stale.filter(|cidr| prune || self.own_routes.contains(*cidr)) {
            self.datapath
                .remove_route(*cidr)
                .with_context(|| format!("cannot remove the route to {cidr}"))?;
            info!(%cidr, "route removed");
        }
        self.own_routes.retain(|cidr| desired.contains_key(cidr));
        Ok(problems)
    }

    fn apply_nodes(
        &mut self,
        desired: &BTreeMap<IpAddr, Option<IpAddr>>,
        prune: bool,
    ) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let current = self.datapath.nodes().context("cannot read the datapath's addresses of nodes")?;
        self.wanted_nodes.clone_from(desired);
        // Old ones first: a full table then takes those that are wanted.
        let stale = current.keys().filter(|address| !desired.contains_key(*address));
        for address in stale.filter(|address| prune || self.own_nodes.contains(*address)) {
            self.datapath
                .remove_node(*address)
                .with_context(|| format!("cannot remove the node's address {address}"))?;
        }
        for (address, end) in desired.iter().filter(|(address, end)| current.get(*address) != Some(*end)) {
            if let Err(error) = self.datapath.set_node(*address, *end) {
                self.wanted_nodes.remove(address);
                let problem = format!("packets from it are not accepted through tunnels: {error}");
                problems.push(Problem::new(
                    "tunnel_address",
                    address.to_string(),
                    problem,
                    "correct what is named",
                ));
            }
        }
        self.own_nodes.retain(|address| desired.contains_key(address));
        Ok(problems)
    }

    /// Releases the ports whose interface is gone or dead without anybody having said so. Returns them.
    pub fn sweep(&mut self) -> Vec<PortRecord> {
        let dropped = self.drop_dead_ports().unwrap_or_else(|error| {
            warn!(error = format!("{error:#}"), "cannot look for ports without an interface");
            Vec::new()
        });
        for record in &dropped {
            self.repairs.count(leak::Kind::PortWithoutInterface.name());
            info!(pod = %record.alias.pod, interface = record.host_ifname, "interface is gone: port released");
        }
        dropped
    }
}
