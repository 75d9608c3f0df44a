//! How often to detect and repair, so that two programs that undo each other's work do no harm. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Drift;
use crate::problems::Problem;

/// The least time between two detections, also when events never end.
const GAP: Duration = Duration::from_millis(250);

/// The most time between two detections, when the same thing is broken again and again.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// What stays whole for so long is not "broken again".
const FORGET: Duration = Duration::from_secs(60);

/// So often the same thing is put back at once; from then on it takes longer each time.
const PATIENCE: u32 = 5;

/// How often to detect and repair. Pure.
#[derive(Debug, Default)]
pub(super) struct Pace {
    broken: BTreeMap<Drift, (u32, Option<Instant>)>,
}

impl Pace {
    /// Notes what was found.
    pub(super) fn note(&mut self, found: &[Drift], now: Instant) {
        self.broken.retain(|_, (_, last)| last.is_none_or(|last| now.duration_since(last) < FORGET));
        for finding in found {
            let (times, last) = self.broken.entry(finding.clone()).or_default();
            *times = times.saturating_add(1);
            *last = Some(now);
        }
    }

    fn worst(&self) -> Option<(&Drift, u32)> {
        let often = self.broken.iter().map(|(finding, (times, _))| (finding, *times));
        often.max_by_key(|(_, times)| *times).filter(|(_, times)| *times > PATIENCE)
    }

    pub(super) fn gap(&self) -> Duration {
        let doublings = self.worst().map_or(0, |(_, times)| times - PATIENCE);
        GAP.saturating_mul(1u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX)).min(LONGEST_GAP)
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        // Without the count: it grows, and each would be another problem.
        self.worst().map(|(finding, _)| {
            let problem = format!(
                "something else on this node undoes the agent's work again and again: {}; it is repaired ever later, \
                 by up to {LONGEST_GAP:?}",
                finding.detail
            );
            let remedy = "find out what changes it: another network, a firewall, a script that sets sysctls";
            Problem::new("repeated_repair", finding.what, problem, remedy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_again_and_again_is_repaired_ever_later_and_told() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let found = [Drift::new("route", "10.244.0.0/16 is missing")];
        for _ in 0..PATIENCE {
            pace.note(&found, now);
        }
        assert_eq!((pace.gap(), pace.problem()), (GAP, None));
        pace.note(&found, now);
        assert_eq!(pace.gap(), GAP * 2);
        let problem = pace.problem().unwrap();
        assert!(
            problem.problem.contains("10.244.0.0/16 is missing") && problem.object == "route",
            "{problem:?}"
        );
        for _ in 0..40 {
            pace.note(&found, now);
        }
        assert_eq!(pace.gap(), LONGEST_GAP);
        pace.note(&[], now + FORGET);
        assert_eq!((pace.gap(), pace.problem()), (GAP, None));
    }

    #[test]
    fn many_different_things_at_once_are_no_quarrel() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let found: Vec<_> = (0..100).map(|pod| Drift::new("pod", format!("mido{pod} is down"))).collect();
        pace.note(&found, now);
        assert_eq!((pace.gap(), pace.problem()), (GAP, None));
    }
}
