//! What comes from watching.

use std::sync::Arc;

use objects::{Delta, Key};
use translation::{EndpointSlice, Node, ObjectKind, Owner, Pod, Service};

use super::Reconciler;
use crate::kinds::{Stored, Watched};
use crate::owner::Whose;
use crate::queue::Lane;

impl Reconciler {
    /// Changes of Nodes.
    pub fn nodes(&mut self, delta: &Delta<Watched<Node>>) {
        for node in &delta.deleted {
            self.translator.remove_node(&node.0.name);
        }
        for node in &delta.upserted {
            self.translator.set_node(node.0.clone());
        }
        self.sync(0, delta.synced);
    }

    /// Changes of Pods.
    pub fn pods(&mut self, delta: &Delta<Watched<Pod>>) {
        for pod in &delta.deleted {
            self.translator.remove_pod(&pod.0.key());
        }
        for pod in &delta.upserted {
            self.translator.set_pod(pod.0.clone());
        }
        self.sync(1, delta.synced);
    }

    /// Changes of Services.
    pub fn services(&mut self, delta: &Delta<Watched<Service>>) {
        for service in &delta.deleted {
            self.translator.remove_service(&service.0.key());
        }
        for service in &delta.upserted {
            self.translator.set_service(service.0.clone());
        }
        self.sync(2, delta.synced);
    }

    /// Changes of EndpointSlices.
    pub fn slices(&mut self, delta: &Delta<Watched<EndpointSlice>>) {
        for slice in &delta.deleted {
            self.translator.remove_slice(&slice.0.key());
        }
        for slice in &delta.upserted {
            self.translator.set_slice(slice.0.clone());
        }
        self.sync(3, delta.synced);
    }

    /// There are no Translations, and will be none.
    pub fn without_translations(&mut self) {
        self.sync(4, true);
    }

    /// What is wanted of the next owner that may have changed, for whoever does nothing about it.
    pub fn next_change(&mut self) -> Option<translation::Change> {
        self.translator.next_change()
    }

    /// All owners may have changed.
    pub fn mark_all(&mut self) {
        self.translator.mark_all();
    }

    /// The Nodes that this holds for.
    pub fn nodes_that(&self, holds: impl Fn(&Node) -> bool) -> Vec<Node> {
        self.translator.nodes().filter(|node| holds(node)).cloned().collect()
    }

    /// Changes of Translations, by whomever.
    pub fn translations(&mut self, delta: &Delta<Stored>) {
        for stored in &delta.deleted {
            let known = self.inventory.get(&stored.key);
            // Another one of its name may have been created meanwhile.
            if known.is_some_and(|known| known.uid == stored.uid) {
                self.gone(&stored.key);
            }
        }
        for stored in &delta.upserted {
            self.seen(stored);
        }
        self.sync(4, delta.synced);
    }

    /// A Translation as it is now, by a watch.
    fn seen(&mut self, stored: &Arc<Stored>) {
        if !self.inventory.upsert(Arc::clone(stored)) {
            return;
        }
        self.push(stored, Lane::Changed);
        if self.is_complete() {
            self.check(stored);
        }
    }

    /// There is no such Translation any more.
    pub(super) fn gone(&mut self, key: &Key) {
        let Some(stored) = self.inventory.remove(key) else { return };
        self.pushed.remove(key);
        self.pushes.forget(key);
        self.deletions.forget(key);
        if let Whose::Owner(owner) = Whose::of(&stored) {
            self.mark(&owner);
        }
    }

    /// Whoever a Translation belongs to is to see whether it is as it is wanted.
    fn check(&mut self, stored: &Stored) {
        match Whose::of(stored) {
            Whose::Unmanaged => {}
            Whose::Endpoints(service) => match self.translator.has_service(&service) {
                _ if !self.enabled.service => {}
                true => self.translator.mark(ObjectKind::Service, &service),
                false => self.delete(stored),
            },
            Whose::Owner(owner) => {
                if let Owner::Object(object) = &owner
                    && !self.enabled.owners(object.kind)
                {
                    return;
                }
                self.mark(&owner);
                if !self.translator.knows(&owner) {
                    self.delete(stored);
                }
            }
        }
    }

    /// An owner of this name is to be converted again.
    pub(super) fn mark(&mut self, owner: &Owner) {
        match owner {
            Owner::Globals => self.translator.mark_globals(),
            Owner::Object(object) => self.translator.mark(object.kind, &object.key),
        }
    }

    /// A Translation is to be deleted, unless it is wanted by then.
    pub(super) fn delete(&mut self, stored: &Stored) {
        if !stored.deleting {
            self.deletions.add(stored.key.clone(), Lane::Changed, 0);
        }
    }

    /// A kind was read from end to end. With the last of them, Translations are looked at whose owners are not there any more.
    fn sync(&mut self, kind: usize, synced: bool) {
        let was_complete = self.is_complete();
        if let (Some(place), Some(heard)) = (self.synced.get_mut(kind), self.heard.get_mut(kind)) {
            *place |= synced;
            *heard = true;
        }
        if !was_complete && self.is_complete() {
            let all: Vec<_> = self.inventory.iter().cloned().collect();
            for stored in all {
                self.check(&stored);
            }
        }
    }
}
