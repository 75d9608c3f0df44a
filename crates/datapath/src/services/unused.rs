//! What nobody uses any more, and when it is free for others. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::layout::services::List;

/// How long what was pointed to is not used for anything else. A program runs for microseconds.
pub const GRACE: Duration = Duration::from_secs(1);

/// What nobody uses any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    List(List),
    Number(u32),
    Ranges(u32),
}

impl Unused {
    /// Whether this table has more space once it is free.
    fn is_of(self, table: &str) -> bool {
        match self {
            Self::List(list) => table == "backends" || (table == "choices" && list.size > 0),
            Self::Number(_) => table == "service_counts",
            Self::Ranges(_) => table == "source_ranges",
        }
    }
}

/// What waits to be free.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The maps may point to it until all is written.
    released: Vec<Unused>,
    /// Nothing in the maps points to it since that moment.
    unused: VecDeque<(Instant, Unused)>,
}

impl Waiting {
    /// Takes in what nobody uses any more once all is written.
    pub(super) fn release(&mut self, unused: impl IntoIterator<Item = Unused>) {
        self.released.extend(unused);
    }

    /// All is written.
    pub(super) fn written(&mut self, now: Instant) {
        self.unused.extend(self.released.drain(..).map(|one| (now, one)));
    }

    /// What is free now, one after the other.
    pub(super) fn next(&mut self, now: Instant) -> Option<Unused> {
        let is_due = |since: Instant| now.saturating_duration_since(since) >= GRACE;
        self.unused.pop_front_if(|(since, _)| is_due(*since)).map(|(_, unused)| unused)
    }

    /// How long it takes until some of a table is free; `None`: all of it is in use.
    pub(super) fn free_after(&self, table: &str, now: Instant) -> Option<Duration> {
        let first = self.unused.iter().find(|(_, unused)| unused.is_of(table));
        let after = first.map(|(since, _)| GRACE.saturating_sub(now.saturating_duration_since(*since)));
        after.or_else(|| self.released.iter().any(|unused| unused.is_of(table)).then_some(GRACE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_free_some_time_after_all_is_written() {
        let (begun, mut waiting) = (Instant::now(), Waiting::default());
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let after = |waiting: &Waiting, table, milliseconds| {
            waiting.free_after(table, at(milliseconds)).map(|after| after.as_millis())
        };
        let short = Unused::List(List { count: 3, ..List::default() });
        let long = Unused::List(List { count: 40, size: 32_771, ..List::default() });
        waiting.release([short]);
        assert_eq!((waiting.next(at(5_000)), after(&waiting, "backends", 0)), (None, Some(1_000)));
        assert_eq!(after(&waiting, "choices", 0), None, "a short list has no table");
        waiting.written(at(0));
        waiting.release([long, Unused::Number(7)]);
        assert_eq!(after(&waiting, "choices", 100), Some(1_000));
        waiting.written(at(200));
        assert_eq!(
            ["backends", "choices", "service_counts", "source_ranges"]
                .map(|table| after(&waiting, table, 300)),
            [Some(700), Some(900), Some(900), None]
        );
        assert_eq!((waiting.next(at(999)), waiting.next(at(1_000))), (None, Some(short)));
        assert_eq!((waiting.next(at(1_000)), after(&waiting, "backends", 2_000)), (None, Some(0)));
        assert_eq!([1_200; 3].map(|now| waiting.next(at(now))), [Some(long), Some(Unused::Number(7)), None]);
        assert_eq!(after(&waiting, "backends", 2_000), None);
    }
}
