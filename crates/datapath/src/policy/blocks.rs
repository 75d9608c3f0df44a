//! What a block would be if it was not there: of the next longer one that contains it.
//!
//! A program finds the longest block of an address and reads one column there. So a key has a class in both columns, also
//! while it is only in one of them: there, that of the block around it.

use std::collections::{BTreeSet, HashMap};

use crate::layout::policy::CLASS_OTHER;
use crate::layout::{Address, RouteKey};

use super::columns::Step;

/// The classes of blocks, in the present and in the future.
pub(super) struct Around<'a> {
    present: &'a HashMap<RouteKey, u32>,
    changes: HashMap<RouteKey, Option<u32>>,
    lengths: BTreeSet<u32>,
}

impl<'a> Around<'a> {
    pub(super) fn new(present: &'a HashMap<RouteKey, u32>, steps: &[Step<RouteKey>]) -> Self {
        let is_asked = steps.iter().any(|step| step.before.is_none() || step.after.is_none());
        let mut changes = HashMap::new();
        let mut lengths = BTreeSet::new();
        if is_asked {
            changes.extend(steps.iter().map(|step| (step.key, step.after)));
            lengths.extend(present.keys().chain(changes.keys()).map(|key| key.prefix_length));
        }
        Self { present, changes, lengths }
    }

    /// The classes around a block, in the present and in the future.
    pub(super) fn of(&self, key: &RouteKey) -> [u32; 2] {
        let now = |key: &RouteKey| self.present.get(key).copied();
        let then = |key: &RouteKey| self.changes.get(key).copied().unwrap_or_else(|| now(key));
        [self.search(key, now), self.search(key, then)]
    }

    fn search(&self, key: &RouteKey, class: impl Fn(&RouteKey) -> Option<u32>) -> u32 {
        let shorter = self.lengths.range(..key.prefix_length).rev();
        shorter.map(|length| truncated(key, *length)).find_map(|key| class(&key)).unwrap_or(CLASS_OTHER)
    }
}

/// The block of another length that contains a block.
pub(super) fn truncated(key: &RouteKey, length: u32) -> RouteKey {
    let bits = u128::from_be_bytes(bytemuck::cast(key.address.word));
    let mask = u128::MAX.checked_shl(128u32.saturating_sub(length)).unwrap_or(0);
    RouteKey { prefix_length: length, address: Address { word: bytemuck::cast((bits & mask).to_be_bytes()) } }
}
