//! What has to be written to the maps of Services, and in which order: what is pointed to comes before what points to it.

use std::collections::BTreeSet;
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

/// The entries of `services` that the kernel refused, if any, and why the last of them.
pub(super) type Refused = Option<(BTreeSet<ServiceKey>, Error)>;

/// What has to be written.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) counters: Entries<u32, ServiceCounter>,
    pub(super) backends: Entries<u32, Backend>,
    pub(super) choices: Entries<u32, Choices>,
    pub(super) ranges: Entries<RangeKey, u32>,
    pub(super) served: Entries<u32, u64>,
    pub(super) services: Entries<ServiceKey, Service>,
    pub(super) removed: Vec<ServiceKey>,
    pub(super) removed_ranges: Vec<RangeKey>,
}

impl Writes {
    pub(super) fn append(&mut self, other: Self) {
        self.counters.append(other.counters);
        self.backends.append(other.backends);
        self.choices.append(other.choices);
        self.ranges.append(other.ranges);
        self.served.append(other.served);
        self.services.append(other.services);
        self.removed.extend(other.removed);
        self.removed_ranges.extend(other.removed_ranges);
    }

    /// Writes all of it. What the kernel refuses is left, and so is what points to it. Returns which entries of `services`
    /// it refused, and why; they keep no other from being written.
    pub(super) fn flush(&mut self, maps: &Maps) -> Result<Refused> {
        self.counters.write(&maps.counters, "service_counts")?;
        self.backends.write(&maps.backends, "backends")?;
        self.choices.write(&maps.choices, "choices")?;
        self.ranges.write(&maps.source_ranges, "source_ranges")?;
        self.served.write(&maps.served_ports, "served_ports")?;
        let mut refused = self.services.write(&maps.services, "services");
        remove(&mut self.removed, &maps.services, "services")?;
        if refused.is_err() {
            // A full map may have space now.
            refused = self.services.write(&maps.services, "services");
        }
        remove(&mut self.removed_ranges, &maps.source_ranges, "source_ranges")?;
        Ok(refused.err().map(|error| (self.services.keys.iter().copied().collect(), error)))
    }
}

/// What makes an error of a map out of an I/O error.
pub(super) fn failed(action: &'static str, map: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::map(action, map, &error)
}
