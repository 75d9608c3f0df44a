//! Ports of this node that come and go.

use super::Judge;
use crate::addresses::Claimant;
use crate::pods::HolderId;
use crate::tables::{LocalId, LocalPod};

impl Judge {
    /// A Pod of this node has a port, or its port is another Pod's.
    pub fn set_local(&mut self, id: LocalId, pod: LocalPod) {
        let known = self.locals.get(id).map(|local| (local.pod == pod, local.holder));
        if known.is_some_and(|(same, _)| same) {
            return;
        }
        let key = pod.key.clone();
        let new = pod.addresses.clone();
        // The port may be the same Pod's, whose object may exist no more.
        let kept = known.and_then(|(_, holder)| holder);
        let before = self.locals.remove(id);
        let old = before.as_ref().map_or(&[][..], |before| &before.pod.addresses);
        self.locals.insert(id, pod);
        for address in old.iter().filter(|address| !new.contains(address)) {
            self.addresses.unclaim(*address, Claimant::Local(id));
        }
        for address in new {
            self.addresses.claim(address, Claimant::Local(id));
            self.addresses.touch(address);
        }
        if let (Some(local), Some(before)) = (self.locals.get_mut(id), &before) {
            (local.set, local.told) = (before.set, before.told);
        }
        let candidates = [self.pods.find(&key), kept];
        let is_own = |candidate: &HolderId| {
            let holder = self.pods.get(*candidate);
            let local = self.locals.get(id);
            holder.zip(local).is_some_and(|(holder, local)| local.is(&holder.pod))
        };
        let own = candidates.into_iter().flatten().find(is_own);
        if let Some(own) = own {
            self.link(id, own);
        }
        if let Some(kept) = kept.filter(|kept| Some(*kept) != own) {
            self.unlink(id, kept);
        }
    }

    /// A Pod's port is gone.
    pub fn unset_local(&mut self, id: LocalId) {
        let Some(local) = self.locals.remove(id) else { return };
        for address in &local.pod.addresses {
            self.addresses.unclaim(*address, Claimant::Local(id));
        }
        if let Some(holder) = local.holder {
            self.unlink(id, holder);
        }
        if let Some(set) = local.set {
            self.sets.release(set);
        }
    }

    /// A port is that of the Pod with this object.
    pub(super) fn link(&mut self, id: LocalId, holder: HolderId) {
        let Some(local) = self.locals.get_mut(id) else { return };
        let before = local.holder.replace(holder);
        if let Some(known) = self.pods.get_mut(holder)
            && !known.locals.contains(&id)
        {
            known.locals.push(id);
        }
        if before == Some(holder) {
            return;
        }
        self.touch_port(id);
        if let Some(before) = before {
            self.unlink(id, before);
        }
    }

    fn unlink(&mut self, id: LocalId, holder: HolderId) {
        if let Some(known) = self.pods.get_mut(holder) {
            known.locals.retain(|local| *local != id);
        }
        self.drop_unused(holder);
    }

    /// The Pod of these ports is something else.
    pub(super) fn touch_ports(&mut self, holder: HolderId) {
        let locals = self.pods.get(holder).map(|holder| holder.locals.clone()).unwrap_or_default();
        for local in locals {
            self.touch_port(local);
        }
    }

    fn touch_port(&mut self, id: LocalId) {
        self.locals.touch(id);
        for address in self.locals.get(id).iter().flat_map(|local| &local.pod.addresses) {
            self.addresses.touch(*address);
        }
    }
}
