//! What became of lines and Events of denials, for whoever counts them.

use crate::outcomes::Outcomes;

/// Of lines and of Events.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Lines of the deny log, but for those that say how many are missing.
    pub lines: Outcomes,
    /// Events about Pods.
    pub events: Outcomes,
}
