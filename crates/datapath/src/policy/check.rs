//! Comparing the tables with the kernel's, and writing them again.

use std::collections::HashMap;
use std::hash::Hash;

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::layout::policy::{Class, PortsKey, SetEntry, SetKey, Verdict};
use crate::sys::RawMap;

use super::columns::Columns;
use super::found::{counters, read};
use super::raw;
use super::tables::{Known, Policies};

impl Policies {
    /// Whether some entries are as they were written: others each time.
    pub(super) fn is_whole(&mut self, entries: usize) -> Result<bool> {
        let from = self.checked;
        self.checked = from.wrapping_add(entries);
        let own = self.own_prefixes(from, entries);
        Ok(self.classes.has_some(from, entries)?
            && self.blocks.has_some(from, entries)?
            && has(&self.sets, "policy_sets", some(&self.entries, from, entries).map(|(k, v)| (*k, *v)))?
            && has(&self.ports, "policy_ports", own.into_iter())?)
    }

    /// The prefixes of some of the own lists.
    fn own_prefixes(&self, from: usize, count: usize) -> Vec<(PortsKey, Verdict)> {
        let of_list = |(number, known): (&u32, &Known)| match known {
            Known::Own(list) => raw::prefixes(*number, list).take(count).collect(),
            Known::Found(_) => Vec::new(),
        };
        some(&self.lists, from, count).flat_map(of_list).take(count).collect()
    }

    /// Writes everything again, and removes what is not known.
    pub(super) fn restore(&self) -> Result<()> {
        self.classes.restore()?;
        self.blocks.restore()?;
        let entries: HashMap<SetKey, SetEntry> = self.entries.clone();
        restore(&self.sets, "policy_sets", &entries)?;
        let own = self.lists.iter().filter_map(|(number, known)| match known {
            Known::Own(list) => Some(raw::prefixes(*number, list)),
            Known::Found(_) => None,
        });
        // What was found of lists before this agent's is known by its keys alone.
        if self.lists.values().all(|known| matches!(known, Known::Own(_))) {
            restore(&self.ports, "policy_ports", &own.flatten().collect())?;
        }
        let counted = counters(&self.counts, "policy_counts")?;
        let lost: Vec<u32> = self.rules.iter().filter(|rule| !counted.contains_key(rule)).copied().collect();
        let zeros = vec![0; self.counts.sizes().1 * lost.len()];
        let written = self.counts.set_all(bytemuck::cast_slice(&lost), &zeros);
        written.map_err(|error| Error::map("write", "policy_counts", &error))
    }
}

impl<K: Pod + Eq + Hash> Columns<K> {
    fn has_some(&self, from: usize, count: usize) -> Result<bool> {
        let settled = some(&self.in_force, from, count).filter(|(key, _)| !self.unsettled.contains(key));
        has(&self.map, self.name, settled.map(|(key, class)| (*key, Class { column: [*class; 2] })))
    }

    fn restore(&self) -> Result<()> {
        let wanted = self.in_force.iter().map(|(key, class)| (*key, Class { column: [*class; 2] }));
        restore(&self.map, self.name, &wanted.collect())
    }
}

/// Some entries of a table, beginning somewhere; all of them if there are no more.
fn some<K, V>(table: &HashMap<K, V>, from: usize, count: usize) -> impl Iterator<Item = (&K, &V)> {
    let from = from.checked_rem(table.len()).unwrap_or(0);
    table.iter().cycle().skip(from).take(count.min(table.len()))
}

/// Whether a map has all of these entries.
fn has<K: Pod, V: Pod>(
    map: &RawMap,
    name: &'static str,
    mut entries: impl Iterator<Item = (K, V)>,
) -> Result<bool> {
    entries.try_fold(true, |all, (key, value)| {
        let found = map.get(bytemuck::bytes_of(&key)).map_err(|error| Error::map("read", name, &error))?;
        Ok(all && found.as_deref() == Some(bytemuck::bytes_of(&value)))
    })
}

/// Makes a map have these entries and no others.
fn restore<K: Pod + Eq + Hash, V: Pod>(
    map: &RawMap,
    name: &'static str,
    wanted: &HashMap<K, V>,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::map("write", name, &error);
    let found = read::<K, V>(map, name)?;
    let unknown = found.iter().map(|(key, _)| *key).filter(|key| !wanted.contains_key(key));
    map.remove_all(bytemuck::cast_slice(&unknown.collect::<Vec<_>>())).map_err(failed)?;
    let (keys, values): (Vec<K>, Vec<V>) = wanted.iter().map(|(key, value)| (*key, *value)).unzip();
    map.set_all(bytemuck::cast_slice(&keys), bytemuck::cast_slice(&values)).map_err(failed)
}
