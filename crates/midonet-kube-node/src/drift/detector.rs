//! Self-healing: looks at once when the kernel or the file system tells of a change, and now and then, whether what the
//! agent made is still there; what somebody else removed or changed is put back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Drift;
use super::events::{DEBOUNCE, Events};
use super::pace::Pace;
use crate::agent::Agent;
use crate::backend::embedded::Settled;
use crate::problems::Problem;

/// How soon there is another look after one that found something, or failed: also of what nobody tells, it is seen
/// whether it is whole now.
const AGAIN: Duration = Duration::from_millis(900);

/// So many times as long as the last look took there is none, but no longer than [`AGAIN`]: with a thousand Pods
/// it takes long.
const REST: u32 = 8;

/// Sees to it that what is broken by others is noticed.
#[derive(Debug)]
pub struct Detector {
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

impl Detector {
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
    pub async fn look(&mut self, agent: &Agent) -> Result<Vec<Drift>> {
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

fn look(agent: &Agent, settled: &mut Settled, config: Option<(PathBuf, String)>) -> Result<Vec<Drift>> {
    let (expectation, mut found) = agent.with_network(|network| {
        Ok::<_, anyhow::Error>((network.expectation()?, network.look_at_datapath()?))
    })?;
    let Some(expectation) = expectation else { return Ok(Vec::new()) };
    found.extend(expectation.look(settled)?);
    if let Some((path, contents)) = config
        && !fs::read_to_string(&path).is_ok_and(|now| now == contents)
    {
        found.push(Drift::new("cni_config", format!("{} is gone or changed", path.display())));
    }
    Ok(found)
}
