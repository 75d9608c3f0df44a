//! The tables as changes build them, and what has to be true of every change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use objects::Protocol;
use policy::{
    Changes, ClassId, Direction, Entry, EntryKey, List, ListId, LocalId, Origin, RuleId, RuleName, SetId,
    Verdict,
};

use super::Outcome;

/// The tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    pub rules: BTreeMap<RuleId, Arc<RuleName>>,
    pub lists: BTreeMap<ListId, Arc<List>>,
    pub entries: BTreeMap<EntryKey, ListId>,
    pub classes: BTreeMap<IpAddr, ClassId>,
    pub blocks: BTreeMap<IpNet, ClassId>,
    pub pods: BTreeMap<LocalId, SetId>,
}

/// What was ever removed.
#[derive(Debug, Default)]
pub struct Past {
    rules: BTreeSet<RuleId>,
    lists: BTreeSet<ListId>,
    entries: BTreeSet<EntryKey>,
    last: u32,
}

impl Past {
    /// Numbers have to begin after this one.
    pub fn after(last: u32) -> Self {
        Self { last, ..Self::default() }
    }
}

impl Tables {
    /// Applies a change in the order that the datapath does, and checks all that has to hold.
    pub fn apply(&mut self, changes: &Changes, past: &mut Past) {
        for (id, rule) in &changes.rules {
            assert!(id.0 > past.last && !past.rules.contains(id), "{id:?} is used again");
            assert!(self.rules.insert(*id, Arc::clone(rule)).is_none(), "{id:?} is new, but known");
        }
        for (id, list) in &changes.lists {
            assert!(id.0 > past.last && !past.lists.contains(id), "{id:?} is used again");
            assert!(self.lists.insert(*id, Arc::clone(list)).is_none(), "{id:?} is new, but known");
        }
        for Entry { key, list } in &changes.entries {
            assert!(key.set.0 > past.last && !past.entries.contains(key), "{key:?} is used again");
            assert!(self.entries.insert(*key, *list).is_none(), "{key:?} is new, but known");
        }
        // Here the datapath switches.
        change(&mut self.classes, &changes.classes);
        change(&mut self.blocks, &changes.blocks);
        self.pods.extend(changes.pods.iter().copied());
        for key in &changes.removed_entries {
            assert!(self.entries.remove(key).is_some(), "{key:?} is removed, but unknown");
            past.entries.insert(*key);
        }
        for id in &changes.removed_lists {
            assert!(self.lists.remove(id).is_some(), "{id:?} is removed, but unknown");
            past.lists.insert(*id);
        }
        for id in &changes.removed_rules {
            assert!(self.rules.remove(id).is_some(), "{id:?} is removed, but unknown");
            past.rules.insert(*id);
        }
        self.check();
    }

    /// A Pod's port is gone.
    pub fn forget(&mut self, id: LocalId) {
        self.pods.remove(&id);
    }

    fn check(&self) {
        let mut used = BTreeSet::new();
        for (key, list) in &self.entries {
            assert!(self.lists.contains_key(list), "{key:?} has no list");
            used.insert(*list);
            if key.class.is_some() {
                let default = EntryKey { class: None, ..*key };
                assert_ne!(self.entries.get(&default), Some(list), "{key:?} says what the default does");
            }
        }
        assert_eq!(used, self.lists.keys().copied().collect(), "lists that nobody uses");
        for list in self.lists.values() {
            check_list(list);
            for verdict in list.intervals.iter().map(|interval| interval.verdict).chain([list.others]) {
                let named = verdict.rule == RuleId::NONE || self.rules.contains_key(&verdict.rule);
                assert!(named, "{verdict:?} has a rule without a name");
            }
        }
        let sets: BTreeSet<SetId> = self.entries.keys().map(|key| key.set).collect();
        let mut in_use: BTreeSet<SetId> = self.pods.values().copied().collect();
        in_use.retain(|set| *set != SetId::OPEN && *set != SetId::CLOSED);
        assert_eq!(sets, in_use, "sets with entries, and sets of Pods");
        for set in sets {
            for direction in [Direction::Ingress, Direction::Egress] {
                assert!(self.entries.contains_key(&EntryKey { set, direction, class: None }), "{set:?}");
            }
        }
        let classes: BTreeSet<ClassId> = self.entries.keys().filter_map(|key| key.class).collect();
        let shown: BTreeSet<ClassId> = self.classes.values().chain(self.blocks.values()).copied().collect();
        assert!(classes.is_subset(&shown), "classes with entries, but without addresses");
    }

    /// The class of an address.
    pub fn class(&self, address: IpAddr) -> ClassId {
        let longest = || {
            let blocks = self.blocks.iter().filter(|(block, _)| block.contains(&address));
            blocks.max_by_key(|(block, _)| block.prefix_len()).map(|(_, class)| *class)
        };
        self.classes.get(&address).copied().or_else(longest).unwrap_or_default()
    }

    /// What becomes of a first packet. `None`: nothing passes.
    pub fn judge(
        &self,
        local: LocalId,
        direction: Direction,
        address: IpAddr,
        port: Option<(Protocol, u16)>,
    ) -> Option<Outcome> {
        let set = self.pods.get(&local).copied().unwrap_or(SetId::CLOSED);
        let verdict = match set {
            SetId::CLOSED => return None,
            SetId::OPEN => Verdict {
                allow: true,
                audit: false,
                reject: false,
                origin: Origin::Nothing,
                rule: RuleId::NONE,
            },
            set => {
                let key = EntryKey { set, direction, class: Some(self.class(address)) };
                let entry = self.entries.get(&key);
                let entry = entry.or_else(|| self.entries.get(&EntryKey { class: None, ..key }));
                self.lists[entry.unwrap()].verdict(port)
            }
        };
        let Verdict { allow, audit, reject, origin, rule } = verdict;
        let name = self.rules.get(&rule);
        if let Some(name) = name {
            assert_eq!((name.origin, name.direction), (origin, direction), "{name:?}");
        }
        Some(Outcome {
            allow,
            audit,
            reject,
            origin,
            policies: name.map(|name| name.policies.to_vec()).unwrap_or_default(),
            rule: name.and_then(|name| name.rule),
        })
    }
}

fn change<K: Ord + Copy + std::fmt::Debug, V: Copy + PartialEq + std::fmt::Debug>(
    table: &mut BTreeMap<K, V>,
    changes: &[(K, Option<V>)],
) {
    let mut told = BTreeSet::new();
    for (key, value) in changes {
        assert!(told.insert(*key), "{key:?} is told twice");
        assert_ne!(table.get(key), value.as_ref(), "{key:?} is told, but does not change");
        match value {
            Some(value) => drop(table.insert(*key, *value)),
            None => drop(table.remove(key)),
        }
    }
}

fn check_list(list: &List) {
    for interval in &list.intervals {
        assert!(interval.first <= interval.last, "{list:?}");
        assert_ne!(interval.verdict, list.others, "{list:?}");
    }
    for pair in list.intervals.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        assert!((before.protocol, before.last) < (after.protocol, after.first), "{list:?}");
        let touch = before.protocol == after.protocol && before.last + 1 == after.first;
        assert!(!touch || before.verdict != after.verdict, "{list:?}");
    }
    let reject = |verdict: &Verdict| !(verdict.reject && verdict.allow) && (verdict.allow || !verdict.audit);
    assert!(list.intervals.iter().map(|interval| &interval.verdict).chain([&list.others]).all(reject));
}
