//! What the answers to health checks depend on. Pure: time is given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::HealthCheck;
use objects::Family;

/// An update of Services that waits longer makes the node unhealthy (kube-proxy: `2 * syncPeriod` of 30 s).
const PATIENCE: Duration = Duration::from_secs(60);

/// A point in time: to measure with, and to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    pub(super) wall: SystemTime,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

/// Whether load balancers may send this node new connections, as far as its Node object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NodeState {
    /// Not known yet, or the API server is away: nothing speaks against it.
    #[default]
    Unknown,
    /// It stays.
    Staying,
    /// It is being deleted, or the cluster autoscaler is about to.
    Leaving,
    /// There is no such Node.
    Gone,
}

/// The Services with a port for health checks, by "namespace/name".
pub(super) type HealthChecks = BTreeMap<Arc<str>, HealthCheck>;

/// Everything that the answers depend on.
#[derive(Debug)]
pub(super) struct ProxyState {
    /// Those of the cluster's addresses.
    pub(super) families: Vec<Family>,
    /// Whether Services are in the kernel, from this agent or a former one.
    pub(super) programmed: bool,
    /// Since when the oldest update waits that is not applied.
    waiting: Option<Instant>,
    /// When an update was applied last.
    pub(super) updated: Option<SystemTime>,
    pub(super) node: NodeState,
    pub(super) checks: HealthChecks,
}

impl ProxyState {
    /// Of an agent that starts. `former`: what a former agent left programmed.
    pub(super) fn new(families: Vec<Family>, former: Option<HealthChecks>) -> Self {
        Self {
            families,
            programmed: former.is_some(),
            waiting: None,
            updated: None,
            node: NodeState::default(),
            checks: former.unwrap_or_default(),
        }
    }

    /// An object changed: the kernel is to follow.
    pub(super) fn queued(&mut self, now: Now) {
        self.waiting.get_or_insert(now.monotonic);
    }

    /// The kernel has everything that changed. `complete`: of all Services.
    pub(super) fn applied(&mut self, complete: bool, now: Now) {
        self.programmed |= complete;
        self.waiting = None;
        self.updated = Some(now.wall);
    }

    /// Whether Services are served as the objects say.
    pub(super) fn is_healthy(&self, now: Now) -> bool {
        let waits = |since: Instant| now.monotonic.saturating_duration_since(since);
        self.programmed && self.waiting.is_none_or(|since| waits(since) < PATIENCE)
    }

    /// Whether the node may get new connections.
    pub(super) fn is_eligible(&self) -> bool {
        matches!(self.node, NodeState::Unknown | NodeState::Staying)
    }
}
