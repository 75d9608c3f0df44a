//! The Pods of all nodes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use objects::{Key, Pod};

use crate::hash::{Counter, Map, Set};
use crate::tables::LocalId;

/// The number of a Pod's object. Another object of the same name has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HolderId(usize);

/// A Pod's object.
#[derive(Debug, Clone)]
pub(crate) struct Holder<K> {
    pub(crate) pod: Arc<Pod>,
    /// Whether it exists. If not, it is kept for the ports that it still has on this node.
    pub(crate) exists: bool,
    /// Its ports on this node.
    pub(crate) locals: Vec<LocalId>,
    /// What it is, once that is computed.
    pub(crate) kind: Option<K>,
}

impl<K> Holder<K> {
    /// Whether it has addresses of its own, which selectors match.
    pub(crate) fn is_peer(&self) -> bool {
        is_peer(&self.pod)
    }

    /// The addresses that its object says are its own.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        if self.exists { addresses(&self.pod) } else { &[] }
    }
}

/// Whether a Pod has addresses of its own, which selectors match.
pub(crate) fn is_peer(pod: &Pod) -> bool {
    !pod.host_network && !pod.ended
}

/// The addresses that a Pod's object says are its own.
pub(crate) fn addresses(pod: &Pod) -> &[IpAddr] {
    if is_peer(pod) { &pod.addresses } else { &[] }
}

/// All Pods. `K` says what kind of Pod one is.
#[derive(Debug, Clone)]
pub(crate) struct Pods<K> {
    by_key: HashMap<Key, HolderId>,
    all: Map<HolderId, Holder<K>>,
    counter: Counter,
    dirty: Set<HolderId>,
}

impl<K> Default for Pods<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            all: Map::default(),
            counter: Counter::default(),
            dirty: Set::default(),
        }
    }
}

impl<K> Pods<K> {
    /// The object of this name that exists.
    pub(crate) fn find(&self, key: &Key) -> Option<HolderId> {
        self.by_key.get(key).copied()
    }

    /// An object.
    pub(crate) fn get(&self, id: HolderId) -> Option<&Holder<K>> {
        self.all.get(&id)
    }

    /// An object.
    pub(crate) fn get_mut(&mut self, id: HolderId) -> Option<&mut Holder<K>> {
        self.all.get_mut(&id)
    }

    /// A new object. None of this name exists.
    pub(crate) fn insert(&mut self, pod: Arc<Pod>) -> HolderId {
        let id = HolderId(self.counter.next());
        self.by_key.insert(pod.key.clone(), id);
        self.all.insert(id, Holder { pod, exists: true, locals: Vec::new(), kind: None });
        self.dirty.insert(id);
        id
    }

    /// An object is different.
    pub(crate) fn replace(&mut self, id: HolderId, pod: Arc<Pod>) {
        if let Some(holder) = self.all.get_mut(&id) {
            holder.pod = pod;
            self.dirty.insert(id);
        }
    }

    /// An object does not exist any more.
    pub(crate) fn end(&mut self, key: &Key) -> Option<HolderId> {
        let id = self.by_key.remove(key)?;
        self.all.get_mut(&id)?.exists = false;
        Some(id)
    }

    /// Removes an object that neither exists nor has a port here.
    pub(crate) fn remove_unused(&mut self, id: HolderId) -> Option<Holder<K>> {
        let holder = self.all.get(&id)?;
        if holder.exists || !holder.locals.is_empty() {
            return None;
        }
        self.dirty.remove(&id);
        self.all.remove(&id)
    }

    /// Something of it has to be computed again.
    pub(crate) fn touch(&mut self, id: HolderId) {
        self.dirty.insert(id);
    }

    /// What has to be computed again.
    pub(crate) fn take_dirty(&mut self) -> Set<HolderId> {
        std::mem::take(&mut self.dirty)
    }

    /// All objects.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (HolderId, &Holder<K>)> {
        self.all.iter().map(|(id, holder)| (*id, holder))
    }
}
