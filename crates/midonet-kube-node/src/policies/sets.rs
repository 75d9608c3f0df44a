//! The sets of this node's Pods.

use std::collections::BTreeMap;

use policy::{Changes, Judge, LocalId, SetId};

use super::locals::{Local, Locals};
use super::objects::Objects;

/// The sets, as they were last handed over.
///
/// Of a Pod whose object is not known the judge does not know what applies. Where nothing applies to any Pod of its
/// namespace, it is open all the same: in a cluster without policies, no ADD waits for a Pod's object.
#[derive(Debug, Default)]
pub(super) struct Sets(BTreeMap<LocalId, SetId>);

impl Sets {
    /// The sets as they are by now. The changes get those that differ, or all of them.
    pub(super) fn update(
        &mut self,
        judge: &Judge,
        locals: &Locals,
        objects: &Objects,
        changes: &mut Changes,
        all: bool,
    ) {
        let now: BTreeMap<_, _> =
            locals.iter().map(|(id, local)| (id, set_of(judge, objects, id, local))).collect();
        let differs = |(id, set): &(&LocalId, &SetId)| all || self.0.get(*id) != Some(*set);
        changes.pods = now.iter().filter(differs).map(|(id, set)| (*id, *set)).collect();
        self.0 = now;
    }

    /// Whether no policy applies to any port.
    pub(super) fn are_open(&self) -> bool {
        self.0.values().all(|set| *set == SetId::OPEN)
    }

    /// The set of a port.
    pub(super) fn get(&self, id: LocalId) -> Option<SetId> {
        self.0.get(&id).copied()
    }
}

/// The set that a port should have, by what is known.
pub(super) fn set_of(judge: &Judge, objects: &Objects, id: LocalId, local: &Local) -> SetId {
    match judge.set_of(id) {
        Some(set) if set != SetId::CLOSED => set,
        _ if objects.apply_to_nobody_in(local.namespace.as_deref()) => SetId::OPEN,
        _ => SetId::CLOSED,
    }
}
