//! Writing Translations: what is to be done of an owner, and what became of it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use midonet::Entry;
use objects::{Key, Written};
use serde_json::{Value, json};
use translation::{Change, CustomResource, Owner, Problem, Translation, Wanted};

use super::{Progress, Reconciler};
use crate::kinds::Stored;
use crate::owner::{OwnerName, Whose};
use crate::plan::{self, Step};
use crate::queue::Lane;

/// What somebody is to do.
#[derive(Debug)]
pub enum Job {
    /// See that an owner's Translations are as they are wanted.
    Owner(Change),
    /// Delete a Translation that nobody wants.
    Delete(Arc<Stored>),
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A new Translation.
    Create(Value),
    /// A merge patch of one.
    Change(Value),
}

impl Reconciler {
    /// What is to be done next, if anything is. [`Self::wrote_all`], [`Self::write_failed`] or [`Self::deleted`] ends it.
    pub fn next_job(&mut self, now: Instant) -> Option<Job> {
        if !self.is_complete() {
            return None;
        }
        while let Some(owner) = self.retries.due(now) {
            self.retry(owner);
        }
        while let Some(key) = self.deletions.take(now) {
            let stored = self.inventory.get(&key).cloned().filter(|stored| !stored.deleting);
            match stored.filter(|stored| !self.is_wanted(stored)) {
                Some(stored) => return Some(Job::Delete(stored)),
                None => self.deletions.done(&key),
            }
        }
        loop {
            let change = self.extra.pop_front().or_else(|| self.translator.next_change())?;
            let name = OwnerName::from(&change.owner);
            if let Owner::Object(object) = &change.owner
                && !self.enabled.owners(object.kind)
            {
                continue;
            }
            match self.busy.get_mut(&name) {
                // What is known of the same owner is out of date.
                Some(next) => {
                    next.retain(|other| other.owner != change.owner);
                    next.push_back(change);
                }
                None => {
                    self.busy.insert(name, VecDeque::new());
                    self.begin(&change);
                    return Some(Job::Owner(change));
                }
            }
        }
    }

    /// Notes what is wanted.
    fn begin(&mut self, change: &Change) {
        let name = OwnerName::from(&change.owner);
        self.note_problems(&name, &change.problems);
        let Wanted::Set(wanted) = &change.wanted else { return };
        let is_there = self.owners.get(&name).is_some_and(|progress| progress.owner != change.owner);
        // That one of the name is gone says nothing of the next one.
        if is_there && wanted.is_empty() && !self.translator.knows(&change.owner) {
            return;
        }
        let contents = wanted.iter().map(|one| (plan::key(one), content(one)));
        let contents: HashMap<Key, u64> = contents.collect();
        let unpushed = contents.iter().filter(|(key, content)| !self.has_pushed(key, **content));
        let unpushed = unpushed.map(|(key, content)| (key.clone(), *content)).collect();
        let wanted: BTreeSet<Key> = contents.into_keys().collect();
        let owner = change.owner.clone();
        let progress = Progress { owner, wanted, written: false, unpushed, settled: false };
        self.owners.insert(name, progress);
    }

    fn note_problems(&mut self, name: &OwnerName, problems: &[Problem]) {
        let known = self.problems.get(name).map(Vec::as_slice).unwrap_or_default();
        if known == problems {
            return;
        }
        self.problem_changes += 1;
        if problems.is_empty() {
            self.problems.remove(name);
        } else {
            self.problems.insert(name.clone(), problems.to_vec());
        }
    }

    /// What is to be written of a wanted Translation; `None`: nothing, now.
    pub fn write_of(&self, wanted: &Translation) -> Option<Write> {
        let known = self.inventory.get(&plan::key(wanted));
        match plan::step(wanted, known.map(AsRef::as_ref)) {
            Step::Nothing | Step::Wait => None,
            Step::Create => {
                let object = serde_json::to_value(CustomResource::from(wanted)).unwrap_or_default();
                Some(Write::Create(object))
            }
            Step::Change(patch) => Some(Write::Change(patch)),
        }
    }

    /// A Translation was written so. The watch tells of it, too, but later.
    pub fn wrote(&mut self, wanted: &Translation, written: &Written) {
        let key = plan::key(wanted);
        let CustomResource { metadata, resources, .. } = CustomResource::from(wanted);
        let known = self.inventory.get(&key).filter(|known| known.uid == written.uid);
        let replaced = known.map_or_else(Box::default, |known| plan::replaced(known, wanted));
        let others = known.map(|known| known.finalizers.clone()).unwrap_or_default();
        let ours = metadata.finalizers.into_iter().filter(|finalizer| !others.contains(finalizer));
        let ours: Vec<String> = ours.collect();
        let stored = Arc::new(Stored {
            key,
            uid: written.uid.clone(),
            version: written.resource_version.clone(),
            owner: plan::owned_by(&wanted.owner),
            reference: metadata.owner_references.into_iter().next(),
            finalizers: others.into_iter().chain(ours).collect(),
            deleting: written.deletion_timestamp.is_some(),
            resources: resources.into(),
            replaced,
        });
        if self.inventory.upsert(Arc::clone(&stored)) {
            self.push(&stored, Lane::Changed);
        }
    }

    /// All Translations of an owner are written.
    pub fn wrote_all(&mut self, change: &Change) {
        let name = OwnerName::from(&change.owner);
        self.retries.succeeded(&name);
        if matches!(change.wanted, Wanted::Set(_)) {
            match self.owners.get_mut(&name).filter(|progress| progress.owner == change.owner) {
                Some(progress) => progress.written = true,
                // It is gone, and another one has its name.
                None => self.drop_stale(&change.owner, &BTreeSet::new()),
            }
            self.settle(&name);
        }
        self.end(&name);
    }

    /// Not all of them could be written.
    pub fn write_failed(&mut self, change: &Change, now: Instant) {
        self.retries.failed(&change.owner, now);
        self.end(&OwnerName::from(&change.owner));
    }

    /// An owner's writing ended; what is to be done of it next is done next.
    fn end(&mut self, name: &OwnerName) {
        self.extra.extend(self.busy.remove(name).into_iter().flatten());
    }

    fn retry(&mut self, owner: Owner) {
        self.mark(&owner);
        if !self.translator.knows(&owner) {
            self.extra.push_back(Change { owner, wanted: Wanted::Set(Vec::new()), problems: Vec::new() });
        }
    }

    /// The Translation's deletion was asked for, or failed.
    pub fn deleted(&mut self, key: &Key, ok: bool, now: Instant) {
        if ok { self.deletions.done(key) } else { self.deletions.failed(key, now) }
    }

    /// Whether its owner wants it.
    fn is_wanted(&self, stored: &Stored) -> bool {
        let Whose::Owner(owner) = Whose::of(stored) else { return false };
        let progress = self.owners.get(&OwnerName::from(&owner));
        progress.is_some_and(|progress| progress.owner == owner && progress.wanted.contains(&stored.key))
    }

    /// Whether MidoNet has this content of a Translation.
    fn has_pushed(&self, key: &Key, content: u64) -> bool {
        if !self.enabled.pusher {
            return true;
        }
        let known = self.inventory.get(key);
        let pushed = self.pushed.get(key);
        pushed.zip(known).is_some_and(|((uid, pushed), known)| *pushed == content && *uid == known.uid)
    }

    /// If all that is wanted is written and pushed, what is not wanted goes.
    pub(super) fn settle(&mut self, name: &OwnerName) {
        let Some(progress) = self.owners.get_mut(name) else { return };
        if !progress.written || !progress.unpushed.is_empty() {
            return;
        }
        progress.settled = true;
        let (owner, wanted) = (progress.owner.clone(), progress.wanted.clone());
        for key in &wanted {
            let replaced = self.inventory.get(key).filter(|stored| !stored.replaced.is_empty()).cloned();
            if let Some(stored) = replaced {
                self.push(&stored, Lane::Changed);
            }
        }
        if wanted.is_empty() {
            self.owners.remove(name);
        }
        self.drop_stale(&owner, &wanted);
    }

    fn drop_stale(&mut self, owner: &Owner, wanted: &BTreeSet<Key>) {
        for key in plan::stale(owner, wanted, &self.inventory) {
            self.deletions.add(key, Lane::Changed, 0);
        }
    }
}

fn content(translation: &Translation) -> u64 {
    let entries: Vec<Entry> = translation.resources.iter().map(Entry::from).collect();
    plan::content(&entries)
}

/// The patch that takes away the finalizer of this version of a Translation.
pub fn without_finalizer(stored: &Stored) -> Value {
    let others: Vec<&String> =
        stored.finalizers.iter().filter(|finalizer| *finalizer != translation::FINALIZER).collect();
    json!({"metadata": {"resourceVersion": stored.version, "finalizers": others}})
}
