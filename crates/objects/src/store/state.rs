//! What a store knows, without who waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Delta;
use crate::entry::Entry;
use crate::kind::{Invalid, Key, Kind};

/// How a list differs from what was known, in numbers of objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) same: usize,
    pub(crate) new: usize,
    /// Replaced or gone.
    pub(crate) replaced: usize,
}

/// The objects, and what of them the consumer has not seen yet.
#[derive(Debug)]
pub(super) struct State<K> {
    pub(super) objects: BTreeMap<Key, Arc<K>>,
    /// Objects that changed since the consumer last asked, as it knows them.
    pub(super) seen: BTreeMap<Key, Option<Arc<K>>>,
    pub(super) invalid: BTreeMap<Key, Invalid>,
    /// Counts changes.
    pub(super) revision: u64,
    pub(super) progress: Progress,
    /// As the consumer knows it.
    pub(super) told: Progress,
    pub(super) closed: bool,
}

/// How much of the source is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    Nothing,
    Some,
    All,
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            seen: BTreeMap::new(),
            invalid: BTreeMap::new(),
            revision: 0,
            progress: Progress::Nothing,
            told: Progress::Nothing,
            closed: false,
        }
    }
}

impl<K: Kind> State<K> {
    /// Whether the object was known and is the same.
    pub(super) fn put(&mut self, key: Key, object: K) -> bool {
        if self.objects.get(&key).is_some_and(|known| **known == object) {
            return true;
        }
        let before = self.objects.insert(key.clone(), Arc::new(object));
        self.changed(key, before);
        false
    }

    fn remove(&mut self, key: &Key) {
        if let Some(before) = self.objects.remove(key) {
            self.changed(key.clone(), Some(before));
        }
    }

    fn changed(&mut self, key: Key, before: Option<Arc<K>>) {
        self.seen.entry(key).or_insert(before);
        self.revision += 1;
    }

    /// Whether the object was known and is the same. One that is invalid stays as it last was, unless it is another one
    /// of that name by now.
    pub(super) fn set(&mut self, entry: Entry<K>) -> bool {
        let Entry { key, uid, object } = entry;
        match object {
            Ok(object) => {
                self.invalid.remove(&key);
                // The object's own: its text is there once.
                self.put(object.key(), object)
            }
            Err(mut invalid) => {
                let stays = self.objects.get(&key).is_some_and(|known| known.uid() == uid.as_deref());
                if !stays {
                    self.remove(&key);
                }
                invalid.problem += if stays { "; its last valid form is used" } else { "; it is left out" };
                self.invalid.insert(key, invalid);
                stays
            }
        }
    }

    pub(super) fn delete(&mut self, key: &Key) {
        self.invalid.remove(key);
        self.remove(key);
    }

    pub(super) fn replace(&mut self, entries: Vec<Entry<K>>) -> Difference {
        let before = self.objects.len();
        let mut gone: BTreeMap<Key, ()> =
            self.objects.keys().chain(self.invalid.keys()).map(|key| (key.clone(), ())).collect();
        let mut same = 0;
        for entry in entries {
            gone.remove(&entry.key);
            same += usize::from(self.set(entry));
        }
        for key in gone.into_keys() {
            self.delete(&key);
        }
        self.progress = Progress::All;
        Difference {
            same,
            new: self.objects.len().saturating_sub(same),
            replaced: before.saturating_sub(same),
        }
    }

    pub(super) fn take(&mut self) -> Option<Delta<K>> {
        if self.progress == Progress::Nothing {
            return None;
        }
        let mut delta =
            Delta { upserted: Vec::new(), deleted: Vec::new(), synced: self.progress == Progress::All };
        for (key, before) in std::mem::take(&mut self.seen) {
            match (before, self.objects.get(&key)) {
                (Some(before), Some(now)) if before == *now => {}
                (_, Some(now)) => delta.upserted.push(Arc::clone(now)),
                (Some(before), None) => delta.deleted.push(before),
                (None, None) => {}
            }
        }
        let progressed = std::mem::replace(&mut self.told, self.progress) != self.progress;
        (progressed || !delta.upserted.is_empty() || !delta.deleted.is_empty()).then_some(delta)
    }
}
