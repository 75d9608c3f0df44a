//! What an agent before this one left in the kernel.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::layout::Config;
use crate::layout::policy::{
    CLASS_NONE, CLASS_OTHER, Class, PortsKey, RuleCounter, SET_CLOSED, SetEntry, SetKey, Verdict,
};
use crate::ports::Ports;
use crate::sys::{Cursor, RawMap};

use super::columns::Columns;
use super::tables::{Known, Left, Maps, Policies};
use super::types::{Sizes, State};

impl Policies {
    /// Goes on with what is in the maps, which stays in force until it is replaced.
    pub(crate) fn open(maps: Maps, sizes: Sizes, ports: &Ports, config: &Config) -> Result<Self> {
        let generation = config.policy_generation;
        let mut highest = State { generation, ..State::default() };
        let column = usize::from(generation % 2 == 1);
        let classes = columns(maps.classes, "classes", column, &mut highest)?;
        let blocks = columns(maps.blocks, "block_classes", column, &mut highest)?;
        let mut found = Found::read(&maps.sets, &maps.ports, &maps.counts)?;
        found.note(&mut highest);
        let (mut unsettled, mut sets) = (BTreeSet::new(), HashSet::new());
        for (_, endpoint) in ports.endpoints.all()? {
            let [first, second] = endpoint.sets;
            if first != second {
                unsettled.insert(endpoint.ifindex);
            }
            let numbers = endpoint.sets.into_iter().filter(|set| *set != SET_CLOSED);
            highest.set = numbers.fold(highest.set, u32::max);
            sets.insert(endpoint.set(column));
        }
        let known = classes.in_force.values().chain(blocks.in_force.values());
        let known: HashSet<u32> = known.copied().chain([CLASS_OTHER, CLASS_NONE]).collect();
        let left =
            found.retain(|key| generation > 0 && sets.contains(&key.set) && known.contains(&key.class));
        let prefixes = found.lists.values().map(Vec::len).sum::<usize>() as u64;
        let lists = found
            .lists
            .into_iter()
            .map(|(number, ports)| (number, Known::Found(ports.into_iter().map(|(key, _)| key).collect())));
        Ok(Self {
            sizes,
            classes,
            blocks,
            sets: maps.sets,
            ports: maps.ports,
            counts: maps.counts,
            entries: found.entries,
            lists: lists.collect(),
            prefixes,
            rules: found.rules,
            unsettled,
            left,
            generation,
            last: config.policy_last.max(generation),
            pending: None,
            highest,
            checked: 0,
        })
    }
}

/// Sets, lists and rules.
struct Found {
    entries: HashMap<SetKey, SetEntry>,
    lists: HashMap<u32, Vec<(PortsKey, Verdict)>>,
    rules: BTreeSet<u32>,
}

impl Found {
    fn read(sets: &RawMap, ports: &RawMap, counts: &RawMap) -> Result<Self> {
        let mut lists = HashMap::<u32, Vec<_>>::new();
        for (key, verdict) in read::<PortsKey, Verdict>(ports, "policy_ports")? {
            lists.entry(key.list).or_default().push((key, verdict));
        }
        let entries = read(sets, "policy_sets")?.into_iter().collect();
        Ok(Self { entries, lists, rules: keys(counts, "policy_counts")? })
    }

    /// Notes the highest numbers, whether they are in use or not.
    fn note(&self, highest: &mut State) {
        for (key, entry) in &self.entries {
            highest.set = highest.set.max(key.set);
            note_class(highest, key.class);
            highest.list = highest.list.max(entry.list);
            highest.rule = highest.rule.max(entry.others.rule);
        }
        highest.list = self.lists.keys().copied().fold(highest.list, u32::max);
        highest.rule = self.verdicts().map(|verdict| verdict.rule).fold(highest.rule, u32::max);
        highest.rule = self.rules.iter().copied().fold(highest.rule, u32::max);
    }

    fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.lists.values().flatten().map(|(_, verdict)| *verdict)
    }

    /// Keeps the entries that programs find, and what these need. Returns the rest: an agent that died in the middle of a
    /// change leaves there what was to come, or what was before, and there must be space for the next change.
    fn retain(&mut self, is_found: impl Fn(&SetKey) -> bool) -> Left {
        let mut left = Left::default();
        left.entries.extend(self.entries.keys().filter(|key| !is_found(key)));
        self.entries.retain(|key, _| is_found(key));
        let used: HashSet<u32> = self.entries.values().map(|entry| entry.list).collect();
        let unused = self.lists.iter().filter(|(number, _)| !used.contains(number));
        left.ports.extend(unused.flat_map(|(_, ports)| ports.iter().map(|(key, _)| *key)));
        self.lists.retain(|number, _| used.contains(number));
        let others = self.entries.values().map(|entry| entry.others);
        let used: HashSet<u32> = others.chain(self.verdicts()).map(|verdict| verdict.rule).collect();
        left.rules.extend(self.rules.iter().filter(|rule| !used.contains(rule)));
        self.rules.retain(|rule| used.contains(rule));
        left
    }
}

/// The columns of a map. Where they differ, a change was cut short.
fn columns<K: Pod + Eq + Hash>(
    map: RawMap,
    name: &'static str,
    column: usize,
    highest: &mut State,
) -> Result<Columns<K>> {
    let (mut in_force, mut unsettled) = (HashMap::new(), HashSet::new());
    for (key, class) in read::<K, Class>(&map, name)? {
        let [first, second] = class.column;
        note_class(highest, first);
        note_class(highest, second);
        if first != second {
            unsettled.insert(key);
        }
        let class = if column == 0 { first } else { second };
        if class != CLASS_NONE {
            in_force.insert(key, class);
        }
    }
    Ok(Columns { map, name, in_force, unsettled })
}

fn note_class(highest: &mut State, class: u32) {
    if class != CLASS_NONE {
        highest.class = highest.class.max(class);
    }
}

/// Every entry of a map.
pub(super) fn read<K: Pod, V: Pod>(map: &RawMap, name: &'static str) -> Result<Vec<(K, V)>> {
    let foreign = || Error::Foreign { map: name, value: "an entry of another size".to_owned() };
    let (mut found, mut cursor) = (Vec::new(), Cursor::default());
    while let Some(batch) = map.batch(&mut cursor).map_err(|error| Error::map("read", name, &error))? {
        for (key, value) in batch.iter() {
            let key = bytemuck::try_pod_read_unaligned(key).map_err(|_| foreign())?;
            found.push((key, bytemuck::try_pod_read_unaligned(value).map_err(|_| foreign())?));
        }
    }
    Ok(found)
}

/// The keys of a map with a value for each CPU.
fn keys(map: &RawMap, name: &'static str) -> Result<BTreeSet<u32>> {
    counters(map, name).map(|all| all.into_keys().collect())
}

/// The counters of all rules, of all CPUs together.
pub(super) fn counters(map: &RawMap, name: &'static str) -> Result<HashMap<u32, RuleCounter>> {
    let (mut found, mut cursor) = (HashMap::new(), Cursor::default());
    while let Some(batch) = map.batch(&mut cursor).map_err(|error| Error::map("read", name, &error))? {
        for (key, value) in batch.iter() {
            let values = value.chunks_exact(size_of::<RuleCounter>());
            let values = values.map(bytemuck::pod_read_unaligned::<RuleCounter>);
            let sum = values.fold(RuleCounter::default(), |sum, cpu| RuleCounter {
                allowed: sum.allowed.wrapping_add(cpu.allowed),
                denied: sum.denied.wrapping_add(cpu.denied),
                audited: sum.audited.wrapping_add(cpu.audited),
            });
            let key = bytemuck::try_pod_read_unaligned(key)
                .map_err(|error| Error::Foreign { map: name, value: error.to_string() })?;
            found.insert(key, sum);
        }
    }
    Ok(found)
}
