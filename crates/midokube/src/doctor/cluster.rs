//! What is known of all nodes: what findings are made of.

use std::time::SystemTime;

use super::facts::Facts;

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    /// Nodes of the cluster without an agent.
    pub(super) without_agent: Vec<String>,
    /// The version of this program.
    pub(super) version: String,
}

/// A node that has or should have an agent.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) said: Result<Facts, Silence>,
    /// How far its clock is ahead of this program's, in milliseconds: between these two; `None`: it is the same clock, or the
    /// node says nothing.
    pub(super) clock: Option<(i64, i64)>,
}

/// Why a node says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) why: String,
    /// The version of its agent, if it tells that at least.
    pub(super) version: Option<String>,
}

impl Cluster {
    /// What the nodes say that say something.
    pub(super) fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.nodes.iter().filter_map(|node| node.said.as_ref().ok())
    }
}

/// Between what and what a node's clock is ahead, if it read its own before and after it worked, and all that was between
/// these two moments here.
pub(super) fn ahead(facts: &Facts, asked: SystemTime, answered: SystemTime) -> Option<(i64, i64)> {
    let ms = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    };
    let node = |ms: u64| i64::try_from(ms).ok();
    Some((node(facts.ended_ms)? - ms(answered)?, node(facts.began_ms)? - ms(asked)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_is_known_as_well_as_the_network_is_fast() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let facts = Facts { began_ms: 6_100, ended_ms: 9_100, ..Facts::default() };
        // Asked at 1,000 and answered at 4,200: 200 ms are not known.
        assert_eq!(ahead(&facts, at(1_000), at(4_200)), Some((4_900, 5_100)));
    }
}
