//! Drift: what the agent made and somebody else removed or changed. It is detected here and repaired by the same code that
//! made it.

pub mod detector;
pub mod events;
pub mod files;
mod pace;
pub mod probe;

use std::fmt;

/// One thing that somebody else removed or changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// What kind of thing: the metric's label.
    pub what: &'static str,
    /// Which, and what is wrong with it.
    pub detail: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.detail)
    }
}

impl Drift {
    /// A drift.
    pub fn new(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, detail: detail.into() }
    }
}
