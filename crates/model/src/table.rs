use std::collections::BTreeMap;
use std::ops::Deref;

/// A table that knows what changed since it was last asked. Read it as the map that it derefs to.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    entries: BTreeMap<K, V>,
    /// The keys that were written since, each with what it had before.
    before: BTreeMap<K, Option<V>>,
}

/// What makes an older state of a table the newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff<K, V> {
    /// Entries that are new or have another value, by key.
    pub upserts: Vec<(K, V)>,
    /// Keys that are gone.
    pub removals: Vec<K>,
}

impl<K, V> Diff<K, V> {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Table<K, V> {
    /// Sets or removes (`None`) an entry.
    pub(crate) fn set(&mut self, key: &K, value: Option<V>) {
        if self.entries.get(key) == value.as_ref() {
            return;
        }
        let old = match value {
            Some(value) => self.entries.insert(key.clone(), value),
            None => self.entries.remove(key),
        };
        self.before.entry(key.clone()).or_insert(old);
    }

    /// The keys that were written since changes were last taken.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &K> {
        self.before.keys()
    }

    /// Removes all entries.
    pub(crate) fn clear(&mut self) {
        for (key, value) in std::mem::take(&mut self.entries) {
            self.before.entry(key).or_insert(Some(value));
        }
    }

    /// What changed since the last call. What was written and has its old value again did not.
    pub(crate) fn take_changes(&mut self) -> Diff<K, V> {
        let mut diff = Diff { upserts: Vec::new(), removals: Vec::new() };
        for (key, before) in std::mem::take(&mut self.before) {
            match (self.entries.get(&key), before) {
                (now, before) if now == before.as_ref() => {}
                (Some(now), _) => diff.upserts.push((key, now.clone())),
                (None, _) => diff.removals.push(key),
            }
        }
        diff
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), before: BTreeMap::new() }
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &BTreeMap<K, V> {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_once_and_only_what_is_different_in_the_end() {
        let mut table = Table::default();
        table.set(&1, Some('a'));
        table.set(&2, Some('b'));
        table.set(&3, Some('c'));
        table.set(&3, None);
        assert_eq!(table.take_changes(), Diff { upserts: vec![(1, 'a'), (2, 'b')], removals: vec![] });
        assert!(table.take_changes().is_empty());
        table.clear();
        table.set(&1, Some('a'));
        table.set(&4, Some('d'));
        assert_eq!(table.take_changes(), Diff { upserts: vec![(4, 'd')], removals: vec![2] });
        assert_eq!(table.iter().collect::<Vec<_>>(), [(&1, &'a'), (&4, &'d')]);
    }
}
