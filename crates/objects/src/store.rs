//! The objects of one kind as they are now, and what of them its consumer has not seen yet.
//!
//! Sources write whole lists and single changes; the consumer gets the difference to what it got before, whenever it
//! asks. So a slow consumer holds up no source, several changes of an object become one, and an object that is equal to
//! the known one is no change. What waits is bounded by the number of objects.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Health;
use crate::entry::Entry;
use crate::kind::{Key, Kind};
use state::{Difference, Progress, State};

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

    /// Whether there is any object.
    pub(crate) fn has_any(&self) -> bool {
        !self.0.lock().objects.is_empty()
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

#[cfg(test)]
mod tests;
