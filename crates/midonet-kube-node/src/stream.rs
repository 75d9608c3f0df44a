//! The changes of objects of one kind, for who takes them in.

use std::future::pending;
use std::sync::Arc;

use objects::{Changes, Delta, Kind, Selector, Watch};

/// The changes of one kind; `None`: it is not watched.
pub(crate) struct Stream<K: Kind> {
    changes: Option<Changes<K>>,
    /// Whether all objects were taken in; `None` before there is anything to go on with.
    pub(crate) synced: Option<bool>,
}

impl<K: Kind> Stream<K> {
    /// Names what is to be watched, if it is wanted.
    pub(crate) fn of(watch: &mut Watch, wanted: bool, selector: Selector) -> Self {
        let changes = wanted.then(|| watch.of::<K>(selector));
        // What is not watched has no objects.
        Self { synced: changes.is_none().then_some(true), changes }
    }

    /// Waits for changes. `None`: the source ended. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Delta<K>> {
        match &mut self.changes {
            Some(changes) => changes.next().await,
            None => pending().await,
        }
    }

    /// Takes a delta in: what is gone first.
    pub(crate) fn take(&mut self, delta: Delta<K>, mut set: impl FnMut(&Arc<K>, bool)) -> Taken {
        let Delta { upserted, deleted, synced } = delta;
        deleted.iter().for_each(|object| set(object, false));
        upserted.iter().for_each(|object| set(object, true));
        let is_list = self.synced.replace(synced) != Some(synced);
        Taken { objects: upserted.len() + deleted.len(), is_list }
    }
}

/// What came at once.
pub(crate) struct Taken {
    /// How many objects changed.
    pub(crate) objects: usize,
    /// Whether it was a list: the first of a kind, or the one with which all of it are known.
    pub(crate) is_list: bool,
}
