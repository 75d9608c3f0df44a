//! The sums of what became of connections. Pure.

use crate::layout::services::ServiceCounter;

/// What became of connections to a port of a Service, or to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Connections that got a backend.
    pub connections: u64,
    /// Connections that got none: there is none, or this client may not get it.
    pub refused: u64,
}

impl From<ServiceCounter> for ServiceCounters {
    fn from(counter: ServiceCounter) -> Self {
        Self { connections: counter.connections, refused: counter.refused }
    }
}

impl ServiceCounters {
    pub(super) fn add(&mut self, other: Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.refused = self.refused.saturating_add(other.refused);
    }
}

/// What the counters of the numbers that are in use leave out of a sum that never falls.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// What they had when the agent came.
    pub(super) before: ServiceCounters,
    /// What those had that are not in use any more.
    pub(super) retired: ServiceCounters,
}

impl Sums {
    /// The sum since the agent came, given that of the numbers in use.
    pub(super) fn total(&self, mut in_use: ServiceCounters) -> ServiceCounters {
        in_use.add(self.retired);
        ServiceCounters {
            connections: in_use.connections.saturating_sub(self.before.connections),
            refused: in_use.refused.saturating_sub(self.before.refused),
        }
    }
}
