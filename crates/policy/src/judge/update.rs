//! From what changed to how the tables change.

use objects::Pod;

use super::Judge;
use super::objects_in::namespace_of;
use crate::entries;
use crate::hash::Map;
use crate::kind::KindKey;
use crate::node_peers;
use crate::pods::HolderId;
use crate::profiles::ProfileId;
use crate::tables::{Changes, ClassId, ListId, RuleId};

impl Judge {
    /// How the tables change by everything since the last call.
    pub fn update(&mut self) -> Changes {
        let mut changes = Changes::default();
        let former = self.choose_sets(&mut changes);
        let mut moved = Map::default();
        self.sign_pods(&mut moved);
        self.refuse_too_much(former, &mut moved, &mut changes);
        self.tell_sets(&mut changes);
        self.match_pods(moved);
        self.match_nodes();
        self.match_blocks(&mut changes);
        self.match_addresses(&mut changes);
        let (fresh, gone) = self.classes.settle(&mut self.terms);
        entries::remove(gone, &mut self.sets, &mut changes);
        entries::add(&fresh, &mut self.sets, &mut self.classes, &self.terms, &mut changes);
        let (rules, removed) = self.sets.rules.settle();
        changes.rules = rules.into_iter().map(|(number, rule)| (RuleId(number), rule)).collect();
        changes.removed_rules = removed.into_iter().map(RuleId).collect();
        let (lists, removed) = self.sets.lists.settle();
        changes.lists = lists.into_iter().map(|(number, list)| (ListId(number), list)).collect();
        changes.removed_lists = removed.into_iter().map(ListId).collect();
        changes
    }

    /// Which kinds Pods are of. Notes of those that are of another kind what matched them before.
    pub(super) fn sign_pods(&mut self, moved: &mut Map<HolderId, ProfileId>) {
        self.touch_resigned();
        for id in self.pods.take_dirty() {
            if let Some(profile) = self.sign_pod(id) {
                moved.entry(id).or_insert(profile);
            }
        }
    }

    /// What matches Pods.
    fn match_pods(&mut self, moved: Map<HolderId, ProfileId>) {
        for id in self.kinds.settle(&mut self.terms.pods, &mut self.profiles) {
            self.touch_addresses(id);
        }
        for (id, before) in moved {
            if self.profile_of(id) != before {
                self.touch_addresses(id);
            }
        }
    }

    /// Touches the Pods that selectors see otherwise, because other words are in use.
    fn touch_resigned(&mut self) {
        let mut touched = self.namespaces.settle(&mut self.terms.pods);
        let (words, own_words) = self.terms.pods.take_changed_words();
        let names = self.terms.ports.take_changed();
        if !words.is_empty() || !names.is_empty() {
            let touches = |pod: &Pod| {
                words.touches(&pod.labels) || pod.ports.iter().any(|port| names.contains(&port.name))
            };
            let all = self.pods.iter().filter(|(_, holder)| touches(&holder.pod));
            touched.extend(all.map(|(id, _)| id));
        }
        for (namespace, words) in own_words {
            let touches =
                |id: &HolderId| self.pods.get(*id).is_some_and(|holder| words.touches(&holder.pod.labels));
            touched.extend(self.namespaces.pods(&namespace).filter(touches));
        }
        for id in touched {
            self.pods.touch(id);
        }
    }

    /// Finds a Pod's kind. If it is another one, gives what matched the Pod before.
    fn sign_pod(&mut self, id: HolderId) -> Option<ProfileId> {
        let holder = self.pods.get(id)?;
        let before = holder.kind;
        let key = if holder.is_peer() { self.kind_of(&holder.pod) } else { None };
        let same = before.zip(key.as_ref()).is_some_and(|(before, key)| self.kinds.is(before, key));
        if same {
            return None;
        }
        let profile = self.profile_of(id);
        let kind = key.map(|key| self.kinds.add(key, id));
        self.pods.get_mut(id)?.kind = kind;
        if let Some(before) = before {
            self.kinds.remove(before, id, &mut self.profiles);
        }
        Some(profile)
    }

    fn profile_of(&self, id: HolderId) -> ProfileId {
        let kind = self.pods.get(id).and_then(|holder| holder.kind);
        kind.map_or(ProfileId::EMPTY, |kind| self.kinds.profile(kind))
    }

    fn kind_of(&self, pod: &Pod) -> Option<KindKey> {
        let space = self.namespaces.space_of(namespace_of(pod))?;
        Some(self.terms.kind_of(pod, space))
    }

    fn touch_addresses(&mut self, id: HolderId) {
        let Some(holder) = self.pods.get(id) else { return };
        for address in holder.addresses() {
            self.addresses.touch(*address);
        }
        for local in &holder.locals {
            for address in self.locals.get(*local).iter().flat_map(|local| &local.pod.addresses) {
                self.addresses.touch(*address);
            }
        }
    }

    /// What matches nodes.
    fn match_nodes(&mut self) {
        for id in self.terms.nodes.settle(&mut self.profiles) {
            let Some(known) = self.terms.nodes.get(id) else { continue };
            for address in node_peers::addresses(&known.node) {
                self.addresses.touch(address);
            }
        }
    }

    /// What matches blocks, and their classes.
    fn match_blocks(&mut self, changes: &mut Changes) {
        // Terms are needed beside them.
        let mut regions = std::mem::take(&mut self.terms.regions);
        let settled = regions.settle(&mut self.profiles);
        for (prefix, region) in settled.gone {
            self.classes.release((ProfileId::EMPTY, region.counted));
            if region.shown.is_some() {
                changes.blocks.extend(prefix.block().map(|block| (block, None)));
            }
        }
        for root in settled.roots {
            self.addresses.touch_all(root);
            regions.classify(
                root,
                |region| {
                    let pair = (ProfileId::EMPTY, region.profile);
                    let class = self.classes.acquire(pair, &self.profiles, &mut self.terms);
                    self.classes.release((ProfileId::EMPTY, region.counted));
                    (region.class, region.counted) = (class, region.profile);
                },
                |prefix, shown| changes.blocks.extend(prefix.block().map(|block| (block, shown))),
            );
        }
        self.terms.regions = regions;
    }

    /// The classes of addresses.
    fn match_addresses(&mut self, changes: &mut Changes) {
        for address in self.addresses.take_dirty() {
            let Some(known) = self.addresses.get(address) else { continue };
            let before = known.profiles;
            let claimed = !known.claims.is_empty();
            let (profile, around) = match self.terms.regions.of(address) {
                Some(region) => (region.profile, region.class),
                None => (ProfileId::EMPTY, ClassId::OTHER),
            };
            let pair =
                if claimed { (self.owner(address, &known.claims), profile) } else { Default::default() };
            let class = if pair == before {
                known.class
            } else {
                let class = self.classes.acquire(pair, &self.profiles, &mut self.terms);
                self.classes.release(before);
                class
            };
            let shown = (claimed && class != around).then_some(class);
            if claimed && (pair, shown) == (before, known.shown) {
                continue;
            }
            let Some(known) = self.addresses.get_mut(address) else { continue };
            if known.shown != shown {
                changes.classes.push((address, shown));
            }
            (known.profiles, known.class, known.shown) = (pair, class, shown);
            if !claimed {
                self.addresses.remove(address);
            }
        }
    }
}
