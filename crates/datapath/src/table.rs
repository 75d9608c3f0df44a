//! A map as a table of keys and values in the agent's words.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use aya::maps::MapData;
use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::maps::MapSpec;
use crate::migration::is_full;
use crate::sys::RawMap;

/// What a table's entries are found by.
pub(crate) trait Key: Ord + Clone {
    /// Its bytes in the map.
    type Raw: Pod;

    fn to_raw(&self) -> Self::Raw;

    /// What bytes say, or what is wrong with them.
    fn from_raw(raw: Self::Raw) -> Result<Self, String>;

    /// What an entry with this key is to people.
    fn describe(&self) -> String;
}

/// What a table has at a key.
pub(crate) trait Value<K>: PartialEq {
    /// Its bytes in the map.
    type Raw: Pod;

    /// # Errors
    ///
    /// If that cannot be right.
    fn to_raw(&self, key: &K) -> Result<Self::Raw>;

    /// What bytes say, or what is wrong with them.
    fn from_raw(raw: Self::Raw) -> Result<Self, String>
    where
        Self: Sized;
}

/// One map. Each entry is written by itself: one that cannot be right, or does not fit in, costs no other its place.
pub(crate) struct Table<K, V> {
    map: RawMap,
    name: &'static str,
    setting: Option<&'static str>,
    entries: PhantomData<fn(K) -> V>,
}

impl<K: Key, V: Value<K>> Table<K, V> {
    /// The table in a map of that shape.
    pub(crate) fn open(map: MapData, spec: &MapSpec) -> Result<Self> {
        let failed = |reason: &dyn std::error::Error| Error::map("open", spec.name, reason);
        let map = RawMap::new(map).map_err(|error| failed(&error))?;
        if map.sizes() != (size_of::<K::Raw>(), size_of::<V::Raw>()) {
            return Err(failed(&std::io::Error::from(std::io::ErrorKind::InvalidData)));
        }
        Ok(Self { map, name: spec.name, setting: spec.setting, entries: PhantomData })
    }

    /// What is at a key. In a map of prefixes that is what a packet into it meets: its own entry, or that of a wider one.
    pub(crate) fn get(&self, key: &K) -> Result<Option<V>> {
        let value =
            self.map.get(bytemuck::bytes_of(&key.to_raw())).map_err(|error| self.failed("read", &error))?;
        value.map(|value| self.value(&value)).transpose()
    }

    /// Whether that is at a key.
    pub(crate) fn has(&self, key: &K, value: &V) -> Result<bool> {
        Ok(self.get(key)?.as_ref() == Some(value))
    }

    /// Every entry.
    pub(crate) fn all(&self) -> Result<BTreeMap<K, V>> {
        let entries = self.map.entries().map_err(|error| self.failed("read", &error))?;
        entries.iter().map(|(key, value)| Ok((self.key(key)?, self.value(value)?))).collect()
    }

    /// Adds or replaces an entry.
    pub(crate) fn set(&mut self, key: &K, value: &V) -> Result<()> {
        let (raw, value) = (key.to_raw(), value.to_raw(key)?);
        let written = self.map.set(bytemuck::bytes_of(&raw), bytemuck::bytes_of(&value));
        written.map_err(|error| match self.setting.filter(|_| is_full(&error)) {
            Some(setting) => Error::Full { what: key.describe(), limit: self.map.max_entries(), setting },
            None => self.failed("write", &error),
        })
    }

    /// Removes an entry, if there is one.
    pub(crate) fn remove(&mut self, key: &K) -> Result<()> {
        self.map.remove(bytemuck::bytes_of(&key.to_raw())).map_err(|error| self.failed("write", &error))
    }

    fn key(&self, bytes: &[u8]) -> Result<K> {
        let raw = bytemuck::try_pod_read_unaligned(bytes).map_err(|error| error.to_string());
        raw.and_then(K::from_raw).map_err(|value| Error::Foreign { map: self.name, value })
    }

    fn value(&self, bytes: &[u8]) -> Result<V> {
        let raw = bytemuck::try_pod_read_unaligned(bytes).map_err(|error| error.to_string());
        raw.and_then(V::from_raw).map_err(|value| Error::Foreign { map: self.name, value })
    }

    fn failed(&self, action: &'static str, error: &std::io::Error) -> Error {
        Error::map(action, self.name, error)
    }
}

/// By the index of an interface; in an array, by the index in it.
impl Key for u32 {
    type Raw = Self;

    fn to_raw(&self) -> Self {
        *self
    }

    fn from_raw(raw: Self) -> Result<Self, String> {
        Ok(raw)
    }

    fn describe(&self) -> String {
        format!("interface {self}")
    }
}

/// Values that are in the map as they are.
macro_rules! plain {
    ($($value:ty),+) => {
        $(
            impl<K> Value<K> for $value {
                type Raw = Self;

                fn to_raw(&self, _: &K) -> Result<Self> {
                    Ok(*self)
                }

                fn from_raw(raw: Self) -> Result<Self, String> {
                    Ok(raw)
                }
            }
        )+
    };
}
plain!(crate::layout::Config, crate::layout::Endpoint, crate::layout::Port, crate::layout::Limit);
