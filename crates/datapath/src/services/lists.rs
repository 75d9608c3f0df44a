//! Where lists of backends are in the arrays `backends` and `choices`, and who uses them. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::layout::Address;
use crate::layout::services::{Backend, CHOICES_BLOCK, Choices, List};

use super::maglev;
use super::space::Space;
use super::writes::{Entries, Writes};

/// The map in which there is no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) &'static str, pub(super) u32);

/// A Maglev table.
#[derive(Debug)]
struct Table {
    size: u32,
    /// How many lists use it.
    users: u32,
    /// Whose table it is; `None` for one that was found and not compared.
    addresses: Option<Arc<[Address]>>,
    /// Of its entries.
    checksum: u64,
}

/// The lists in use. A list is not changed while it is in use; nor is it used by anybody again after its last user has
/// released it.
#[derive(Debug)]
pub(super) struct Lists {
    slots: Space,
    blocks: Space,
    /// How often each list is in use.
    users: HashMap<List, u32>,
    /// By their first block.
    tables: BTreeMap<u32, Table>,
    by_addresses: HashMap<Arc<[Address]>, u32>,
}

impl Lists {
    /// No lists, in arrays of these sizes.
    pub(super) fn new(slots: u32, blocks: u32) -> Self {
        Self {
            slots: Space::new(slots),
            blocks: Space::new(blocks),
            users: HashMap::new(),
            tables: BTreeMap::new(),
            by_addresses: HashMap::new(),
        }
    }

    /// Makes a list and uses it. One without backends takes no space. A table that has no space can be `shorter`.
    pub(super) fn add(
        &mut self,
        backends: &[Backend],
        shorter: bool,
        writes: &mut Writes,
    ) -> Result<List, Full> {
        let full = |space: &Space, map| Full(map, space.size());
        let count = u32::try_from(backends.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(List::default());
        }
        let first = self.slots.take(count).ok_or_else(|| full(&self.slots, "backends"))?;
        let sizes: Vec<u32> = maglev::sizes(count).take(if shorter { usize::MAX } else { 1 }).collect();
        let made = sizes.iter().find_map(|size| Some((self.add_table(backends, *size, writes)?, *size)));
        if made.is_none() && !sizes.is_empty() {
            self.slots.free(first, count);
            return Err(full(&self.blocks, "choices"));
        }
        let (table, size) = made.unwrap_or_default();
        write_slots(first, backends, &mut writes.backends);
        let list = List { first, count, table, size };
        self.users.insert(list, 1);
        Ok(list)
    }

    /// Uses a list once more.
    pub(super) fn hold(&mut self, list: List) {
        if let Some(users) = self.users.get_mut(&list) {
            *users += 1;
        }
    }

    /// Ends a use of a list. Whether nobody uses it any more: then it is to be [freed](Self::free) when no program can
    /// have read of it before.
    pub(super) fn release(&mut self, list: List) -> bool {
        let Some(users) = self.users.get_mut(&list) else { return false };
        *users -= 1;
        if *users == 0 {
            self.users.remove(&list);
        }
        !self.users.contains_key(&list)
    }

    /// Lets others have the space of a list. What is free is zero.
    pub(super) fn free(&mut self, list: List, writes: &mut Writes) {
        self.slots.free(list.first, list.count);
        (list.first..list.first + list.count).for_each(|slot| writes.backends.push(slot, Backend::default()));
        if list.size == 0 {
            return;
        }
        let Some(table) = self.tables.get_mut(&list.table) else { return };
        table.users -= 1;
        if table.users > 0 {
            return;
        }
        if let Some(addresses) = table.addresses.take()
            && self.by_addresses.get(&addresses) == Some(&list.table)
        {
            self.by_addresses.remove(&addresses);
        }
        self.tables.remove(&list.table);
        let blocks = maglev::blocks(list.size);
        self.blocks.free(list.table, blocks);
        (list.table..list.table + blocks).for_each(|block| writes.choices.push(block, Choices::default()));
    }

    /// Uses a list that was found in the maps; whether it can be one.
    pub(super) fn take_over(&mut self, list: List) -> bool {
        if list.count == 0 {
            return true;
        }
        if self.users.contains_key(&list) {
            self.hold(list);
            return true;
        }
        let can_be = list.size == 0 && maglev::size(list.count) == 0
            || maglev::sizes(list.count).any(|size| size == list.size);
        if !can_be || !self.slots.take_at(list.first, list.count) {
            return false;
        }
        if list.size > 0 {
            let known = self.tables.get_mut(&list.table);
            match known {
                Some(table) if table.size == list.size => table.users += 1,
                None if self.blocks.take_at(list.table, maglev::blocks(list.size)) => {
                    let table = Table { size: list.size, users: 1, addresses: None, checksum: 0 };
                    self.tables.insert(list.table, table);
                }
                _ => {
                    self.slots.free(list.first, list.count);
                    return false;
                }
            }
        }
        self.users.insert(list, 1);
        true
    }

    /// Whether the table of a list that was found is the one of these backends; `contents` gives its entries.
    pub(super) fn has_table(
        &mut self,
        list: List,
        backends: &[Backend],
        contents: impl FnOnce() -> Vec<u16>,
    ) -> bool {
        if list.size == 0 {
            return true;
        }
        let addresses = addresses(backends);
        let Some(table) = self.tables.get_mut(&list.table) else { return false };
        if let Some(known) = &table.addresses {
            return table.size == list.size && *known == addresses;
        }
        let contents = contents();
        if contents != maglev::table(&addresses, list.size) {
            return false;
        }
        table.checksum = checksum(&contents);
        table.addresses = Some(Arc::clone(&addresses));
        self.by_addresses.entry(addresses).or_insert(list.table);
        true
    }

    /// Whether these are the entries of the list's table.
    pub(super) fn has_checksum(&self, list: List, table: &[u16]) -> bool {
        list.size == 0 || self.tables.get(&list.table).is_some_and(|known| known.checksum == checksum(table))
    }

    /// What is free: ranges of slots, and ranges of blocks, as (start, length).
    pub(super) fn free_ranges(&self) -> [Vec<(u32, u32)>; 2] {
        [self.slots.free_ranges().collect(), self.blocks.free_ranges().collect()]
    }

    /// How many slots, and how many blocks, are in use.
    pub(super) fn used(&self) -> [u32; 2] {
        [&self.slots, &self.blocks].map(Space::used)
    }

    /// The first block of the table of these backends, which has one more user now; `None`: there is no space.
    fn add_table(&mut self, backends: &[Backend], size: u32, writes: &mut Writes) -> Option<u32> {
        let addresses = addresses(backends);
        if let Some(first) = self.by_addresses.get(&addresses)
            && let Some(table) = self.tables.get_mut(first).filter(|table| table.size == size)
        {
            table.users += 1;
            return Some(*first);
        }
        let first = self.blocks.take(maglev::blocks(size))?;
        let table = maglev::table(&addresses, size);
        write_table(first, &table, &mut writes.choices);
        let (key, addresses, checksum) = (Arc::clone(&addresses), Some(addresses), checksum(&table));
        self.tables.insert(first, Table { size, users: 1, addresses, checksum });
        self.by_addresses.insert(key, first);
        Some(first)
    }
}

/// The backends of a list in its slots.
pub(super) fn write_slots(first: u32, backends: &[Backend], writes: &mut Entries<u32, Backend>) {
    (first..).zip(backends).for_each(|(slot, backend)| writes.push(slot, *backend));
}

/// A table in its blocks.
pub(super) fn write_table(first: u32, table: &[u16], writes: &mut Entries<u32, Choices>) {
    for (block, entries) in (first..).zip(table.chunks(CHOICES_BLOCK)) {
        let mut choices = Choices::default();
        choices.slots.iter_mut().zip(entries).for_each(|(slot, entry)| *slot = *entry);
        writes.push(block, choices);
    }
}

/// What decides how a table is.
pub(super) fn addresses(backends: &[Backend]) -> Arc<[Address]> {
    backends.iter().map(|backend| backend.address).collect()
}

/// In memory only: another build may compute another one.
fn checksum(table: &[u16]) -> u64 {
    let mut hasher = DefaultHasher::new();
    table.hash(&mut hasher);
    hasher.finish()
}
