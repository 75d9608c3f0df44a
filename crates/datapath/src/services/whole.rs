//! Whether the maps have a row as it was written, and writing it again.

use bytemuck::Pod;

use crate::error::Result;
use crate::layout::services::{Backend as RawBackend, Choices, List};
use crate::sys::RawMap;

use super::entries;
use super::lists::{addresses, write_slots, write_table};
use super::maglev;
use super::parts::to_raw;
use super::types::{Backend, ServicePortKey};
use super::writer::Services;
use super::writes::{Writes, failed};

impl Services {
    /// Whether the maps have a row as it was written.
    ///
    /// # Errors
    ///
    /// A map cannot be read.
    pub fn is_whole(&self, key: &ServicePortKey) -> Result<bool> {
        let Some(row) = self.rows.get(key) else { return Ok(true) };
        let entries = entries::entries(key, &row.port, &row.parts).into_iter();
        let own = entries.filter(|(one, _)| self.has(one, row.parts.number));
        let ranges = self.ranges.keys(row.parts.ranges).map(|range| (*range, 1u32));
        let words = entries::bits(key, &row.port).into_iter().map(|bit| bit.word());
        let words = words.map(|word| (word, self.served.word(word)));
        Ok(has_all(&self.maps.services, "services", own)?
            && self.has_list(row.parts.cluster, &row.port.cluster)?
            && self.has_list(row.parts.local, &row.port.local)?
            && has_all(&self.maps.source_ranges, "source_ranges", ranges)?
            && has_all(&self.maps.served_ports, "served_ports", words)?)
    }

    /// Writes a row again, all of it, where it is.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub fn restore(&mut self, key: &ServicePortKey) -> Result<()> {
        let Some(row) = self.rows.get(key) else { return Ok(()) };
        let mut writes = Writes::default();
        for (list, backends) in [(row.parts.cluster, &row.port.cluster), (row.parts.local, &row.port.local)] {
            if list.count == 0 {
                continue;
            }
            let backends: Vec<RawBackend> = to_raw(backends).collect();
            write_slots(list.first, &backends, &mut writes.backends);
            if list.size > 0 {
                let table = maglev::table(&addresses(&backends), list.size);
                write_table(list.table, &table, &mut writes.choices);
            }
        }
        self.ranges.keys(row.parts.ranges).for_each(|range| writes.ranges.push(*range, 1));
        for word in entries::bits(key, &row.port).iter().map(|bit| bit.word()) {
            writes.served.push(word, self.served.word(word));
        }
        let (number, all) = (row.parts.number, entries::entries(key, &row.port, &row.parts));
        for (one, value) in all.into_iter().filter(|(one, _)| self.has(one, number)) {
            writes.services.push(one, value);
        }
        self.writes.append(writes);
        self.flush_all()
    }

    /// Whether the maps have a list of these backends, and its table.
    fn has_list(&self, list: List, backends: &[Backend]) -> Result<bool> {
        let slots = (list.first..list.first + list.count).zip(to_raw(backends));
        if !has_all(&self.maps.backends, "backends", slots)? {
            return Ok(false);
        }
        let mut table = Vec::new();
        for block in list.table..list.table + maglev::blocks(list.size) {
            let choices =
                self.maps.choices.get(bytemuck::bytes_of(&block)).map_err(failed("read", "choices"))?;
            let choices: Choices =
                bytemuck::try_pod_read_unaligned(&choices.unwrap_or_default()).unwrap_or_default();
            table.extend(choices.slots);
        }
        table.truncate(list.size as usize);
        Ok(self.lists.has_checksum(list, &table))
    }
}

/// Whether a map has all of these entries.
fn has_all<K: Pod, V: Pod>(
    map: &RawMap,
    name: &'static str,
    entries: impl Iterator<Item = (K, V)>,
) -> Result<bool> {
    for (key, value) in entries {
        let found = map.get(bytemuck::bytes_of(&key)).map_err(failed("read", name))?;
        if found.as_deref() != Some(bytemuck::bytes_of(&value)) {
            return Ok(false);
        }
    }
    Ok(true)
}
