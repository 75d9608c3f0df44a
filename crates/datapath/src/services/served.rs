//! Of which ports packets from outside may be for a Service: bits that frontends count on. Pure.

use std::collections::{BTreeSet, HashMap};

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

/// The bits.
#[derive(Debug)]
pub(super) struct ServedPorts {
    users: HashMap<Bit, u32>,
    wanted: Vec<u64>,
    /// What was found, and counts until it is pruned.
    found: Vec<u64>,
    written: Vec<u64>,
    changed: BTreeSet<u32>,
}

impl ServedPorts {
    /// Those that are in the map.
    pub(super) fn new(found: Vec<u64>) -> Self {
        let words = SERVED_PORTS_WORDS as usize;
        let mut written = found;
        written.resize(words, 0);
        Self {
            users: HashMap::new(),
            wanted: vec![0; words],
            found: written.clone(),
            written,
            changed: BTreeSet::new(),
        }
    }

    pub(super) fn hold(&mut self, bit: Bit) {
        let users = self.users.entry(bit).or_default();
        *users += 1;
        if *users == 1 {
            self.change(bit.word(), |word| word | bit.mask());
        }
    }

    pub(super) fn release(&mut self, bit: Bit) {
        let Some(users) = self.users.get_mut(&bit) else { return };
        *users -= 1;
        if *users == 0 {
            self.users.remove(&bit);
            self.change(bit.word(), |word| word & !bit.mask());
        }
    }

    /// What was found and nobody wants does not count any more.
    pub(super) fn prune(&mut self) {
        for (word, found) in (0u32..).zip(&mut self.found) {
            if std::mem::take(found) != 0 {
                self.changed.insert(word);
            }
        }
    }

    /// What changed since the last call.
    pub(super) fn write(&mut self, writes: &mut Writes) {
        for word in std::mem::take(&mut self.changed) {
            let index = word as usize;
            let (Some(wanted), Some(found), Some(written)) =
                (self.wanted.get(index), self.found.get(index), self.written.get_mut(index))
            else {
                continue;
            };
            let wanted = wanted | found;
            let both = *written | wanted;
            if both != *written {
                writes.served_before.push(word, both);
            }
            if wanted != both {
                writes.served_after.push(word, wanted);
            }
            *written = wanted;
        }
    }

    /// What has to be in a word of the map.
    pub(super) fn word(&self, word: u32) -> u64 {
        self.written.get(word as usize).copied().unwrap_or(0)
    }

    fn change(&mut self, word: u32, change: impl Fn(u64) -> u64) {
        if let Some(value) = self.wanted.get_mut(word as usize) {
            *value = change(*value);
            self.changed.insert(word);
        }
    }
}
