//! What only a network does that carries packets itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use datapath::drops::Drop;
use datapath::follow::{Filter, Follower};
use datapath::records::{Events, Records};
use datapath::trace::{Entrance, Packet, State, Traced};
use datapath::{Counter, ServiceCounters, Sweep, TableUsage};
use model::ServicePortKey;

use super::policy::PolicyTables;
use super::tracking::{Connection, ServiceRecord};

/// Another program carries Pods' packets.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "MidoNet carries the packets of this node's Pods (--network midonet): `midokube trace` follows a packet through what MidoNet \
     is told, and of connections and drops MidoNet's own tools tell"
)]
pub struct Elsewhere;

/// The datapath of a network that carries packets itself: Services, policy, connections, and what became of packets.
pub trait Packets: fmt::Debug + Send + Sync {
    /// Whether Services, and ports of this node that lead to Pods, are served here, and not left to others. Only then may
    /// anybody ask for such a port.
    fn serves_services(&self) -> bool;

    /// What became of packets, and how often.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn counters(&self) -> Result<Vec<Counter>>;

    /// What was dropped and why, and what policy would not let pass, as far as the table has space: rows in no order.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn drops(&self) -> Result<Vec<Drop>>;

    /// The ports of Services that the datapath has, those of one Service (`namespace/name`) or all; host ports, too, whose
    /// Service is a container.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn services(&self, service: Option<&str>) -> Result<Vec<ServiceRecord>>;

    /// Which ports of Services, or host ports, have these numbers now, in their order.
    fn service_ports(&self, numbers: &[u32]) -> Vec<Option<ServicePortKey>>;

    /// What became of connections to all Services since this agent was started.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn service_totals(&self) -> Result<ServiceCounters>;

    /// Hands over every tracked connection that is wanted. Packets go on meanwhile: one that changes may be missing, or come
    /// twice.
    ///
    /// # Errors
    /// The kernel does not tell, or it takes until then.
    fn connections(
        &self,
        until: Instant,
        wanted: &dyn Fn(&Connection) -> bool,
        found: &mut dyn FnMut(Connection),
    ) -> Result<()>;

    /// What was found when connections that are over were last removed, some seconds ago.
    fn swept(&self) -> Arc<Sweep>;

    /// How full the tables of connections and Services are.
    fn tables(&self) -> Vec<TableUsage>;

    /// The records of connections and the events about them, once; `None`: nothing is recorded, or they were taken.
    fn take_records(&self) -> Option<(Arc<Records>, Events)>;

    /// What becomes of a packet, judged by the programs without sending it. Nothing changes.
    ///
    /// # Errors
    /// The packet cannot be right, or the kernel does not tell.
    fn trace(&self, entrance: Entrance, packet: &Packet, state: &State) -> Result<Traced>;

    /// Unloads what tracing needs, if nobody traced for that long.
    fn rest_tracer(&self, idle: Duration);

    /// Begins to follow packets. The datapath is held only to learn its programs.
    ///
    /// # Errors
    /// The kernel does not take what that needs.
    fn follow(&self, filter: &Filter) -> Result<Follower>;

    /// What enforces policy.
    fn policy(&self) -> &dyn PolicyTables;
}
