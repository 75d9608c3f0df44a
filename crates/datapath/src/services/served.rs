//! Of which ports packets from outside may be for a Service or for a connection that it had. Pure.

use std::collections::BTreeSet;

use crate::layout::services::SERVED_PORTS_WORDS;

use super::types::Protocol;
use super::writes::Writes;

/// A port of a protocol, as the index of its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bit(u32);

impl Bit {
    pub(super) fn new(protocol: Protocol, port: u16) -> Self {
        let index = match protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => 1,
            Protocol::Sctp => 2,
        };
        Self(index * 65_536 + u32::from(port))
    }

    pub(super) fn word(self) -> u32 {
        self.0 / 64
    }

    pub(super) fn mask(self) -> u64 {
        1 << (self.0 % 64)
    }
}

/// The bits. One that is set stays: connections outlive their Service, and their packets from outside are looked up only
/// where a bit is set.
#[derive(Debug)]
pub(super) struct ServedPorts {
    words: Vec<u64>,
    changed: BTreeSet<u32>,
}

impl ServedPorts {
    /// Those that are in the map.
    pub(super) fn new(found: Vec<u64>) -> Self {
        let mut words = found;
        words.resize(SERVED_PORTS_WORDS as usize, 0);
        Self { words, changed: BTreeSet::new() }
    }

    pub(super) fn set(&mut self, bit: Bit) {
        if let Some(word) = self.words.get_mut(bit.word() as usize).filter(|word| **word & bit.mask() == 0) {
            *word |= bit.mask();
            self.changed.insert(bit.word());
        }
    }

    /// What changed since the last call.
    pub(super) fn write(&mut self, writes: &mut Writes) {
        for word in std::mem::take(&mut self.changed) {
            writes.served.push(word, self.word(word));
        }
    }

    /// What has to be in a word of the map.
    pub(super) fn word(&self, word: u32) -> u64 {
        self.words.get(word as usize).copied().unwrap_or(0)
    }
}
