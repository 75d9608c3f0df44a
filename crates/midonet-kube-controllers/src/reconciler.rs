//! What is known and what is to be done: objects, Translations, and for each owner how far its Translations are. Pure: whoever
//! works asks what to do, and says what became of it.
//!
//! An owner goes through these steps: its wanted Translations are written; each is pushed to MidoNet; then it is settled, and
//! what it does not want is deleted, first what single Translations replaced, and the other Translations. So MidoNet gets what is
//! new before it loses what is old, whatever fails in between.

mod orders;
mod pushes;
mod retries;
mod watched;
mod writes;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use midonet_client::Backoff;
use objects::Key;
use translation::{Change, Owner, Problem, Translator};

use crate::inventory::Inventory;
use crate::kinds::Stored;
use crate::owner::{OwnerName, Whose};
use crate::queue::{Lane, Queue};

pub use orders::{Enabled, KINDS};
pub use pushes::{Push, Remove, Task, Trim};
pub use writes::{Job, Write, without_finalizer};

use retries::Retries;

/// Waits after failures: of the first, and the longest.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// What became of an owner's Translations.
#[derive(Debug)]
struct Progress {
    owner: Owner,
    wanted: BTreeSet<Key>,
    /// All were written.
    written: bool,
    /// The wanted ones that are not in MidoNet yet, with the content that is wanted.
    unpushed: HashMap<Key, u64>,
    settled: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Reconciler {
    translator: Translator,
    inventory: Inventory,
    enabled: Enabled,
    /// Which kinds were read from end to end.
    synced: [bool; KINDS],
    /// Of which kinds something was read, or nothing is there.
    heard: [bool; KINDS],
    /// Translations that are to be pushed or removed.
    pushes: Queue<Key>,
    /// Translations that are to be deleted from Kubernetes.
    deletions: Queue<Key>,
    /// Owners whose writing failed.
    retries: Retries,
    /// Owners that are being written, and what is to be done of them next.
    busy: HashMap<OwnerName, VecDeque<Change>>,
    /// Changes that the translator does not give.
    extra: VecDeque<Change>,
    owners: HashMap<OwnerName, Progress>,
    /// What MidoNet has: the UID of each Translation, and its content.
    pushed: HashMap<Key, (String, u64)>,
    problems: HashMap<OwnerName, Vec<Problem>>,
    /// How often they changed.
    problem_changes: u64,
    /// Where the last round of looking at everything again is.
    cursor: Option<Key>,
}

impl Reconciler {
    /// Nothing is known yet.
    pub fn new(tenant: &str, enabled: Enabled) -> Self {
        let [shortest, longest] = BACKOFF;
        Self {
            translator: Translator::new(tenant),
            inventory: Inventory::default(),
            enabled,
            synced: enabled.synced_from_the_start(),
            heard: enabled.synced_from_the_start(),
            pushes: Queue::new(shortest, longest),
            deletions: Queue::new(shortest, longest),
            retries: Retries::new(Backoff::new(shortest, longest)),
            busy: HashMap::new(),
            extra: VecDeque::new(),
            owners: HashMap::new(),
            pushed: HashMap::new(),
            problems: HashMap::new(),
            problem_changes: 0,
            cursor: None,
        }
    }

    /// Whether all objects were read: until then nothing is written or pushed.
    pub fn is_complete(&self) -> bool {
        self.synced.iter().all(|synced| *synced)
    }

    /// Whether something is known of all kinds, if not everything.
    pub fn has_heard_of_all(&self) -> bool {
        self.heard.iter().all(|heard| *heard)
    }

    /// The Translations.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What is wrong with objects now, by owner.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }

    /// How often what is wrong with objects changed.
    pub fn problem_changes(&self) -> u64 {
        self.problem_changes
    }

    /// What is to be done, in numbers.
    pub fn load(&self) -> Load {
        Load {
            translations: self.inventory.len(),
            pushed: self.pushed.len(),
            pushes: self.pushes.ready(),
            waiting: self.pushes.waiting(),
            failing: self.pushes.failing(),
            owners: self.translator.pending() + self.extra.len() + self.busy.len(),
            failing_owners: self.retries.len() + self.deletions.failing(),
        }
    }

    /// A Translation is to be pushed or removed.
    fn push(&mut self, stored: &Stored, lane: Lane) {
        if !self.enabled.pusher || (stored.deleting && !stored.has_finalizer()) {
            return;
        }
        if Whose::of(stored) == Whose::Unmanaged {
            return;
        }
        self.pushes.add(stored.key.clone(), lane, orders::rank(stored));
    }

    /// When something that waits is to be done.
    pub fn next_due(&self) -> Option<Instant> {
        [self.pushes.next_due(), self.deletions.next_due(), self.retries.next_due()]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What is to be done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// The Translations that there are.
    pub translations: usize,
    /// Those that MidoNet has.
    pub pushed: usize,
    /// Those that are to be pushed or removed now.
    pub pushes: usize,
    /// Those that are to be pushed or removed later, after a failure.
    pub waiting: usize,
    /// Those whose last push or removal failed.
    pub failing: usize,
    /// Owners whose Translations are to be converted or written.
    pub owners: usize,
    /// Owners and Translations whose last write failed.
    pub failing_owners: usize,
}

#[cfg(test)]
mod tests;
