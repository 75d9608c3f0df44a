//! What is to be done next, of things that each have a name. Pure: whoever asks says what time it is.
//!
//! Everything is in here once, however often it is added, so that the queue is no longer than there are names. One that is being
//! worked on and added meanwhile is worked on again afterwards, never twice at a time. What fails waits, alone, for longer each
//! time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use midonet_client::Backoff;

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Something changed. One of a higher rank is not begun while one of a lower rank is under way.
    Changed,
    /// It is looked at again, whenever nothing else is to be done.
    Again,
}

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready { lane: Lane, rank: u8, order: u64 },
    Later { at: Instant, lane: Lane, rank: u8 },
    Running { lane: Lane, rank: u8, again: Option<(Lane, u8)> },
}

/// What was under way: its lane and rank, and those that were added meanwhile.
type Ended = (Lane, u8, Option<(Lane, u8)>);

/// The queue.
#[derive(Debug)]
pub struct Queue<K> {
    places: HashMap<K, Place>,
    ready: BTreeSet<(Lane, u8, u64, K)>,
    later: BTreeSet<(Instant, K)>,
    /// How many of each rank are under way, of those that changed.
    running: BTreeMap<u8, usize>,
    backoff: Backoff<K>,
    /// How many were put in so far.
    order: u64,
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Who fails waits at first for the first time, and for the second at most.
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            places: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            running: BTreeMap::new(),
            backoff: Backoff::new(shortest, longest),
            order: 0,
        }
    }

    /// It is to be done, of this rank: lower ones come first. What waits after a failure is done at once if it changed.
    pub fn add(&mut self, key: K, lane: Lane, rank: u8) {
        let place = match self.places.get(&key).copied() {
            None => self.insert(&key, lane, rank),
            Some(Place::Later { lane: old, .. }) => {
                if lane == Lane::Again {
                    return;
                }
                self.take_out(&key);
                self.insert(&key, lane.min(old), rank)
            }
            Some(Place::Ready { lane: old, rank: old_rank, order }) => {
                if (lane, rank) >= (old, old_rank) {
                    return;
                }
                self.take_out(&key);
                let (lane, rank) = (lane, rank).min((old, old_rank));
                self.ready.insert((lane, rank, order, key.clone()));
                Place::Ready { lane, rank, order }
            }
            Some(Place::Running { lane: old, rank: old_rank, again }) => {
                let again = again.map_or((lane, rank), |again| again.min((lane, rank)));
                Place::Running { lane: old, rank: old_rank, again: Some(again) }
            }
        };
        self.places.insert(key, place);
    }

    /// The next to be done now. It is under way until [`Self::done`], [`Self::failed`] or [`Self::postpone`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        self.wake(now);
        let (lane, rank, _, key) = self.ready.first()?.clone();
        let lowest = self.running.keys().next();
        if lane == Lane::Changed && lowest.is_some_and(|lowest| *lowest < rank) {
            return None;
        }
        self.take_out(&key);
        if lane == Lane::Changed {
            *self.running.entry(rank).or_default() += 1;
        }
        self.places.insert(key.clone(), Place::Running { lane, rank, again: None });
        Some(key)
    }

    /// It is done.
    pub fn done(&mut self, key: &K) {
        self.backoff.forget(key);
        if let Some((_, _, Some((lane, rank)))) = self.end(key) {
            self.add(key.clone(), lane, rank);
        }
    }

    /// It failed: it is done again later, or at once if it changed meanwhile.
    pub fn failed(&mut self, key: &K, now: Instant) {
        let wait = self.backoff.failed(key.clone());
        self.end_until(key, now + wait);
    }

    /// It is done again after this time, for a reason that is not its own, or at once if it changed meanwhile.
    pub fn postpone(&mut self, key: &K, now: Instant, wait: Duration) {
        self.end_until(key, now + wait);
    }

    /// It is not to be done any more. What is under way ends by itself.
    pub fn forget(&mut self, key: &K) {
        match self.places.get(key).copied() {
            Some(Place::Running { lane, rank, .. }) => {
                self.places.insert(key.clone(), Place::Running { lane, rank, again: None });
            }
            Some(_) => {
                self.take_out(key);
                self.places.remove(key);
            }
            None => {}
        }
        self.backoff.forget(key);
    }

    /// When something that waits is to be done.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// How many are to be done now.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many wait for a time.
    pub fn waiting(&self) -> usize {
        self.later.len()
    }

    /// How many there are in all.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing is to be done, now or later, or under way.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many failed and did not succeed since.
    pub fn failing(&self) -> usize {
        self.backoff.len()
    }

    fn insert(&mut self, key: &K, lane: Lane, rank: u8) -> Place {
        self.order += 1;
        self.ready.insert((lane, rank, self.order, key.clone()));
        Place::Ready { lane, rank, order: self.order }
    }

    /// Out of what is ordered, not out of the places.
    fn take_out(&mut self, key: &K) {
        match self.places.get(key).copied() {
            Some(Place::Ready { lane, rank, order }) => {
                self.ready.remove(&(lane, rank, order, key.clone()));
            }
            Some(Place::Later { at, .. }) => {
                self.later.remove(&(at, key.clone()));
            }
            _ => {}
        }
    }

    /// What waited until now is ready.
    fn wake(&mut self, now: Instant) {
        while let Some((at, key)) = self.later.first().filter(|(at, _)| *at <= now).cloned() {
            self.later.remove(&(at, key.clone()));
            if let Some(Place::Later { lane, rank, .. }) = self.places.get(&key).copied() {
                let place = self.insert(&key, lane, rank);
                self.places.insert(key, place);
            }
        }
    }

    /// It is no longer under way.
    fn end(&mut self, key: &K) -> Option<Ended> {
        let Some(Place::Running { lane, rank, again }) = self.places.get(key).copied() else { return None };
        self.places.remove(key);
        if lane == Lane::Changed
            && let Some(count) = self.running.get_mut(&rank)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.running.remove(&rank);
            }
        }
        Some((lane, rank, again))
    }

    fn end_until(&mut self, key: &K, at: Instant) {
        match self.end(key) {
            None => {}
            Some((_, _, Some((lane @ Lane::Changed, rank)))) => self.add(key.clone(), lane, rank),
            Some((lane, rank, _)) => {
                self.later.insert((at, key.clone()));
                self.places.insert(key.clone(), Place::Later { at, lane, rank });
            }
        }
    }
}

#[cfg(test)]
mod tests;
