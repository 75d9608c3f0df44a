//! Owners whose writing failed.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use midonet_client::Backoff;
use translation::Owner;

use crate::owner::OwnerName;

/// Owners whose writing failed, and when it is to be tried again.
#[derive(Debug)]
pub(super) struct Retries {
    backoff: Backoff<OwnerName>,
    order: BTreeSet<(Instant, OwnerName)>,
    owners: HashMap<OwnerName, (Instant, Owner)>,
}

impl Retries {
    pub(super) fn new(backoff: Backoff<OwnerName>) -> Self {
        Self { backoff, order: BTreeSet::new(), owners: HashMap::new() }
    }

    pub(super) fn failed(&mut self, owner: &Owner, now: Instant) {
        let name = OwnerName::from(owner);
        let at = now + self.backoff.failed(name.clone());
        self.take(&name);
        self.order.insert((at, name.clone()));
        self.owners.insert(name, (at, owner.clone()));
    }

    pub(super) fn succeeded(&mut self, name: &OwnerName) {
        self.take(name);
        self.backoff.forget(name);
    }

    /// One whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<Owner> {
        let (_, name) = self.order.first().filter(|(at, _)| *at <= now)?.clone();
        self.take(&name)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.backoff.len()
    }

    fn take(&mut self, name: &OwnerName) -> Option<Owner> {
        let (at, owner) = self.owners.remove(name)?;
        self.order.remove(&(at, name.clone()));
        Some(owner)
    }
}
