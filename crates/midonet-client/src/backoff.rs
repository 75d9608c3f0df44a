use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How long to wait after the failures of each key, such as a Translation's name: twice as long each time, with jitter,
/// up to a bound. It holds the keys that failed and did not succeed since.
#[derive(Debug)]
pub struct Backoff<K> {
    builder: ExponentialBuilder,
    max: Duration,
    keys: HashMap<K, ExponentialBackoff>,
}

impl<K: Eq + Hash> Backoff<K> {
    /// Waits of `min` to twice that at first, and never longer than `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        let builder = ExponentialBuilder::new().with_min_delay(min).with_max_delay(max).without_max_times();
        Self { builder: builder.with_jitter(), max, keys: HashMap::new() }
    }

    /// Notes a failure; returns how long to wait.
    pub fn failed(&mut self, key: K) -> Duration {
        let delays = self.keys.entry(key).or_insert_with(|| self.builder.build());
        delays.next().unwrap_or(self.max).min(self.max)
    }

    /// Notes that it succeeded or is gone.
    pub fn forget(&mut self, key: &K) {
        self.keys.remove(key);
    }

    /// How many keys failed and did not succeed since.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl<K: Eq + Hash> Default for Backoff<K> {
    /// Of 1 s up to 5 minutes.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_for_each_key_alone() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        let mut least = Duration::from_secs(1);
        for _ in 0..100 {
            let wait = backoff.failed("a");
            assert!(wait >= least && wait <= (least * 2).min(Duration::from_secs(20)), "{wait:?} {least:?}");
            least = (least * 2).min(Duration::from_secs(20));
        }
        assert!(backoff.failed("b") <= Duration::from_secs(2));
        assert_eq!(backoff.len(), 2);
        backoff.forget(&"a");
        assert!(backoff.failed("a") <= Duration::from_secs(2));
        backoff.forget(&"a");
        backoff.forget(&"b");
        assert!(backoff.is_empty());
    }

    #[test]
    fn two_keys_do_not_wait_alike() {
        let mut backoff = Backoff::default();
        let waits: std::collections::HashSet<_> = (0..50).map(|key| backoff.failed(key)).collect();
        assert!(waits.len() > 25, "{waits:?}");
    }
}
