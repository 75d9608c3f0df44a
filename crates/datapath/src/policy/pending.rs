//! What is wanted and not in force yet: of one change, or of several that could not be applied.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::layout::policy::{CLASS_NONE, SetKey};
use crate::layout::{Address, RouteKey, route_key};

use super::types::{CLOSED, Change, List, OPEN};

/// Changes that are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// This is all there is.
    pub(super) replace: bool,
    pub(super) rules: BTreeSet<u32>,
    pub(super) lists: HashMap<u32, Arc<List>>,
    /// The list of each entry.
    pub(super) entries: HashMap<SetKey, u32>,
    pub(super) classes: HashMap<Address, Option<u32>>,
    pub(super) blocks: HashMap<RouteKey, Option<u32>>,
    pub(super) sets: BTreeMap<u32, u32>,
    pub(super) removed_rules: BTreeSet<u32>,
    pub(super) removed_lists: BTreeSet<u32>,
    pub(super) removed_entries: HashSet<SetKey>,
}

impl Pending {
    /// Takes in a change that comes after it. What cannot be right is not taken in, and the reason returned.
    pub(super) fn add(&mut self, change: &Change) -> Result<(), String> {
        validate(change)?;
        if change.replace {
            *self = Self { replace: true, ..Self::default() };
        }
        for rule in &change.removed_rules {
            self.rules.remove(rule);
            self.removed_rules.insert(*rule);
        }
        for list in &change.removed_lists {
            self.lists.remove(list);
            self.removed_lists.insert(*list);
        }
        for key in change.removed_entries.iter().map(|key| SetKey::from(*key)) {
            self.entries.remove(&key);
            self.removed_entries.insert(key);
        }
        for rule in &change.rules {
            self.removed_rules.remove(rule);
            self.rules.insert(*rule);
        }
        for (number, list) in &change.lists {
            self.removed_lists.remove(number);
            self.lists.insert(*number, Arc::clone(list));
        }
        for entry in &change.entries {
            let key = entry.key.into();
            self.removed_entries.remove(&key);
            self.entries.insert(key, entry.list);
        }
        self.classes.extend(change.classes.iter().map(|(address, class)| (Address::from(*address), *class)));
        self.blocks.extend(change.blocks.iter().map(|(block, class)| (route_key(*block), *class)));
        self.sets.extend(change.sets.iter().copied());
        Ok(())
    }
}

/// What of a change cannot be right: an entry that would say something else to the programs than to the agent.
fn validate(change: &Change) -> Result<(), String> {
    let reserved = |class: Option<u32>| class == Some(CLASS_NONE);
    for (number, list) in &change.lists {
        if *number == 0 {
            return Err("a list has the number 0".to_owned());
        }
        if let Some(interval) = list.intervals.iter().find(|interval| interval.first > interval.last) {
            return Err(format!("list {number} has ports from {} to {}", interval.first, interval.last));
        }
    }
    if change.rules.contains(&0) {
        return Err("a rule has the number 0".to_owned());
    }
    for entry in &change.entries {
        if [OPEN, CLOSED].contains(&entry.key.set) {
            return Err(format!("set {} has an entry", entry.key.set));
        }
        if reserved(entry.key.class) {
            return Err(format!("set {} has an entry for class {CLASS_NONE}", entry.key.set));
        }
    }
    for (address, class) in &change.classes {
        if reserved(*class) || is_mapped(*address) {
            return Err(format!("address {address} has class {class:?}"));
        }
    }
    for (block, class) in &change.blocks {
        if reserved(*class) || is_mapped(block.addr()) && block.prefix_len() >= 96 {
            return Err(format!("block {block} has class {class:?}"));
        }
    }
    Ok(())
}

/// Whether it is IPv4 in the form of IPv6, which no packet has.
fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The block that all IPv4 addresses are in. It keeps them out of those of IPv6 that contain `::ffff:0:0/96`.
pub(super) fn all_ipv4() -> RouteKey {
    route_key(IpNet::V4(ipnet::Ipv4Net::default()))
}
