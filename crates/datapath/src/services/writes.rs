//! What has to be written to the maps of Services, and in which order: what is pointed to comes before what points to it.

use std::io;

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::layout::services::{Backend, Choices, RangeKey, Service, ServiceCounter, ServiceKey};
use crate::sys::RawMap;

/// The maps.
pub(crate) struct Maps {
    pub(crate) services: RawMap,
    pub(crate) backends: RawMap,
    pub(crate) choices: RawMap,
    pub(crate) source_ranges: RawMap,
    pub(crate) served_ports: RawMap,
    pub(crate) counters: RawMap,
}

/// Entries of one map, to be written by as few calls as can be.
#[derive(Debug)]
pub(super) struct Entries<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<K: Pod, V: Pod> Entries<K, V> {
    pub(super) fn push(&mut self, key: K, value: V) {
        self.keys.push(key);
        self.values.push(value);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.keys.append(&mut other.keys);
        self.values.append(&mut other.values);
    }

    /// Writes them, all at once or, if the kernel refuses one, one by one: those that it refuses are left.
    fn write(&mut self, map: &RawMap, name: &'static str) -> Result<()> {
        let (keys, values) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.values));
        let is_one = keys.len() == 1;
        if keys.is_empty()
            || !is_one && map.set_all(bytemuck::cast_slice(&keys), bytemuck::cast_slice(&values)).is_ok()
        {
            return Ok(());
        }
        let mut result = Ok(());
        for (key, value) in keys.into_iter().zip(values) {
            if let Err(error) = map.set(bytemuck::bytes_of(&key), bytemuck::bytes_of(&value)) {
                self.push(key, value);
                result = Err(failed("write", name)(error));
            }
        }
        result
    }
}

/// Removes entries; those that the kernel does not remove are left.
fn remove<K: Pod>(keys: &mut Vec<K>, map: &RawMap, name: &'static str) -> Result<()> {
    let mut result = Ok(());
    keys.retain(|key| match map.remove(bytemuck::bytes_of(key)) {
        Ok(()) => false,
        Err(error) => {
            result = Err(failed("write", name)(error));
            true
        }
    });
    result
}

/// What has to be written.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) counters: Entries<u32, ServiceCounter>,
    pub(super) backends: Entries<u32, Backend>,
    pub(super) choices: Entries<u32, Choices>,
    pub(super) ranges: Entries<RangeKey, u32>,
    /// Words of served ports with all bits that are and will be set.
    pub(super) served_before: Entries<u32, u64>,
    pub(super) services: Entries<ServiceKey, Service>,
    pub(super) removed: Vec<ServiceKey>,
    /// Words of served ports without those that are not any more.
    pub(super) served_after: Entries<u32, u64>,
    pub(super) removed_ranges: Vec<RangeKey>,
}

impl Writes {
    pub(super) fn append(&mut self, other: Self) {
        self.counters.append(other.counters);
        self.backends.append(other.backends);
        self.choices.append(other.choices);
        self.ranges.append(other.ranges);
        self.served_before.append(other.served_before);
        self.services.append(other.services);
        self.removed.extend(other.removed);
        self.served_after.append(other.served_after);
        self.removed_ranges.extend(other.removed_ranges);
    }

    /// Writes all of it. What the kernel refuses is left, and so is what points to it.
    pub(super) fn flush(&mut self, maps: &Maps) -> Result<()> {
        self.counters.write(&maps.counters, "service_counts")?;
        self.backends.write(&maps.backends, "backends")?;
        self.choices.write(&maps.choices, "choices")?;
        self.ranges.write(&maps.source_ranges, "source_ranges")?;
        self.served_before.write(&maps.served_ports, "served_ports")?;
        let set = self.services.write(&maps.services, "services");
        set.and(remove(&mut self.removed, &maps.services, "services"))?;
        self.served_after.write(&maps.served_ports, "served_ports")?;
        remove(&mut self.removed_ranges, &maps.source_ranges, "source_ranges")
    }
}

/// What makes an error of a map out of an I/O error.
pub(super) fn failed(action: &'static str, map: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::map(action, map, &error)
}
