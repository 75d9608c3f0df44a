//! Namespaces, and which Pods are in each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use objects::{Key, Labels, Namespace};

use crate::hash::Set;
use crate::kind::Space;
use crate::pod_peers::{NAMESPACE_NAME, PodPeers};
use crate::pods::HolderId;
use crate::vocabulary::{self, Changed};

/// Namespaces that are known, or that Pods are in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespaces {
    known: HashMap<Arc<str>, Arc<Namespace>>,
    spaces: HashMap<Arc<str>, Populated>,
    dirty: HashSet<Arc<str>>,
}

/// A namespace with Pods.
#[derive(Debug, Clone)]
struct Populated {
    space: Arc<Space>,
    pods: Set<HolderId>,
}

impl Namespaces {
    /// A namespace is new or different. Whether it is.
    pub(crate) fn upsert(&mut self, namespace: Arc<Namespace>) -> bool {
        let name: Arc<str> = namespace.key.name().into();
        if self.known.get(&name).is_some_and(|known| *known == namespace) {
            return false;
        }
        self.dirty.insert(Arc::clone(&name));
        self.known.insert(name, namespace);
        true
    }

    /// A namespace is gone.
    pub(crate) fn delete(&mut self, key: &Key) {
        if let Some((name, _)) = self.known.remove_entry(key.name()) {
            self.dirty.insert(name);
        }
    }

    /// A namespace.
    pub(crate) fn get(&self, name: &str) -> Option<&Namespace> {
        self.known.get(name).map(|known| &**known)
    }

    /// All that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.known.values().map(|known| &**known)
    }

    /// A Pod is there.
    pub(crate) fn enter(&mut self, name: &str, pod: HolderId, peers: &PodPeers) {
        if let Some(populated) = self.spaces.get_mut(name) {
            populated.pods.insert(pod);
            return;
        }
        let space = Arc::new(self.space(name, peers));
        self.spaces.insert(name.into(), Populated { space, pods: Set::from_iter([pod]) });
    }

    /// A Pod is not there any more.
    pub(crate) fn leave(&mut self, name: &str, pod: HolderId) {
        let Some(populated) = self.spaces.get_mut(name) else { return };
        populated.pods.remove(&pod);
        if populated.pods.is_empty() {
            self.spaces.remove(name);
        }
    }

    /// What selectors see of a namespace with Pods.
    pub(crate) fn space_of(&self, name: &str) -> Option<&Arc<Space>> {
        self.spaces.get(name).map(|populated| &populated.space)
    }

    /// The Pods of a namespace.
    pub(crate) fn pods(&self, name: &str) -> impl Iterator<Item = HolderId> {
        self.spaces.get(name).into_iter().flat_map(|populated| populated.pods.iter().copied())
    }

    /// What selectors see of a namespace.
    pub(crate) fn space(&self, name: &str, peers: &PodPeers) -> Space {
        let known = self.known.get(name);
        let see = |labels| vocabulary::pattern(peers.space_labels.see(labels));
        let labels = match known {
            Some(namespace) => see(&namespace.labels),
            None => see(&Labels::from_iter([(NAMESPACE_NAME, name)])),
        };
        Space { name: peers.space_names.get(name), known: known.is_some(), labels }
    }

    /// The Pods of namespaces that selectors see otherwise than at the last call.
    pub(crate) fn settle(&mut self, peers: &mut PodPeers) -> Vec<HolderId> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.extend(peers.space_names.take_changed());
        let words = peers.space_labels.take_changed();
        if !words.is_empty() {
            dirty.extend(self.touched(&words));
        }
        let mut changed = Vec::new();
        for name in dirty {
            if !self.spaces.contains_key(&name) {
                continue;
            }
            let space = self.space(&name, peers);
            if let Some(populated) = self.spaces.get_mut(&name)
                && *populated.space != space
            {
                populated.space = Arc::new(space);
                changed.extend(populated.pods.iter().copied());
            }
        }
        changed
    }

    fn touched(&self, words: &Changed) -> impl Iterator<Item = Arc<str>> {
        let touches = |name: &Arc<str>| match self.known.get(name) {
            Some(namespace) => words.touches(&namespace.labels),
            None => words.touches(&Labels::from_iter([(NAMESPACE_NAME, name)])),
        };
        self.spaces.keys().filter(move |name| touches(name)).cloned()
    }
}
