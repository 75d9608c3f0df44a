//! A token bucket.

use std::time::{Duration, Instant};

/// A bucket that starts full. Its level is kept as the time at which it is full again.
#[derive(Debug)]
pub(super) struct Bucket {
    /// How long it takes until there is another token.
    interval: Duration,
    /// How long it takes to fill it.
    whole: Duration,
    full: Option<Instant>,
}

impl Bucket {
    /// A bucket of so many tokens, which gets another one after each interval.
    pub(super) fn new(tokens: u32, interval: Duration) -> Self {
        Self { interval, whole: interval.saturating_mul(tokens), full: None }
    }

    /// Takes a token. Whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full = self.full.map_or(now, |full| full.max(now)) + self.interval;
        let there_was = full.saturating_duration_since(now) <= self.whole;
        if there_was {
            self.full = Some(full);
        }
        there_was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many there are at this time.
    fn drain(bucket: &mut Bucket, now: Instant) -> usize {
        (0..1000).take_while(|_| bucket.take(now)).count()
    }

    #[test]
    fn it_is_full_at_first_and_fills_by_and_by() {
        let mut bucket = Bucket::new(5, Duration::from_secs(12));
        let start = Instant::now();
        assert_eq!(drain(&mut bucket, start), 5);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(11)), 0);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(12)), 1);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(35)), 1);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(36)), 1);
    }

    #[test]
    fn it_never_has_more_than_fit() {
        let mut bucket = Bucket::new(100, Duration::from_millis(10));
        let start = Instant::now();
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(3600)), 100);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(7200)), 100);
        // Seconds that are a little longer or shorter cost next to nothing in the long run.
        let sum: usize = (1..=100u64)
            .map(|second| {
                let late = Duration::from_millis(if second % 2 == 0 { 7 } else { 0 });
                drain(&mut bucket, start + Duration::from_secs(7200 + second) - late)
            })
            .sum();
        assert!((9_900..=10_000).contains(&sum), "{sum}");
    }

    #[test]
    fn time_that_stands_still_or_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(2, Duration::from_secs(1));
        let start = Instant::now() + Duration::from_secs(60);
        assert_eq!(drain(&mut bucket, start), 2);
        assert_eq!(drain(&mut bucket, start), 0);
        assert_eq!(drain(&mut bucket, start - Duration::from_secs(30)), 0);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(1)), 1);
    }
}
