//! Self-healing: looks at once when the kernel or the file system tells of a change, and now and then, whether what the
//! agent made is still there; what somebody else removed or changed is put back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::agent::Agent;
use crate::events::{DEBOUNCE, Events};
use crate::network::{Finding, Settled};
use crate::problems::Problem;

/// How soon there is another look after one that found something, or failed: also of what nobody tells, it is seen
/// whether it is whole now.
const AGAIN: Duration = Duration::from_millis(900);

/// The least time between two looks, also when events never end.
const GAP: Duration = Duration::from_millis(250);

/// So many times as long as the last look took there is none, but no longer than [`AGAIN`]: with a thousand Pods
/// it takes long.
const REST: u32 = 8;

/// The most time between two looks, when the same thing is broken again and again.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// What stays whole for so long is not "broken again".
const FORGET: Duration = Duration::from_secs(60);

/// So often the same thing is put back at once; from then on it takes longer each time.
const PATIENCE: u32 = 5;

/// Sees to it that what is broken by others is noticed.
#[derive(Debug)]
pub struct Healer {
    events: Arc<Events>,
    network: watch::Receiver<()>,
    files: watch::Receiver<()>,
    told: bool,
    last_look: Instant,
    took: Duration,
    /// When there has to be another look, if not for an event.
    again: Option<Duration>,
    pace: Pace,
    settled: Settled,
    config: Option<(PathBuf, String)>,
}

impl Healer {
    /// One that hears of everything from now on.
    pub fn new(events: &Arc<Events>) -> Self {
        Self {
            events: Arc::clone(events),
            network: events.network(),
            files: events.files(),
            told: false,
            last_look: Instant::now(),
            took: Duration::ZERO,
            // What was there before the events.
            again: Some(AGAIN),
            pace: Pace::default(),
            settled: Settled::default(),
            config: None,
        }
    }

    /// Notes what the CNI configuration has to say from now on.
    pub fn expect_config(&mut self, path: &Path, contents: String) {
        self.config = Some((path.to_owned(), contents));
    }

    /// Waits until there should be a look, at the latest when something has to be tried again. Can be dropped and called
    /// again.
    pub async fn due(&mut self, retry: Option<std::time::Instant>) {
        let gap = self.pace.gap().max((self.took * REST).min(AGAIN));
        if !self.told {
            let period = self.again.unwrap_or_else(|| self.events.period());
            let mut at = self.last_look + period.max(gap);
            if let Some(retry) = retry {
                at = at.min(retry.into()).max(self.last_look + gap);
            }
            let changed = async {
                tokio::select! {
                    changed = self.network.changed() => changed,
                    changed = self.files.changed() => changed,
                }
            };
            self.told = matches!(timeout_at(at, changed).await, Ok(Ok(())));
            if !self.told {
                return;
            }
        }
        sleep_until((Instant::now() + DEBOUNCE).max(self.last_look + gap)).await;
    }

    /// What somebody else broke. The network is locked only for the datapath's own tables.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub async fn look(&mut self, agent: &Agent) -> Result<Vec<Finding>> {
        self.told = false;
        self.again = Some(AGAIN);
        self.network.mark_unchanged();
        self.files.mark_unchanged();
        let start = Instant::now();
        let mut settled = std::mem::take(&mut self.settled);
        let config = self.config.clone();
        let shared = agent.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = look(&shared, &mut settled, config);
            (found, settled)
        });
        let (found, settled) = looked.await?;
        let is_settled = settled.is_all();
        self.settled = settled;
        self.last_look = Instant::now();
        self.took = self.last_look - start;
        // Directories of pins and of the configuration that were made anew.
        self.events.watch_directories();
        let found = found?;
        if found.is_empty() && is_settled {
            self.again = None;
        }
        self.pace.note(&found, self.last_look);
        Ok(found)
    }

    /// What is broken again and again, for the operator; `None` if nothing is.
    pub fn problem(&self) -> Option<Problem> {
        self.pace.problem()
    }
}

fn look(agent: &Agent, settled: &mut Settled, config: Option<(PathBuf, String)>) -> Result<Vec<Finding>> {
    let (expectation, mut found) = agent.with_network(|network| {
        Ok::<_, anyhow::Error>((network.expectation()?, network.look_at_datapath()?))
    })?;
    let Some(expectation) = expectation else { return Ok(Vec::new()) };
    found.extend(expectation.look(settled)?);
    if let Some((path, contents)) = config
        && !fs::read_to_string(&path).is_ok_and(|now| now == contents)
    {
        found.push(Finding::new("cni_config", format!("{} is gone or changed", path.display())));
    }
    Ok(found)
}

/// How fast to look, so that two programs that undo each other's work do no harm. Pure.
#[derive(Debug, Default)]
struct Pace {
    broken: BTreeMap<Finding, (u32, Option<Instant>)>,
}

impl Pace {
    /// Notes what a look found.
    fn note(&mut self, found: &[Finding], now: Instant) {
        self.broken.retain(|_, (_, last)| last.is_none_or(|last| now.duration_since(last) < FORGET));
        for finding in found {
            let (times, last) = self.broken.entry(finding.clone()).or_default();
            *times = times.saturating_add(1);
            *last = Some(now);
        }
    }

    fn worst(&self) -> Option<(&Finding, u32)> {
        let often = self.broken.iter().map(|(finding, (times, _))| (finding, *times));
        often.max_by_key(|(_, times)| *times).filter(|(_, times)| *times > PATIENCE)
    }

    fn gap(&self) -> Duration {
        let doublings = self.worst().map_or(0, |(_, times)| times - PATIENCE);
        GAP.saturating_mul(1u32.checked_shl(doublings.min(16)).unwrap_or(u32::MAX)).min(LONGEST_GAP)
    }

    fn problem(&self) -> Option<Problem> {
        // Without the number: it grows, and each would be another problem.
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
        let found = [Finding::new("route", "10.244.0.0/16 is missing")];
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
        let found: Vec<_> = (0..100).map(|pod| Finding::new("pod", format!("mido{pod} is down"))).collect();
        pace.note(&found, now);
        assert_eq!((pace.gap(), pace.problem()), (GAP, None));
    }
}
