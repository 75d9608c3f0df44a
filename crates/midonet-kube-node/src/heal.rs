//! Self-healing: looks again and again, and at once when the kernel or the file system tells of a change,
//! whether what the agent made is still there; what somebody else removed or changed is put back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, warn};

use crate::agent::Agent;
use crate::network::{Finding, Settled};
use crate::problems::Problem;
use crate::repairs::Repairs;

/// How often there is a look without any event: nobody tells of pins, tables and sysctls.
const PERIOD: Duration = Duration::from_millis(900);

/// How long events are gathered: one command of an operator is several of them.
const DEBOUNCE: Duration = Duration::from_millis(60);

/// The least time between two looks, also when events never end.
const GAP: Duration = Duration::from_millis(250);

/// So many times as long as the last look took there is none, but no longer than [`PERIOD`]: with a thousand Pods
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
    events: Arc<Notify>,
    told: bool,
    last_look: Instant,
    took: Duration,
    pace: Pace,
    settled: Settled,
    config: Option<(PathBuf, String)>,
    watcher: Option<RecommendedWatcher>,
}

impl Healer {
    /// Listens from now on. Without events, which are no more than a hint, there is still the look.
    pub fn start() -> Self {
        let events = Arc::new(Notify::new());
        let tell = Arc::clone(&events);
        let thread = std::thread::Builder::new().name("monitor".into()).spawn(move || {
            if let Err(error) = listen(&tell) {
                warn!(%error, "changes of the network are not told any more: they are noticed later");
            }
        });
        if let Err(error) = thread {
            warn!(%error, "cannot listen to changes of the network: they are noticed later");
        }
        Self {
            events,
            told: false,
            last_look: Instant::now(),
            took: Duration::ZERO,
            pace: Pace::default(),
            settled: Settled::default(),
            config: None,
            watcher: None,
        }
    }

    /// Notes what the CNI configuration has to say from now on.
    pub fn expect_config(&mut self, path: &Path, contents: String) {
        if self.watcher.is_none() {
            self.watcher = self.watch(path.parent().unwrap_or(Path::new("/")));
        }
        self.config = Some((path.to_owned(), contents));
    }

    fn watch(&self, folder: &Path) -> Option<RecommendedWatcher> {
        let tell = Arc::clone(&self.events);
        let changed = move |event: notify::Result<notify::Event>| {
            // Our own look is an access: it must not be the reason for the next one.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                tell.notify_one();
            }
        };
        let mut watcher = notify::recommended_watcher(changed).ok()?;
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => Some(watcher),
            Err(error) => {
                debug!(%error, folder = %folder.display(), "not watched: changes are noticed later");
                None
            }
        }
    }

    /// Waits until there should be a look. Can be dropped and called again.
    pub async fn due(&mut self) {
        let gap = self.pace.gap().max((self.took * REST).min(PERIOD));
        if !self.told {
            let period = self.last_look + PERIOD.max(gap);
            self.told = timeout_at(period, self.events.notified()).await.is_ok();
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
        let start = Instant::now();
        let mut settled = std::mem::take(&mut self.settled);
        let config = self.config.clone();
        let shared = agent.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = look(&shared, &mut settled, config);
            (found, settled)
        });
        let (found, settled) = looked.await?;
        self.settled = settled;
        self.last_look = Instant::now();
        self.took = self.last_look - start;
        let found = found?;
        self.pace.note(&found, self.last_look);
        Ok(found)
    }

    /// Says what was put right, and counts it.
    pub fn repaired(&self, found: &[Finding], repairs: &Repairs) {
        for finding in found {
            repairs.count(finding.what);
            warn!(what = finding.what, wrong = finding.detail, "somebody else changed it: repaired");
        }
    }

    /// What is broken again and again, for the operator; `None` if nothing is.
    pub fn problem(&self) -> Option<Problem> {
        self.pace.problem()
    }
}

/// Tells of every change, until the sockets fail.
fn listen(tell: &Notify) -> plumbing::Result<()> {
    let monitor = plumbing::Monitor::here()?;
    loop {
        if monitor.wait(Duration::from_secs(3600))?.any {
            tell.notify_one();
            // Floods are gathered in the socket, not told one by one.
            std::thread::sleep(DEBOUNCE / 2);
        }
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
