//! The objects of one kind as they are now, and what of them its consumer has not seen yet.
//!
//! Sources write whole lists and single changes; the consumer gets the difference to what it got before, whenever it
//! asks. So a slow consumer holds up no source, several changes of an object become one, and an object that is equal to
//! the known one is no change. What waits is bounded by the number of objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Health;
use crate::kind::{Entry, Invalid, Key, Kind};

/// What changed since the consumer last asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Delta<K> {
    /// The objects that are new or different. One that was deleted and created again is here alone, with another UID.
    pub upserted: Vec<Arc<K>>,
    /// The objects that are gone, as they last were.
    pub deleted: Vec<Arc<K>>,
    /// Whether the source was read from end to end at least once: an object of this kind that is not known does not
    /// exist, or is invalid. It stays so.
    pub synced: bool,
}

/// What a source says of one object.
#[derive(Debug)]
pub(crate) enum Update<K> {
    Set(Entry<K>),
    Delete(Key),
}

/// How a list differs from what was known, in numbers of objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) same: usize,
    pub(crate) new: usize,
    /// Replaced or gone.
    pub(crate) replaced: usize,
}

/// The source's end of a store. When it is dropped, the consumer's changes end.
#[derive(Debug)]
pub(crate) struct Store<K: Kind>(Arc<Shared<K>>);

/// The consumer's end of a store.
#[derive(Debug)]
pub struct Changes<K: Kind>(Arc<Shared<K>>);

/// What is on disk is read from here.
#[derive(Debug)]
pub(crate) struct View<K: Kind>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<State<K>>,
    news: Notify,
    health: Health,
}

#[derive(Debug)]
struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Objects that changed since the consumer last asked, as it knows them.
    seen: BTreeMap<Key, Option<Arc<K>>>,
    invalid: BTreeMap<Key, Invalid>,
    /// Counts changes.
    revision: u64,
    progress: Progress,
    /// As the consumer knows it.
    told: Progress,
    closed: bool,
}

/// How much of the source is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Nothing,
    Some,
    All,
}

impl<K: Kind> Changes<K> {
    /// Waits until something differs from what was given before; the first time, until there is something to go on with,
    /// which may be no object at all. `None`: the source ended.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delta<K>> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(delta) = state.take() {
                    return Some(delta);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.news.notified().await;
        }
    }
}

impl<K: Kind> Store<K> {
    pub(crate) fn new(health: Health) -> (Self, Changes<K>) {
        let shared = Arc::new(Shared { state: Mutex::default(), news: Notify::new(), health });
        (Self(Arc::clone(&shared)), Changes(shared))
    }

    pub(crate) fn view(&self) -> View<K> {
        View(Arc::clone(&self.0))
    }

    /// Takes changes in, all at once. `complete`: with them the source was read from end to end.
    pub(crate) fn update(&self, updates: impl IntoIterator<Item = Update<K>>, complete: bool) {
        self.0.change(|state| {
            for update in updates {
                match update {
                    Update::Set(entry) => drop(state.set(entry)),
                    Update::Delete(key) => state.delete(&key),
                }
            }
            state.progress = state.progress.max(if complete { Progress::All } else { Progress::Some });
        });
    }

    /// These are all objects.
    pub(crate) fn replace(&self, entries: Vec<Entry<K>>) -> Difference {
        self.0.change(|state| state.replace(entries))
    }

    /// Takes in objects that were cached on disk. `known`: the consumer is to go on with them until there are others.
    pub(crate) fn restore(&self, objects: Vec<K>, known: bool) {
        self.0.change(|state| {
            for object in objects {
                state.put(object.key(), object);
            }
            if known {
                state.progress = state.progress.max(Progress::Some);
            }
        });
    }

    /// Whether there is an object of this key and UID.
    pub(crate) fn has(&self, key: &Key, uid: Option<&str>) -> bool {
        self.0.lock().objects.get(key).is_some_and(|object| object.uid() == uid)
    }
}

impl<K: Kind> Drop for Store<K> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.news.notify_one();
    }
}

impl<K: Kind> View<K> {
    /// Counts changes: with the same number there was none.
    pub(crate) fn revision(&self) -> u64 {
        self.0.lock().revision
    }

    /// All objects, by key, and the revision.
    pub(crate) fn objects(&self) -> (Vec<Arc<K>>, u64) {
        let state = self.0.lock();
        (state.objects.values().cloned().collect(), state.revision)
    }

    /// Whether the source has an object of this key that is invalid.
    pub(crate) fn is_invalid(&self, key: &Key) -> bool {
        self.0.lock().invalid.contains_key(key)
    }
}

impl<K: Kind> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State<K>) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        self.health.set_invalid(K::RESOURCE.kind, &state.invalid);
        let tell = !state.seen.is_empty() || state.progress != state.told;
        drop(state);
        if tell {
            self.news.notify_one();
        }
        result
    }
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
    fn put(&mut self, key: Key, object: K) -> bool {
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
    fn set(&mut self, entry: Entry<K>) -> bool {
        let Entry { key, uid, object } = entry;
        match object {
            Ok(object) => {
                self.invalid.remove(&key);
                self.put(key, object)
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

    fn delete(&mut self, key: &Key) {
        self.invalid.remove(key);
        self.remove(key);
    }

    fn replace(&mut self, entries: Vec<Entry<K>>) -> Difference {
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

    fn take(&mut self) -> Option<Delta<K>> {
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

#[cfg(test)]
mod tests;
