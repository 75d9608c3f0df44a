use serde_yaml_ng::Value;

use crate::entry::Entry;
use crate::kind::{Invalid, Key, Kind, Resource};
use crate::store::{Store, Update};

/// What a directory gives its objects of one kind to. What is staged counts once it is committed.
pub(crate) trait Reader: Send {
    /// The kind.
    fn resource(&self) -> &'static Resource;

    /// How an object of this `apiVersion` and kind is read, if it is.
    fn reads(&self, api_version: &str, kind: &str) -> Option<As>;

    /// Reads an object and stages it, if `accept` says so of its key. `place` is where it stands.
    ///
    /// # Errors
    /// Nothing names the object.
    fn read(
        &mut self,
        value: &Value,
        how: &As,
        place: &str,
        accept: &mut dyn FnMut(&Key) -> bool,
    ) -> Result<(), String>;

    /// Stages the deletion of an object.
    fn delete(&mut self, key: &Key);

    /// Has what was staged count. `complete`: with it the directory was read from end to end.
    fn commit(&mut self, complete: bool);
}

/// As what an object is read.
pub(crate) enum As {
    /// As one of the kind.
    Known,
    /// As an invalid one: it is of this version, of which nothing is known.
    Foreign(String),
}

impl As {
    /// How an object of this `apiVersion` and kind is read, if it is of kind `K`.
    pub(super) fn of<K: Kind>(api_version: &str, kind: &str) -> Option<Self> {
        let resource = &K::RESOURCE;
        match resource.version_of(api_version).filter(|_| kind == resource.kind) {
            Some(version) if version == resource.version => Some(Self::Known),
            Some(other) if K::CUSTOM => Some(Self::Foreign(other.to_owned())),
            _ => None,
        }
    }

    /// Reads an object so.
    ///
    /// # Errors
    /// Nothing names the object.
    pub(super) fn entry<K: Kind>(&self, value: &Value) -> Result<Entry<K>, String> {
        let mut entry = Entry::<K>::read(|| value)?;
        if let Self::Foreign(version) = self {
            let problem = format!("its version {version:?} is unknown");
            let remedy = format!("write it in version {}", K::RESOURCE.version);
            entry.object = Err(Invalid { remedy, ..Invalid::field("apiVersion", problem) });
        }
        Ok(entry)
    }
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

    fn reads(&self, api_version: &str, kind: &str) -> Option<As> {
        As::of::<K>(api_version, kind)
    }

    fn read(
        &mut self,
        value: &Value,
        how: &As,
        place: &str,
        accept: &mut dyn FnMut(&Key) -> bool,
    ) -> Result<(), String> {
        let mut entry = how.entry::<K>(value)?;
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
