//! The embedded network of this node: eBPF programs, and the interfaces, routes and rules that lead packets to them.
//!
//! Everything here can be repeated; a call that failed half-way is made again. Only `work` is held for long: by
//! [`apply`](Backend::apply) and [`detect`](Backend::detect), which take turns. All other calls hold what they share for
//! single operations and wait for nobody (`parts`).

mod connections;
mod detect;
mod hook;
mod host_ports;
mod limits;
mod nftables;
mod node;
mod node_ports;
mod own_addresses;
mod parts;
mod policy;
mod ports;
mod probe;
mod rebuild;
mod record;
mod repair;
mod routes;
mod service_routes;
mod services;
mod sets;
mod source_ports;
mod state;
mod sweep;
mod tables;
mod tracer;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use datapath::drops::Drop;
use datapath::follow::{Filter, Follower};
use datapath::records::{Events, Records};
use datapath::trace::{Entrance, Packet, State, Traced};
use datapath::{Counter, Datapath, ServiceCounters, Sweep, TableUsage};
use ipnet::IpNet;
use model::{Changes, Local, Problem, ServicePortKey};
use plumbing::probe::Question;
use plumbing::tc;

use self::connections::Tracking;
use self::detect::{Expected, Settled};
use self::nftables::Nftables;
use self::node::{Kept, Prepared};
use self::node_ports::NodePorts;
use self::parts::Parts;
use self::ports::Ports;
use self::routes::Routes;
use self::service_routes::ServiceRoutes;
use self::services::{Services, Unserved};
use self::sets::Sets;
use self::state::Applied;
use self::tables::Tables;
use self::tracer::Tracing;
use super::names::Names;
use super::underlay::{Tunnels, Underlay, mtu_problem};
use super::{
    Backend, BindError, BindRequest, Connection, Detected, Network, Outcome, Packets, PolicyTables,
    PortRecord, ServiceRecord, Status, node_pair, settings,
};
use crate::config::{self, NetworkKind};
use crate::repairs::Repairs;

pub use hook::Hook;
pub use node::is_direct;
pub(crate) use source_ports::{SERVICE_PORTS, ephemeral as ephemeral_ports};
pub use state::Settings;

/// The network of this node.
pub struct Embedded {
    parts: Parts,
    work: Mutex<Work>,
}

/// What applying and detecting know.
#[derive(Debug, Default)]
struct Work {
    kept: Option<Kept>,
    routes: Routes,
    service_routes: ServiceRoutes,
    services: Services,
    node_ports: NodePorts,
    tunnels: Tunnels,
    settled: Settled,
    /// Whether what was applied may not hold any more.
    invalid: bool,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Goes on with what an earlier agent left in the kernel: programs, tables and ports.
    ///
    /// # Errors
    /// Says what the kernel refused and what may be missing.
    pub fn open(settings: Settings, repairs: Repairs) -> Result<Self> {
        let mut datapath = Datapath::open(&datapath::Options {
            pin_dir: settings.bpf_dir.clone(),
            // The node's own port is one more.
            max_endpoints: config::endpoints(settings.max_pods),
            max_routes: config::routes(settings.max_nodes),
            max_connections: settings.max_connections,
            max_services: settings.max_services,
            max_backends: settings.max_backends,
            policy: settings.policy_sizes,
            max_drops: settings.max_drops,
            recording: settings.recording,
            at_work: tc::block_program(tc::INGRESS_BLOCK)?,
        })
        .context("cannot open the eBPF datapath")?;
        let tracking = Tracking::start(datapath.connections())?;
        let sets =
            Sets::take_over(&mut datapath, settings.policy).context("cannot read policy that is in force")?;
        let tables = Tables::new(datapath);
        let mut ports = Ports::new(Names::open(&settings.state_dir), plumbing::Netlink::here()?);
        ports.restore(&tables, &sets, settings.reservations.as_deref(), &repairs)?;
        let parts = Parts {
            hook: Hook::choose(settings.hook)?,
            settings,
            repairs,
            tables,
            tracking,
            tracing: Tracing::default(),
            sets,
            ports: Mutex::new(ports),
            nftables: Mutex::new(Nftables::take_over()),
            applied: Mutex::default(),
        };
        let service_routes = ServiceRoutes::new(&parts.settings.service_cidrs);
        Ok(Self { parts, work: Mutex::new(Work { service_routes, ..Work::default() }) })
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this node's own part, and the routes. Returns what of other nodes and of Services could not be applied.
    fn apply_all(
        &self,
        work: &mut Work,
        local: &Local,
        underlay: Result<Underlay>,
        prune: bool,
        complete: bool,
    ) -> Result<Unserved> {
        // Until all of it is done, nothing of it is taken for granted.
        let again = work.invalid;
        work.invalid |= self.parts.applied().is_some();
        let prepared = underlay.and_then(|underlay| {
            if again {
                self.parts.restore_pins()?;
            }
            self.parts.prepare_node(local, underlay)
        });
        // Those of other nodes do not wait for this node's own part.
        let mut problems = work.routes.apply(true, prune, &self.parts.tables)?;
        // What is pruned are neither Services nor Pods' hostPorts, which are prepared with the node.
        let services = self.apply_services(work, true, complete && prepared.is_ok())?;
        problems.extend(services.problems);
        let Prepared { applied, kept, problems: unserved } = prepared?;
        problems.extend(unserved);
        problems.extend(self.route_to_services(work, &applied, true, prune)?);
        let kept = work.kept.insert(kept);
        self.parts.attach_programs(&applied, kept)?;
        self.parts.repair_ports(&applied.local.pod_cidrs, applied.mtu, again)?;
        self.parts.set_applied(applied);
        work.invalid = false;
        Ok(Unserved { problems, retry: services.retry })
    }
}

impl Embedded {
    /// The datapath's table of Services.
    fn apply_services(&self, work: &mut Work, all: bool, complete: bool) -> Result<Unserved> {
        // With --services off another proxy serves them: what an agent before this one left would come before it.
        let complete = complete || !self.parts.settings.services;
        work.services.apply(all, complete, &self.parts.tables, &self.parts.tracking)
    }

    /// The kernel's routes by which the node's own processes reach Services.
    fn route_to_services(
        &self,
        work: &mut Work,
        applied: &Applied,
        all: bool,
        prune: bool,
    ) -> Result<Vec<Problem>> {
        let gateways = applied.local.gateways.iter().map(|gateway| IpNet::from(*gateway));
        let keep: Vec<IpNet> = self.parts.settings.cluster_cidrs.iter().copied().chain(gateways).collect();
        work.service_routes.apply(all, prune, &applied.local, &applied.outside.addresses, &keep)
    }
}

impl Backend for Embedded {
    fn apply(&self, local: &Local, changes: Changes, prune: bool, first: bool) -> Result<Outcome> {
        let work = &mut *self.work();
        let Changes { routes, nodes, tunnels, services, service_cidrs, service_addresses, .. } = changes;
        let complete = changes.services_complete;
        work.routes.change(routes, nodes);
        work.tunnels.change(tunnels);
        work.service_routes.change(service_cidrs, service_addresses);
        {
            let mut nftables = self.parts.nftables();
            work.node_ports.change(&services, &mut nftables);
            if complete {
                nftables.prune();
            }
        }
        if self.parts.settings.services {
            work.services.change(services);
        }
        let before = self.parts.applied().filter(|applied| applied.local == *local && !work.invalid);
        if before.is_none() {
            work.tunnels.forget();
        }
        if first {
            let Settings { cluster_cidrs, service_cidrs, .. } = &self.parts.settings;
            settings::check_overlap(cluster_cidrs, service_cidrs, local)?;
        }
        let has_ipv6 = local.has_ipv6();
        let underlay = work.tunnels.ask(local.tunnel_address, has_ipv6);
        let (Unserved { mut problems, retry }, whole) = match (&before, underlay) {
            (Some(before), Ok(underlay)) if before.underlay == underlay => {
                let problems = work.routes.apply(false, prune, &self.parts.tables)?;
                let mut unserved = self.apply_services(work, false, complete)?;
                unserved.problems.extend(problems);
                unserved.problems.extend(self.route_to_services(work, before, false, prune)?);
                self.parts.nftables().write()?;
                (unserved, false)
            }
            (_, underlay) => (self.apply_all(work, local, underlay, prune, complete)?, true),
        };
        let applied = self.parts.applied().context("nothing was applied")?;
        let too_large = mtu_problem(&applied.underlay, has_ipv6, self.parts.settings.mtu);
        if let Some((problem, remedy)) = too_large {
            // Pods that are there go on. Where there is none yet, none is added that would lose its largest packets.
            if first {
                bail!("{problem}; {remedy}");
            }
            problems.push(Problem::new("mtu", applied.underlay.names(), problem, remedy));
        }
        problems.extend(work.tunnels.problems(&applied.underlay, has_ipv6));
        Ok(Outcome { mtu: applied.mtu, problems, whole, retry })
    }

    fn invalidate(&self) {
        self.work().invalid = true;
    }

    fn detect(&self) -> Result<Detected> {
        let work = &mut *self.work();
        let (Some(applied), Some(kept)) = (self.parts.applied(), &work.kept) else {
            return Ok(Detected::default());
        };
        let (routes, service_routes, services) = (&work.routes, &work.service_routes, &work.services);
        let (parts, tunnels) = (&self.parts, &work.tunnels);
        let expected = Expected { parts, applied: &applied, kept, routes, service_routes, services, tunnels };
        let drift = expected.detect(&mut work.settled)?;
        Ok(Detected { drift, settled: work.settled.is_all() })
    }

    fn bind(&self, request: &BindRequest) -> Result<(), BindError> {
        let mut ports = self.parts.ports();
        let applied = self.parts.applied();
        let before = ports.records.get(&request.host_ifname).cloned();
        if let Err(error) = ports.bind(
            request,
            applied.as_deref(),
            self.parts.sets.of(request.host_ifindex),
            &self.parts.tables,
        ) {
            // It may have cost an older sandbox of the Pod its port.
            if !ports.records.contains_key(&request.host_ifname) {
                self.parts.change_host_ports(before.as_ref(), None)?;
            }
            return Err(error);
        }
        let after = ports.records.get(&request.host_ifname);
        let served = self.parts.change_host_ports(before.as_ref(), after);
        if let Err(error) = served {
            if let Some(record) = ports.remove(&request.host_ifname, &self.parts.tables)? {
                self.parts.change_host_ports(Some(&record), None)?;
            }
            return Err(error.into());
        }
        Ok(())
    }

    fn release(&self, host_ifname: &str, container_id: &str) -> Result<Option<PortRecord>> {
        let mut ports = self.parts.ports();
        let released = ports.release(host_ifname, container_id, &self.parts.tables)?;
        if let Some(port) = &released {
            self.parts.sets.forget(port.host_ifindex);
        }
        self.parts.change_host_ports(released.as_ref(), None)?;
        Ok(released)
    }

    fn check(&self, request: &BindRequest) -> Result<(), BindError> {
        self.parts.ports().check(request, &self.parts.tables)
    }

    fn sweep(&self) -> Vec<PortRecord> {
        self.parts.sweep()
    }

    fn ports(&self) -> Vec<PortRecord> {
        self.parts.ports().records.values().cloned().collect()
    }

    fn port_problems(&self) -> Vec<Problem> {
        self.parts.ports().problems(&self.parts.pod_cidrs())
    }

    fn question(&self, peers: Vec<(String, IpAddr)>) -> Option<Question> {
        self.parts.question(peers)
    }

    fn packets(&self) -> Option<&dyn Packets> {
        Some(self)
    }

    fn status(&self) -> Status {
        let Settings { tunnel_port, vni, cluster_cidrs, .. } = &self.parts.settings;
        let network = self.parts.applied().map(|applied| Network {
            local: applied.local.clone(),
            node_mac: node_pair::mac(&self.parts.settings.node_name),
            mtu: applied.mtu,
            encapsulation: Some(if applied.direct { "direct" } else { "device" }),
            uplink: applied.underlay.names(),
        });
        Status {
            kind: NetworkKind::Embedded,
            tunnels: Some((*tunnel_port, *vni)),
            cluster_cidrs: cluster_cidrs.clone(),
            network,
        }
    }
}

impl Packets for Embedded {
    fn serves_services(&self) -> bool {
        self.parts.settings.services
    }

    fn counters(&self) -> Result<Vec<Counter>> {
        Ok(self.parts.tables.lock().datapath.counters()?)
    }

    fn drops(&self) -> Result<Vec<Drop>> {
        // Read without the lock: a large table takes long.
        let drops = self.parts.tables.lock().datapath.drops();
        Ok(drops.all()?)
    }

    fn services(&self, service: Option<&str>) -> Result<Vec<ServiceRecord>> {
        services::records(service, &self.parts.tables)
    }

    fn service_ports(&self, numbers: &[u32]) -> Vec<Option<ServicePortKey>> {
        services::ports(numbers, &self.parts.tables)
    }

    fn service_totals(&self) -> Result<ServiceCounters> {
        Ok(self.parts.tables.lock().datapath.services().totals()?)
    }

    fn connections(
        &self,
        until: Instant,
        wanted: &dyn Fn(&Connection) -> bool,
        found: &mut dyn FnMut(Connection),
    ) -> Result<()> {
        connections::list(&self.parts.tracking.connections(), until, wanted, found)
    }

    fn swept(&self) -> Arc<Sweep> {
        self.parts.tracking.last()
    }

    fn tables(&self) -> Vec<TableUsage> {
        let (sizes, used) = (self.parts.tracking.connections().sizes(), self.swept().tables);
        let tracked = ["connections", "new_connections"].into_iter().zip(used).zip(sizes);
        let tracked = tracked.map(|((name, used), limit)| TableUsage { name, used, limit });
        let mut held = self.parts.tables.lock();
        let policy = held.datapath.policy_usage();
        tracked.chain(held.datapath.services().usage()).chain(policy).collect()
    }

    fn policy(&self) -> &dyn PolicyTables {
        &self.parts
    }

    fn trace(&self, entrance: Entrance, packet: &Packet, state: &State) -> Result<Traced> {
        self.parts.tracing.trace(&self.parts.tables, entrance, packet, state)
    }

    fn rest_tracer(&self, idle: Duration) {
        self.parts.tracing.rest(idle);
    }

    fn follow(&self, filter: &Filter) -> Result<Follower> {
        let source = self.parts.tables.lock().datapath.follow_source()?;
        Ok(Follower::open(&source, filter)?)
    }

    fn take_records(&self) -> Option<(Arc<Records>, Events)> {
        let mut held = self.parts.tables.lock();
        let events = held.datapath.take_events()?;
        Some((held.datapath.records(), events))
    }
}
