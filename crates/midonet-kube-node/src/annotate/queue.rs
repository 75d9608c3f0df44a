use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naming::PodKey;
use objects::PodRef;

use super::Annotations;

/// The first wait after a failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What waits to be written, at most one entry a Pod: a newer one replaces it.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    entries: BTreeMap<PodKey, Entry>,
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    work: Work,
    failures: u32,
    /// `None` while it is being written.
    due: Option<Instant>,
}

/// One write.
#[derive(Debug, Clone)]
pub struct Work {
    /// The Pod's key, for the log and the queue.
    pub key: PodKey,
    /// The Pod.
    pub pod: PodRef,
    /// What it gets.
    pub annotations: Annotations,
    generation: u64,
}

/// There is no space for another Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("annotations of {0} Pods wait already: the API server does not take them; see the log for why")]
pub struct Full(usize);

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: BTreeMap::new(), generation: 0 }
    }

    pub(super) fn push(&mut self, pod: PodRef, annotations: Annotations, due: Instant) -> Result<(), Full> {
        let key = PodKey::new(&pod.namespace, &pod.name);
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            return Err(Full(self.capacity));
        }
        self.generation += 1;
        let work = Work { key: key.clone(), pod, annotations, generation: self.generation };
        self.entries.insert(key, Entry { work, failures: 0, due: Some(due) });
        Ok(())
    }

    /// The next write that is due; it stays in the queue until it is [`done`](Self::done).
    pub(super) fn take(&mut self, now: Instant) -> Option<Work> {
        let entry = self
            .entries
            .values_mut()
            .filter(|e| e.due.is_some_and(|due| due <= now))
            .min_by_key(|e| e.due)?;
        entry.due = None;
        Some(entry.work.clone())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// A write came to its end; a newer one for the same Pod stays.
    pub(super) fn done(&mut self, work: &Work) {
        if self.entry(work).is_some() {
            self.entries.remove(&work.key);
        }
    }

    /// A write failed: it is due again after a wait, which is returned.
    pub(super) fn failed(&mut self, work: &Work, now: Instant, asked: Option<Duration>) -> Option<Duration> {
        let entry = self.entry(work)?;
        let doubled = FIRST_WAIT.saturating_mul(1u32.checked_shl(entry.failures).unwrap_or(u32::MAX));
        let wait = asked.unwrap_or_default().max(doubled).min(LONGEST_WAIT);
        entry.failures = entry.failures.saturating_add(1);
        entry.due = Some(now + wait);
        Some(wait)
    }

    pub(super) fn remove(&mut self, pod: &PodKey) {
        self.entries.remove(pod);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, work: &Work) -> Option<&mut Entry> {
        self.entries.get_mut(&work.key).filter(|entry| entry.work.generation == work.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodRef {
        PodRef { namespace: "default".into(), name: name.into(), uid: None }
    }

    fn queue(names: &[&str], now: Instant) -> Queue {
        let mut queue = Queue::new(2);
        for name in names {
            queue.push(pod(name), Annotations::new(), now).unwrap();
        }
        queue
    }

    #[test]
    fn a_failure_waits_longer_each_time_but_never_for_ever() {
        let now = Instant::now();
        let mut queue = queue(&["a"], now);
        let mut waits = Vec::new();
        for _ in 0..40 {
            let due = queue.next_due().unwrap();
            let work = queue.take(due).unwrap();
            assert!(queue.take(due).is_none(), "it is being written");
            waits.push(queue.failed(&work, due, None).unwrap());
        }
        assert_eq!(waits[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(waits[39], LONGEST_WAIT);
    }

    #[test]
    fn the_server_may_ask_for_more_patience() {
        let now = Instant::now();
        let mut queue = queue(&["a"], now);
        let work = queue.take(now).unwrap();
        assert_eq!(queue.failed(&work, now, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert!(queue.take(now + Duration::from_secs(6)).is_none());
        assert!(queue.take(now + Duration::from_secs(7)).is_some());
    }

    #[test]
    fn what_is_newer_is_not_taken_for_done() {
        let now = Instant::now();
        let mut queue = queue(&["a"], now);
        let old = queue.take(now).unwrap();
        queue.push(pod("a"), Annotations::from([("k".into(), None)]), now).unwrap();
        queue.done(&old);
        assert_eq!(queue.failed(&old, now, None), None);
        let new = queue.take(now).unwrap();
        assert_eq!(new.annotations.len(), 1);
        queue.done(&new);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn is_bounded_but_always_takes_news_of_a_pod_it_has() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b"], now);
        assert_eq!(queue.push(pod("c"), Annotations::new(), now), Err(Full(2)));
        queue.push(pod("b"), Annotations::new(), now).unwrap();
        queue.remove(&PodKey::new("default", "a"));
        queue.push(pod("c"), Annotations::new(), now).unwrap();
    }
}
