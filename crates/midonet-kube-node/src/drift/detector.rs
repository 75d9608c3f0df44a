//! When drift is detected: at once when the kernel or the file system tells of a change, and now and then.

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
use crate::backend::Detected;
use crate::problems::Problem;

/// How soon drift is detected again after some was found, or detecting failed: it is seen whether all is whole now.
const AGAIN: Duration = Duration::from_millis(900);

/// So many times as long as the last detection took there is none, but no longer than [`AGAIN`]: with a thousand Pods it
/// takes long.
const REST: u32 = 8;

/// Sees to it that what is broken by others is noticed.
#[derive(Debug)]
pub struct Detector {
    events: Arc<Events>,
    network: watch::Receiver<()>,
    files: watch::Receiver<()>,
    told: bool,
    last: Instant,
    took: Duration,
    /// When drift has to be detected again, if not for an event.
    again: Option<Duration>,
    pace: Pace,
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
            last: Instant::now(),
            took: Duration::ZERO,
            // What was there before the events.
            again: Some(AGAIN),
            pace: Pace::default(),
            config: None,
        }
    }

    /// Notes what the CNI configuration has to say from now on.
    pub fn expect_config(&mut self, path: &Path, contents: String) {
        self.config = Some((path.to_owned(), contents));
    }

    /// Waits until drift should be detected, at the latest when something has to be tried again. Can be dropped and called
    /// again.
    pub async fn due(&mut self, retry: Option<std::time::Instant>) {
        let gap = self.pace.gap().max((self.took * REST).min(AGAIN));
        if !self.told {
            let period = self.again.unwrap_or_else(|| self.events.period());
            let mut at = self.last + period.max(gap);
            if let Some(retry) = retry {
                at = at.min(retry.into()).max(self.last + gap);
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
        sleep_until((Instant::now() + DEBOUNCE).max(self.last + gap)).await;
    }

    /// What somebody else removed or changed.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub async fn detect(&mut self, agent: &Agent) -> Result<Vec<Drift>> {
        self.told = false;
        self.again = Some(AGAIN);
        self.network.mark_unchanged();
        self.files.mark_unchanged();
        let start = Instant::now();
        let detected = agent.blocking(|agent| agent.backend().detect()).await;
        self.last = Instant::now();
        self.took = self.last - start;
        // Directories of pins and of the configuration that were made again.
        self.events.watch_directories();
        let Detected { mut drift, settled } = detected?;
        if let Some((path, contents)) = &self.config
            && !fs::read_to_string(path).is_ok_and(|now| now == *contents)
        {
            drift.push(Drift::new("cni_config", format!("{} is gone or changed", path.display())));
        }
        if drift.is_empty() && settled {
            self.again = None;
        }
        self.pace.note(&drift, self.last);
        Ok(drift)
    }

    /// What is broken again and again, for the operator; `None` if nothing is.
    pub fn problem(&self) -> Option<Problem> {
        self.pace.problem()
    }
}
