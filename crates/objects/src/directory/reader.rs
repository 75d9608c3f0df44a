use serde_yaml_ng::Value;

use crate::entry::Entry;
use crate::kind::{Key, Kind, Resource};
use crate::store::{Store, Update};

/// What a directory gives its objects of one kind to. What is staged counts once it is committed.
pub(crate) trait Reader: Send {
    /// The kind.
    fn resource(&self) -> &'static Resource;

    /// Reads an object and stages it, if `accept` says so of its key. `place` is where it stands.
    ///
    /// # Errors
    /// Nothing names the object.
    fn read(
        &mut self,
        value: &Value,
        place: &str,
        accept: &mut dyn FnMut(&Key) -> bool,
    ) -> Result<(), String>;

    /// Stages the deletion of an object.
    fn delete(&mut self, key: &Key);

    /// Has what was staged count. `complete`: with it the directory was read from end to end.
    fn commit(&mut self, complete: bool);
}

/// One for a kind's store.
pub(crate) struct Typed<K: Kind> {
    store: Store<K>,
    staged: Vec<Update<K>>,
}

impl<K: Kind> Typed<K> {
    pub(crate) fn new(store: Store<K>) -> Self {
        Self { store, staged: Vec::new() }
    }
}

impl<K: Kind> Reader for Typed<K> {
    fn resource(&self) -> &'static Resource {
        &K::RESOURCE
    }

    fn read(
        &mut self,
        value: &Value,
        place: &str,
        accept: &mut dyn FnMut(&Key) -> bool,
    ) -> Result<(), String> {
        let mut entry = Entry::<K>::read(|| value)?;
        if accept(&entry.key) {
            if let Err(invalid) = &mut entry.object {
                invalid.problem = format!("{place}: {}", invalid.problem);
            }
            self.staged.push(Update::Set(entry));
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        self.staged.push(Update::Delete(key.clone()));
    }

    fn commit(&mut self, complete: bool) {
        self.store.update(std::mem::take(&mut self.staged), complete);
    }
}
