//! Which files an object is in.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::sync::Arc;

use crate::kind::Key;

/// An object: the index of its kind's reader, and its key.
pub(super) type Id = (usize, Key);

/// A file's name. All that know it share the text.
pub(super) type Name = Arc<OsStr>;

/// The files of each object. The first one by name counts.
#[derive(Debug, Default)]
pub(super) struct Owners {
    files: HashMap<Id, Vec<Name>>,
    /// Objects that are in several.
    shared: BTreeSet<Id>,
}

/// What becomes of an object that is in a file no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It is gone.
    Gone,
    /// It counts in another file from now on.
    To(Name),
    /// It goes on counting in another file.
    There,
}

impl Owners {
    pub(super) fn has(&self, id: &Id, name: &Name) -> bool {
        self.files.get(id).is_some_and(|names| names.contains(name))
    }

    /// Whether the object counts in this file.
    pub(super) fn add(&mut self, id: &Id, name: &Name) -> bool {
        let names = self.files.entry(id.clone()).or_default();
        if let Err(place) = names.binary_search(name) {
            names.insert(place, Arc::clone(name));
        }
        if names.len() > 1 {
            self.shared.insert(id.clone());
        }
        names.first() == Some(name)
    }

    pub(super) fn remove(&mut self, id: &Id, name: &Name) -> Left {
        let Some(names) = self.files.get_mut(id) else { return Left::There };
        let counted = names.first() == Some(name);
        names.retain(|other| other != name);
        if names.len() < 2 {
            self.shared.remove(id);
        }
        match names.first() {
            Some(next) if counted => Left::To(Arc::clone(next)),
            Some(_) => Left::There,
            None => {
                self.files.remove(id);
                Left::Gone
            }
        }
    }

    /// Objects that are in several files, and the first two of them.
    pub(super) fn shared(&self) -> impl Iterator<Item = (&Id, &Name, &Name)> {
        self.shared.iter().filter_map(|id| match self.files.get(id)?.as_slice() {
            [first, second, ..] => Some((id, first, second)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_by_name_counts() {
        let mut owners = Owners::default();
        let id = (0, Key::new("n"));
        let [a, b, c] = ["a", "b", "c"].map(|name| Name::from(OsStr::new(name)));
        assert!(owners.add(&id, &b) && owners.add(&id, &b));
        assert_eq!(owners.shared().count(), 0);
        assert!(!owners.add(&id, &c));
        assert!(owners.add(&id, &a));
        assert_eq!(owners.shared().collect::<Vec<_>>(), [(&id, &a, &b)]);
        assert_eq!(owners.remove(&id, &b), Left::There);
        assert_eq!(owners.remove(&id, &a), Left::To(Arc::clone(&c)));
        assert!(owners.has(&id, &c) && !owners.has(&id, &a));
        assert_eq!((owners.shared().count(), owners.remove(&id, &c)), (0, Left::Gone));
        assert_eq!(owners.remove(&id, &c), Left::There);
    }
}
