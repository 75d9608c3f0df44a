//! What is wanted, as simply as it can be said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use testkit::Random;

use super::super::raw;
use super::*;
use crate::layout::policy::SetKey;
use crate::layout::route_key;
use crate::services::Protocol;

/// Everything that is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) classes: BTreeMap<IpAddr, u32>,
    pub(super) blocks: BTreeMap<IpNet, u32>,
    pub(super) entries: BTreeMap<EntryKey, u32>,
    pub(super) lists: BTreeMap<u32, Arc<List>>,
    pub(super) rules: BTreeSet<u32>,
    pub(super) sets: BTreeMap<u32, u32>,
    /// The next number of anything.
    pub(super) next: u32,
}

pub(super) fn all_ipv4() -> IpNet {
    "0.0.0.0/0".parse().unwrap()
}

impl Model {
    /// All of it as one change.
    pub(super) fn whole(&self) -> Change {
        Change {
            replace: true,
            rules: self.rules.iter().copied().collect(),
            lists: self.lists.iter().map(|(number, list)| (*number, Arc::clone(list))).collect(),
            entries: self.entries.iter().map(|(key, list)| Entry { key: *key, list: *list }).collect(),
            classes: self.classes.iter().map(|(address, class)| (*address, Some(*class))).collect(),
            blocks: self.blocks.iter().map(|(block, class)| (*block, Some(*class))).collect(),
            sets: self.sets.iter().map(|(ifindex, set)| (*ifindex, *set)).collect(),
            ..Change::default()
        }
    }

    /// What changes from another one.
    pub(super) fn since(&self, old: &Self) -> Change {
        fn changed<K: Ord + Copy, V: PartialEq + Copy>(
            old: &BTreeMap<K, V>,
            new: &BTreeMap<K, V>,
        ) -> Vec<(K, Option<V>)> {
            let gone = old.keys().filter(|key| !new.contains_key(key)).map(|key| (*key, None));
            let set = new.iter().filter(|(key, value)| old.get(key) != Some(value));
            set.map(|(key, value)| (*key, Some(*value))).chain(gone).collect()
        }
        let whole = self.whole();
        Change {
            replace: false,
            rules: self.rules.difference(&old.rules).copied().collect(),
            lists: whole.lists.into_iter().filter(|(number, _)| !old.lists.contains_key(number)).collect(),
            entries: whole.entries.into_iter().filter(|one| !old.entries.contains_key(&one.key)).collect(),
            classes: changed(&old.classes, &self.classes),
            blocks: changed(&old.blocks, &self.blocks),
            sets: whole
                .sets
                .into_iter()
                .filter(|(ifindex, set)| old.sets.get(ifindex) != Some(set))
                .collect(),
            removed_entries: old
                .entries
                .keys()
                .filter(|key| !self.entries.contains_key(key))
                .copied()
                .collect(),
            removed_lists: old.lists.keys().filter(|key| !self.lists.contains_key(key)).copied().collect(),
            removed_rules: old.rules.difference(&self.rules).copied().collect(),
        }
    }

    /// Whether there is space for it.
    pub(super) fn fits(&self) -> bool {
        let prefixes: usize = self.lists.values().map(|list| raw::prefixes(1, list).count()).sum();
        let blocks = self.blocks.iter().filter(|one| one != &(&all_ipv4(), &0)).count();
        self.classes.len() <= 8
            && blocks <= 8
            && self.entries.len() <= 12
            && prefixes <= 24
            && self.rules.len() <= 6
    }

    /// What the kernel must have then.
    pub(super) fn kernel(&self, node: u32) -> Kernel {
        let mut blocks = self.blocks.clone();
        blocks.entry(all_ipv4()).or_insert(0);
        let prefixes = self.lists.iter().flat_map(|(number, list)| raw::prefixes(*number, list));
        let mut sets = self.sets.clone();
        sets.insert(node, OPEN);
        Kernel {
            classes: self
                .classes
                .iter()
                .map(|(address, class)| {
                    (bytemuck::bytes_of(&Address::from(*address)).to_vec(), Class { column: [*class; 2] })
                })
                .collect(),
            blocks: blocks
                .iter()
                .map(|(block, class)| {
                    (bytemuck::bytes_of(&route_key(*block)).to_vec(), Class { column: [*class; 2] })
                })
                .collect(),
            entries: self
                .entries
                .iter()
                .map(|(key, list)| {
                    let entry = raw::entry(*list, &self.lists[list]);
                    (bytemuck::bytes_of(&SetKey::from(*key)).to_vec(), entry)
                })
                .collect(),
            ports: prefixes.map(|(key, verdict)| (bytemuck::bytes_of(&key).to_vec(), verdict)).collect(),
            rules: self.rules.iter().copied().collect(),
            sets,
        }
    }

    /// The class of an address: its own, or that of the longest block of its family that it is in.
    pub(super) fn class(&self, address: IpAddr) -> u32 {
        let blocks = self.blocks.iter().filter(|(block, _)| block.contains(&address));
        let longest = blocks.max_by_key(|(block, _)| block.prefix_len()).map_or(0, |(_, class)| *class);
        self.classes.get(&address).copied().unwrap_or(longest)
    }

    /// A number that nothing has had.
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// One random change. What nobody uses any more goes.
    pub(super) fn mutate(&mut self, random: &mut Random, ports: &[u32]) {
        match random.below(8) {
            0 | 1 => {
                let address = address(random);
                match random.percent(60) {
                    true => self.classes.insert(address, 1 + random.below(5) as u32),
                    false => self.classes.remove(&address),
                };
            }
            2 | 3 => {
                let block = block(random);
                match random.percent(60) {
                    true => self.blocks.insert(block, random.below(5) as u32),
                    false => self.blocks.remove(&block),
                };
            }
            4 | 5 => self.new_set(random, ports),
            6 => {
                let ifindex = ports[random.index(ports.len())];
                self.sets.insert(ifindex, [OPEN, CLOSED][random.index(2)]);
            }
            // One more class for a set that is in use.
            _ => {
                let used: Vec<u32> = self.entries.keys().map(|key| key.set).collect();
                if !used.is_empty() {
                    let set = used[random.index(used.len())];
                    let list = self.new_list(random);
                    let direction = Direction::ALL[random.index(2)];
                    self.entries.insert(EntryKey { set, direction, class: Some(10 + list) }, list);
                }
            }
        }
        self.clean();
    }

    fn new_set(&mut self, random: &mut Random, ports: &[u32]) {
        let set = self.number();
        for direction in Direction::ALL {
            for class in [None, Some(1 + random.below(3) as u32)].into_iter().take(1 + random.index(2)) {
                let list = self.new_list(random);
                self.entries.insert(EntryKey { set, direction, class }, list);
            }
        }
        self.sets.insert(ports[random.index(ports.len())], set);
    }

    fn new_list(&mut self, random: &mut Random) -> u32 {
        if !self.lists.is_empty() && random.percent(30) {
            let lists: Vec<u32> = self.lists.keys().copied().collect();
            return lists[random.index(lists.len())];
        }
        let kind = random.below(3);
        let mut verdict = || {
            let rule = match self.rules.iter().copied().collect::<Vec<_>>() {
                rules if !rules.is_empty() && random.percent(70) => rules[random.index(rules.len())],
                _ => {
                    self.next += 1;
                    self.next
                }
            };
            self.rules.insert(rule);
            let allow = random.percent(50);
            Verdict { allow, audit: false, reject: false, origin: Origin::Admin, rule }
        };
        let others = verdict();
        let interval = |first, last, verdict| Interval { protocol: Protocol::Udp, first, last, verdict };
        let intervals = match kind {
            0 => vec![],
            1 => vec![interval(80, 80, verdict())],
            _ => vec![interval(1, 7, verdict()), interval(1000, 1999, verdict())],
        };
        let list = self.number();
        self.lists.insert(list, Arc::new(List { others, intervals: intervals.into() }));
        list
    }

    /// Removes sets that no port has, and lists and rules that no set uses.
    pub(super) fn clean(&mut self) {
        self.entries.retain(|key, _| self.sets.values().any(|set| *set == key.set));
        self.lists.retain(|number, _| self.entries.values().any(|list| list == number));
        let lists = self.lists.values();
        let used: BTreeSet<u32> = lists
            .flat_map(|list| {
                list.intervals
                    .iter()
                    .map(|one| one.verdict.rule)
                    .chain([list.others.rule])
                    .collect::<Vec<_>>()
            })
            .collect();
        self.rules.retain(|rule| used.contains(rule));
    }

    /// Leaves out what no program can find: entries for classes that no address has. After a restart nobody knows them.
    pub(super) fn forget_what_is_not_found(&mut self) {
        let known: BTreeSet<u32> =
            self.classes.values().chain(self.blocks.values()).copied().chain([0]).collect();
        self.entries.retain(|key, _| key.class.is_none_or(|class| known.contains(&class)));
        self.clean();
    }

    /// The same with other numbers, as an agent that starts anew gives them.
    pub(super) fn renumber(&mut self, above: &State) {
        let base = above.set.max(above.list).max(above.rule).max(self.next) + 1;
        let new = |number: u32| base + number;
        let verdict = |one: Verdict| Verdict { rule: new(one.rule), ..one };
        self.rules = self.rules.iter().map(|rule| new(*rule)).collect();
        self.lists = self
            .lists
            .iter()
            .map(|(number, list)| {
                let intervals = list.intervals.iter();
                let intervals =
                    intervals.map(|one| Interval { verdict: verdict(one.verdict), ..*one }).collect();
                (new(*number), Arc::new(List { others: verdict(list.others), intervals }))
            })
            .collect();
        let entries = self.entries.iter();
        self.entries =
            entries.map(|(key, list)| (EntryKey { set: new(key.set), ..*key }, new(*list))).collect();
        for set in self.sets.values_mut().filter(|set| ![OPEN, CLOSED].contains(set)) {
            *set = new(*set);
        }
        self.next += base;
    }
}

/// Of few addresses, of both families.
pub(super) fn address(random: &mut Random) -> IpAddr {
    let host = random.below(6);
    match random.below(2) {
        0 => IpAddr::from([10, 0, 0, host as u8]),
        _ => IpAddr::from(Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(host))),
    }
}

/// Blocks that contain each other.
fn block(random: &mut Random) -> IpNet {
    let address = address(random);
    let lengths: &[u8] = if address.is_ipv4() { &[0, 8, 29, 30, 31, 32] } else { &[0, 1, 64, 125, 126, 128] };
    IpNet::new(address, lengths[random.index(lengths.len())]).unwrap().trunc()
}
