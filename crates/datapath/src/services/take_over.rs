//! What an agent before this one left in the maps of Services.

use std::collections::{BTreeMap, HashMap};

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::layout::services::{Backend, Choices, List, RangeKey, Service, ServiceKey};
use crate::sys::{Cursor, RawMap};

use super::lists::Lists;
use super::maglev::blocks;
use super::writes::{Maps, Writes, failed};

/// What is in the maps.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) services: Vec<(ServiceKey, Service)>,
    /// The slots that are not zero.
    backends: BTreeMap<u32, Backend>,
    /// The blocks that are not zero.
    choices: BTreeMap<u32, Choices>,
    pub(super) ranges: Vec<RangeKey>,
    pub(super) served: Vec<u64>,
    /// The lists that entries name.
    lists: HashMap<List, Vec<Backend>>,
}

impl Found {
    pub(super) fn read(maps: &Maps) -> Result<Self> {
        let is_used = |backend: &Backend| *backend != Backend::default();
        let has_entries = |choices: &Choices| *choices != Choices::default();
        let served: BTreeMap<u32, u64> = read(&maps.served_ports, "served_ports", |_| true)?.collect();
        Ok(Self {
            services: read(&maps.services, "services", |_| true)?.collect(),
            backends: read(&maps.backends, "backends", is_used)?.collect(),
            choices: read(&maps.choices, "choices", has_entries)?.collect(),
            ranges: read::<RangeKey, u32>(&maps.source_ranges, "source_ranges", |_| true)?
                .map(|(key, _)| key)
                .collect(),
            served: served.into_values().collect(),
            lists: HashMap::new(),
        })
    }

    /// Notes that an entry names a list.
    pub(super) fn note(&mut self, list: List) {
        let slots = list.first..list.first.saturating_add(list.count);
        let backends = &self.backends;
        let contents = || slots.map(|slot| backends.get(&slot).copied().unwrap_or_default()).collect();
        self.lists.entry(list).or_insert_with(contents);
    }

    /// The backends of a list that an entry names.
    pub(super) fn list(&self, list: &List) -> Option<&[Backend]> {
        self.lists.get(list).map(Vec::as_slice)
    }

    /// The entries of a list's table.
    pub(super) fn table(&self, list: &List) -> Vec<u16> {
        let last = list.table.saturating_add(blocks(list.size));
        let blocks = (list.table..last).map(|block| self.choices.get(&block).copied().unwrap_or_default());
        let mut entries: Vec<u16> = blocks.flat_map(|block| block.slots).collect();
        entries.truncate(list.size as usize);
        entries
    }

    /// What is left in free slots and blocks by an agent that died is removed: what is free is zero.
    pub(super) fn clean(&self, lists: &Lists, writes: &mut Writes) {
        let [slots, blocks] = lists.free_ranges();
        for (start, length) in slots {
            for (slot, _) in self.backends.range(start..start + length) {
                writes.backends.push(*slot, Backend::default());
            }
        }
        for (start, length) in blocks {
            for (block, _) in self.choices.range(start..start + length) {
                writes.choices.push(*block, Choices::default());
            }
        }
    }
}

/// The entries of a map that are wanted.
pub(super) fn read<K: Pod, V: Pod>(
    map: &RawMap,
    name: &'static str,
    wanted: impl Fn(&V) -> bool,
) -> Result<impl Iterator<Item = (K, V)>> {
    let foreign = || Error::Foreign { map: name, value: "an entry of another size".to_owned() };
    let (mut found, mut cursor) = (Vec::new(), Cursor::default());
    while let Some(batch) = map.batch(&mut cursor).map_err(failed("read", name))? {
        for (key, value) in batch.iter() {
            let value: V = bytemuck::try_pod_read_unaligned(value).map_err(|_| foreign())?;
            if wanted(&value) {
                found.push((bytemuck::try_pod_read_unaligned(key).map_err(|_| foreign())?, value));
            }
        }
    }
    Ok(found.into_iter())
}
