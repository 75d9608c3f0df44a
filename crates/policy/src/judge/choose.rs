//! Which sets this node's Pods have.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Judge;
use crate::hash::Map;
use crate::pods::HolderId;
use crate::profiles::ProfileId;
use crate::side::SideId;
use crate::subject::Subject;
use crate::tables::{Changes, LocalId, SetId};
use crate::weight;

/// What applied to Pods before. Those that were closed are not here.
pub(super) type Former = BTreeMap<LocalId, Subject>;

impl Judge {
    /// Chooses sets for Pods to which something else may apply. What new sets ask is known before what old ones asked is
    /// forgotten: what both ask stays as it is.
    pub(super) fn choose_sets(&mut self, changes: &mut Changes) -> Former {
        let mut former = Former::new();
        let mut old = Vec::new();
        for id in self.locals.take_dirty() {
            let (set, withheld) = self.choose_set(id);
            let Some(local) = self.locals.get_mut(id) else { continue };
            local.withheld = withheld;
            let before = local.set.replace(set);
            if let Some(before) = before
                && before != set
                && let Some(subject) = self.sets.subject(before)
            {
                former.insert(id, subject);
            }
            old.extend(before);
        }
        for set in old {
            self.sets.release(set);
        }
        self.sets.bury(&mut self.terms, &mut self.classes, changes);
        former
    }

    /// The set of a Pod, acquired, and whether it is another one than that which applies.
    fn choose_set(&mut self, id: LocalId) -> (SetId, bool) {
        let local = self.locals.get(id);
        let holder = local.and_then(|local| self.pods.get(local.holder?));
        let Some(holder) = holder else { return (SetId::CLOSED, false) };
        let Some(subject) = Subject::of(&holder.pod, &self.policies, &self.namespaces) else {
            return (SetId::CLOSED, false);
        };
        if !self.is_refused(&subject) {
            return (self.sets.acquire(subject, &mut self.terms), false);
        }
        let before = local.and_then(|local| local.set).unwrap_or(SetId::CLOSED);
        self.sets.acquire_again(before);
        (before, true)
    }

    fn is_refused(&self, subject: &Subject) -> bool {
        let mut sides = subject.sides.ingress.iter().chain(&subject.sides.egress);
        sides.any(|side| self.refused.contains_key(&side.id))
    }

    /// Refuses what is too much, until the rest fits. Pods that it applies to have what applied to them before; those that
    /// are new, or had it before already, are closed.
    pub(super) fn refuse_too_much(
        &mut self,
        mut former: Former,
        moved: &mut Map<HolderId, ProfileId>,
        changes: &mut Changes,
    ) {
        let more_kinds = self.kinds.len() > 2 * self.weighed;
        if self.sets.fresh.is_empty() && !more_kinds {
            return;
        }
        self.weighed = self.kinds.len();
        while !weight::fits(self.limit, &self.sets, &self.terms, &self.kinds, &self.addresses) {
            let Some(side) = weight::heaviest(&self.sets) else { return };
            self.refuse(side, &mut former, changes);
            self.sign_pods(moved);
        }
    }

    fn refuse(&mut self, side: SideId, former: &mut Former, changes: &mut Changes) {
        let has = |set: SetId| self.sets.all.get(&set).filter(|set| set.has(side));
        let concerned = self.locals.iter().filter_map(|(id, local)| Some((id, local.set?, has(local.set?)?)));
        let concerned: Vec<_> = concerned.collect();
        let parts = concerned.iter().flat_map(|(.., set)| set.sides.ingress.iter().chain(&set.sides.egress));
        let refused = parts.into_iter().find(|part| part.id == side).map(Arc::clone);
        let concerned: Vec<(LocalId, SetId)> = concerned.into_iter().map(|(id, set, _)| (id, set)).collect();
        self.refused.extend(refused.map(|refused| (side, refused)));
        for (id, set) in concerned {
            let before = former.remove(&id).filter(|before| !self.is_refused(before));
            let before = before.map_or(SetId::CLOSED, |before| self.sets.acquire(before, &mut self.terms));
            self.sets.release(set);
            if let Some(local) = self.locals.get_mut(id) {
                (local.set, local.withheld) = (Some(before), true);
            }
        }
        self.sets.bury(&mut self.terms, &mut self.classes, changes);
    }

    /// Policies changed: what was too much may fit now.
    pub(super) fn try_again(&mut self) {
        if !self.refused.is_empty() {
            self.refused.clear();
            self.locals.touch_if(|local| local.withheld);
        }
    }

    /// Tells which sets Pods have.
    pub(super) fn tell_sets(&mut self, changes: &mut Changes) {
        for (id, local) in self.locals.iter_mut() {
            if let Some(set) = local.set
                && local.told != Some(set)
            {
                local.told = Some(set);
                changes.pods.push((id, set));
            }
        }
    }
}
