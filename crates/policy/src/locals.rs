//! The Pods of this node: the ports that they have.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use objects::{Key, Pod};

use crate::pods::HolderId;
use crate::tables::{LocalId, LocalPod, SetId};

/// A port of this node.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) pod: LocalPod,
    /// Its Pod's object, once it is known; the last one, if it exists no more.
    pub(crate) holder: Option<HolderId>,
    /// Its set. Before the first update there is none.
    pub(crate) set: Option<SetId>,
    /// Its set, as the tables say.
    pub(crate) told: Option<SetId>,
    /// Whether what applies to it is too much: it has the set that it had before.
    pub(crate) withheld: bool,
}

impl Local {
    /// Whether an object is this Pod's.
    pub(crate) fn is(&self, pod: &Pod) -> bool {
        let same = match (&self.pod.uid, &pod.uid) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        same && !pod.host_network && self.pod.key == pod.key
    }
}

/// All ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locals {
    all: BTreeMap<LocalId, Local>,
    by_key: HashMap<Key, BTreeSet<LocalId>>,
    dirty: BTreeSet<LocalId>,
}

impl Locals {
    /// A port is new.
    pub(crate) fn insert(&mut self, id: LocalId, pod: LocalPod) {
        self.by_key.entry(pod.key.clone()).or_default().insert(id);
        self.all.insert(id, Local { pod, holder: None, set: None, told: None, withheld: false });
        self.dirty.insert(id);
    }

    /// A port is gone.
    pub(crate) fn remove(&mut self, id: LocalId) -> Option<Local> {
        let local = self.all.remove(&id)?;
        self.dirty.remove(&id);
        if let Some(ids) = self.by_key.get_mut(&local.pod.key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_key.remove(&local.pod.key);
            }
        }
        Some(local)
    }

    /// The ports of a Pod of this name.
    pub(crate) fn named(&self, key: &Key) -> Vec<LocalId> {
        self.by_key.get(key).into_iter().flatten().copied().collect()
    }

    /// A port.
    pub(crate) fn get(&self, id: LocalId) -> Option<&Local> {
        self.all.get(&id)
    }

    /// A port.
    pub(crate) fn get_mut(&mut self, id: LocalId) -> Option<&mut Local> {
        self.all.get_mut(&id)
    }

    /// What applies to it may be something else.
    pub(crate) fn touch(&mut self, id: LocalId) {
        self.dirty.insert(id);
    }

    /// What applies to these may be something else.
    pub(crate) fn touch_if(&mut self, concerned: impl Fn(&Local) -> bool) {
        self.dirty.extend(self.all.iter().filter(|(_, local)| concerned(local)).map(|(id, _)| *id));
    }

    /// The ports to which something else may apply than at the last call.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<LocalId> {
        std::mem::take(&mut self.dirty)
    }

    /// All ports.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LocalId, &mut Local)> {
        self.all.iter_mut().map(|(id, local)| (*id, local))
    }

    /// All ports.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LocalId, &Local)> {
        self.all.iter().map(|(id, local)| (*id, local))
    }
}
