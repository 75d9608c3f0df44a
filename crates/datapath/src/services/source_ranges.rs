//! Sets of source ranges in the map `source_ranges`. Pure.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;

use crate::layout::services::RangeKey;
use crate::layout::{RouteKey, route_key};

use super::lists::Full;
use super::numbers::Numbers;
use super::writes::Writes;

/// Bits of a set's number, which come before the address.
const NUMBER_BITS: u32 = 32;

/// The sets in use, by number. Number 0 is that of no set: everybody is let in.
#[derive(Debug)]
pub(super) struct SourceRanges {
    numbers: Numbers,
    sets: HashMap<u32, BTreeSet<RangeKey>>,
    entries: u32,
    limit: u32,
}

impl SourceRanges {
    /// The sets that are in a map with space for so many entries.
    pub(super) fn new(found: impl IntoIterator<Item = RangeKey>, limit: u32) -> Self {
        let mut sets: HashMap<u32, BTreeSet<RangeKey>> = HashMap::new();
        let mut entries = 0;
        for key in found {
            sets.entry(key.ranges).or_default().insert(key);
            entries += 1;
        }
        Self { numbers: Numbers::new(u32::MAX - 1), sets, entries, limit }
    }

    /// Makes a set and uses it.
    pub(super) fn add(&mut self, ranges: &[IpNet], writes: &mut Writes) -> Result<u32, Full> {
        let full = Full("source_ranges", self.limit);
        let mut number = self.numbers.take().ok_or(full)?;
        // Left in the map by an agent that died, and not used by any Service.
        while self.sets.contains_key(&number) {
            self.numbers.forget(number);
            number = self.numbers.take().ok_or(full)?;
        }
        let keys = keys(number, ranges);
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        if self.entries.saturating_add(count) > self.limit {
            self.numbers.release(number);
            self.numbers.free(number);
            return Err(full);
        }
        self.entries += count;
        keys.iter().for_each(|key| writes.ranges.push(*key, 1));
        self.sets.insert(number, keys);
        Ok(number)
    }

    /// How many entries there are, and how many there may be.
    pub(super) fn usage(&self) -> (u32, u32) {
        (self.entries, self.limit)
    }

    /// Whether a set that was found has these ranges.
    pub(super) fn is(&self, number: u32, ranges: &[IpNet]) -> bool {
        let none = BTreeSet::new();
        number != 0 && *self.sets.get(&number).unwrap_or(&none) == keys(number, ranges)
    }

    pub(super) fn hold(&mut self, number: u32) {
        self.numbers.hold(number);
    }

    /// Ends a use. Whether nobody uses the set any more: then it is to be [freed](Self::free) later.
    pub(super) fn release(&mut self, number: u32) -> bool {
        self.numbers.release(number)
    }

    /// Removes a set.
    pub(super) fn free(&mut self, number: u32, writes: &mut Writes) {
        let keys = self.sets.remove(&number).unwrap_or_default();
        self.entries = self.entries.saturating_sub(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        writes.removed_ranges.extend(keys);
        self.numbers.free(number);
    }

    /// Removes the sets that were found and that no Service uses.
    pub(super) fn prune(&mut self, writes: &mut Writes) {
        let unused: Vec<u32> =
            self.sets.keys().filter(|number| !self.numbers.is_known(**number)).copied().collect();
        unused.into_iter().for_each(|number| self.free(number, writes));
    }

    /// The entries of a set.
    pub(super) fn keys(&self, number: u32) -> impl Iterator<Item = &RangeKey> {
        self.sets.get(&number).into_iter().flatten()
    }
}

fn keys(number: u32, ranges: &[IpNet]) -> BTreeSet<RangeKey> {
    let key = |range: &IpNet| {
        let RouteKey { prefix_length, address } = route_key(range.trunc());
        RangeKey { prefix_length: prefix_length + NUMBER_BITS, ranges: number, address }
    };
    ranges.iter().map(key).collect()
}
