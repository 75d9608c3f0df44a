//! The kinds of Pods that there are, and what matches them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::anchor::{self, Anchor};
use crate::hash::{Counter, Map, Set};
use crate::kind::KindKey;
use crate::pod_peers::PodPeers;
use crate::pods::HolderId;
use crate::profiles::{Profile, ProfileId, Profiles};

/// The number of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KindId(usize);

#[derive(Debug, Clone)]
struct Kind {
    key: Arc<KindKey>,
    pods: Set<HolderId>,
    profile: ProfileId,
}

/// All kinds that a Pod is of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinds {
    numbers: HashMap<Arc<KindKey>, KindId>,
    all: Map<KindId, Kind>,
    passing: HashMap<Anchor, Set<KindId>>,
    counter: Counter,
    fresh: Vec<KindId>,
}

impl Kinds {
    /// A Pod is of this kind.
    pub(crate) fn add(&mut self, key: KindKey, pod: HolderId) -> KindId {
        let id = match self.numbers.get(&key) {
            Some(id) => *id,
            None => self.create(key),
        };
        if let Some(kind) = self.all.get_mut(&id) {
            kind.pods.insert(pod);
        }
        id
    }

    fn create(&mut self, key: KindKey) -> KindId {
        let id = KindId(self.counter.next());
        for anchor in anchor::of_kind(&key) {
            self.passing.entry(anchor).or_default().insert(id);
        }
        let key = Arc::new(key);
        self.numbers.insert(Arc::clone(&key), id);
        self.all.insert(id, Kind { key, pods: Set::default(), profile: ProfileId::EMPTY });
        self.fresh.push(id);
        id
    }

    /// A Pod is not of this kind any more.
    pub(crate) fn remove(&mut self, id: KindId, pod: HolderId, profiles: &mut Profiles) {
        let Some(kind) = self.all.get_mut(&id) else { return };
        kind.pods.remove(&pod);
        if !kind.pods.is_empty() {
            return;
        }
        let Some(kind) = self.all.remove(&id) else { return };
        self.numbers.remove(&kind.key);
        for anchor in anchor::of_kind(&kind.key) {
            if let Some(passing) = self.passing.get_mut(&anchor) {
                passing.remove(&id);
                if passing.is_empty() {
                    self.passing.remove(&anchor);
                }
            }
        }
        profiles.release(kind.profile);
    }

    /// Whether it is the kind with this key.
    pub(crate) fn is(&self, id: KindId, key: &KindKey) -> bool {
        self.all.get(&id).is_some_and(|kind| *kind.key == *key)
    }

    /// Computes what matches new kinds, and those that selectors match which changed. Gives the Pods of those whose
    /// profile changed, without new ones: whoever is of a new kind was something else before.
    pub(crate) fn settle(&mut self, peers: &mut PodPeers, profiles: &mut Profiles) -> Vec<HolderId> {
        let fresh: Set<KindId> = std::mem::take(&mut self.fresh).into_iter().collect();
        let mut dirty = fresh.clone();
        peers.take_changed(|anchors, matches| {
            for id in anchors.iter().filter_map(|anchor| self.passing.get(anchor)).flatten() {
                if !dirty.contains(id) && self.all.get(id).is_some_and(|kind| matches(&kind.key)) {
                    dirty.insert(*id);
                }
            }
        });
        let mut changed = Vec::new();
        for id in dirty {
            let Some(kind) = self.all.get_mut(&id) else { continue };
            let profile = Profile { terms: peers.terms(&kind.key), ports: kind.key.ports.clone() };
            let profile = profiles.acquire(profile);
            profiles.release(kind.profile);
            if profile != kind.profile {
                kind.profile = profile;
                if !fresh.contains(&id) {
                    changed.extend(kind.pods.iter().copied());
                }
            }
        }
        changed
    }

    /// What matches the Pods of a kind.
    pub(crate) fn profile(&self, id: KindId) -> ProfileId {
        self.all.get(&id).map_or(ProfileId::EMPTY, |kind| kind.profile)
    }

    /// All kinds, and how many Pods are of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&KindKey, usize)> {
        self.all.values().map(|kind| (&*kind.key, kind.pods.len()))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}
