use std::collections::{BTreeMap, BTreeSet};

use crate::Key;

/// Which objects refer to another one, by what names it.
#[derive(Debug)]
pub(crate) struct Index<T>(BTreeMap<T, BTreeSet<Key>>);

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Index<T> {
    /// The object refers to this one from now on.
    pub(crate) fn add(&mut self, to: T, from: Key) {
        self.0.entry(to).or_default().insert(from);
    }

    /// The object does not refer to this one any more.
    pub(crate) fn remove(&mut self, to: &T, from: &Key) {
        if let Some(all) = self.0.get_mut(to) {
            all.remove(from);
            if all.is_empty() {
                self.0.remove(to);
            }
        }
    }

    /// The objects that refer to this one, in order.
    pub(crate) fn of(&self, to: &T) -> impl Iterator<Item = &Key> + Clone {
        self.0.get(to).into_iter().flatten()
    }
}
