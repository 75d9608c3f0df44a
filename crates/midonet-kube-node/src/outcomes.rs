//! What became of what is told to people, for whoever counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a line of a log, or of an Event about a Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is written.
    Written,
    /// There were too many of them.
    Limited,
    /// It could not be written.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Written, Self::Limited, Self::Failed];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }
}

/// How often each came out. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Outcomes(Arc<[AtomicU64; Outcome::ALL.len()]>);

impl Outcomes {
    pub(crate) fn add(&self, outcome: Outcome, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.counter(outcome).fetch_add(count, Ordering::Relaxed);
    }

    /// How many of this kind, from the agent's start on.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.counter(outcome).load(Ordering::Relaxed)
    }

    fn counter(&self, outcome: Outcome) -> &AtomicU64 {
        let [written, limited, failed] = &*self.0;
        match outcome {
            Outcome::Written => written,
            Outcome::Limited => limited,
            Outcome::Failed => failed,
        }
    }
}
