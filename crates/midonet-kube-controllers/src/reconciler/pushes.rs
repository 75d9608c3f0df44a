//! Pushing Translations: what is to be done of one, and what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use midonet::{EntryError, Resource};
use midonet_client::Report;
use objects::Key;
use translation::Owner;

use super::Reconciler;
use crate::inventory::readable;
use crate::kinds::{OwnedBy, Stored};
use crate::owner::{OwnerName, Whose};
use crate::plan;
use crate::queue::Lane;

/// A Translation that is to be pushed.
#[derive(Debug)]
pub struct Push {
    /// The Translation.
    pub stored: Arc<Stored>,
    /// Its resources, or what is wrong with one of them.
    pub resources: Result<Vec<Resource>, EntryError>,
    /// Whether MidoNet has it, as far as is known.
    pub is_pushed: bool,
}

/// A Translation that is being deleted.
#[derive(Debug)]
pub struct Remove {
    /// The Translation.
    pub stored: Arc<Stored>,
    /// What MidoNet is to have no more: what no other Translation wants.
    pub resources: Vec<Resource>,
}

/// A Translation that replaced some of its resources.
#[derive(Debug)]
pub struct Trim {
    /// What MidoNet is to have no more.
    pub resources: Vec<Resource>,
}

/// What is to be done of a Translation.
#[derive(Debug)]
pub enum Task {
    /// See [`Push`].
    Push(Push),
    /// See [`Remove`].
    Remove(Remove),
}

impl Reconciler {
    /// What is to be pushed or removed next, if anything is; [`Self::push_done`], [`Self::push_failed`] or
    /// [`Self::push_postponed`] ends it.
    pub fn next_push(&mut self, now: Instant) -> Option<Task> {
        if !self.is_complete() {
            return None;
        }
        loop {
            let key = self.pushes.take(now)?;
            let Some(stored) = self.inventory.get(&key).cloned() else {
                self.pushes.done(&key);
                continue;
            };
            if !stored.deleting {
                let is_pushed = self.has_content(&stored);
                let resources = stored.resources.iter().map(Resource::try_from).collect();
                return Some(Task::Push(Push { stored, resources, is_pushed }));
            }
            if !stored.has_finalizer() {
                self.pushes.done(&key);
                continue;
            }
            let all = [&*stored.resources, &*stored.replaced].concat();
            let resources = self.inventory.unclaimed(readable(&all));
            return Some(Task::Remove(Remove { stored, resources }));
        }
    }

    fn has_content(&self, stored: &Stored) -> bool {
        let content = plan::content(&stored.resources);
        self.pushed.get(&stored.key).is_some_and(|(uid, pushed)| *uid == stored.uid && *pushed == content)
    }

    /// MidoNet has a Translation's resources, after these changes. What is to be removed of it now, if anything is.
    pub fn pushed(&mut self, stored: &Stored, report: &Report) -> Option<Trim> {
        let content = plan::content(&stored.resources);
        self.pushed.insert(stored.key.clone(), (stored.uid.clone(), content));
        if report.created + report.replaced > 0 {
            // What is made anew has nothing in it.
            self.again(self.inventory.dependent_on(&stored.key));
        }
        let owner = match Whose::of(stored) {
            Whose::Owner(owner) => owner,
            Whose::Endpoints(_) | Whose::Unmanaged => return None,
        };
        let name = OwnerName::from(&owner);
        if let Some(progress) = self.owners.get_mut(&name)
            && progress.unpushed.get(&stored.key) == Some(&content)
        {
            progress.unpushed.remove(&stored.key);
            self.settle(&name);
        }
        self.trim(stored, &owner)
    }

    /// What a Translation replaced goes once its owner is settled.
    fn trim(&self, stored: &Stored, owner: &Owner) -> Option<Trim> {
        let progress = self.owners.get(&OwnerName::from(owner))?;
        if stored.replaced.is_empty() || !progress.settled || progress.owner != *owner {
            return None;
        }
        let resources = self.inventory.unclaimed(readable(&stored.replaced));
        Some(Trim { resources })
    }

    /// MidoNet has nothing of a Translation any more.
    pub fn removed(&mut self, stored: &Stored) {
        self.pushed.remove(&stored.key);
        // What went with its devices and is wanted all the same.
        self.again(self.inventory.dependent_on(&stored.key));
    }

    /// Translations that MidoNet had are to be pushed again.
    fn again(&mut self, keys: Vec<Key>) {
        for key in keys {
            if self.pushed.remove(&key).is_some()
                && let Some(stored) = self.inventory.get(&key).cloned()
            {
                self.push(&stored, Lane::Changed);
            }
        }
    }

    /// A push or removal is done.
    pub fn push_done(&mut self, key: &Key) {
        self.pushes.done(key);
    }

    /// It failed: it is tried again, later each time. `missing`: what it belongs to is not in MidoNet.
    pub fn push_failed(&mut self, key: &Key, missing: bool, now: Instant) {
        self.pushes.failed(key, now);
        if missing {
            let makers = self.inventory.needed_by(key);
            self.again(makers);
        }
    }

    /// It is tried again soon, for it failed for a reason that is not its own.
    pub fn push_postponed(&mut self, key: &Key, wait: Duration, now: Instant) {
        self.pushes.postpone(key, now, wait);
    }

    /// Looks again at the next Translations in the order of names: MidoNet may have lost some. `count` at most.
    pub fn look_again(&mut self, count: usize) {
        let mut keys = self.inventory.after(self.cursor.as_ref(), count);
        if keys.len() < count {
            self.cursor = None;
            let begin = self.inventory.after(None, count - keys.len());
            keys.extend(begin);
        }
        self.cursor = keys.last().cloned();
        for key in keys {
            if let Some(stored) = self.inventory.get(&key).cloned() {
                self.push(&stored, Lane::Again);
            }
        }
    }

    /// MidoNet has lost everything: all is to be pushed again.
    pub fn lost(&mut self) {
        self.pushed.clear();
        let all: Vec<_> = self.inventory.iter().cloned().collect();
        for stored in all {
            self.push(&stored, Lane::Changed);
        }
    }

    /// The globals' resources without parents, if MidoNet is known to have them: when one of them is not there, MidoNet has
    /// lost everything.
    pub fn landmarks(&self) -> Vec<Resource> {
        let globals = self.inventory.of(&OwnedBy::Globals).filter(|stored| self.has_content(stored));
        let resources = globals.flat_map(|stored| readable(&stored.resources));
        resources.filter(|resource| resource.parent.is_none()).collect()
    }
}
