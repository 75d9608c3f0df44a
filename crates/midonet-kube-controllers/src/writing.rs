//! Writing Translations to the API server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use objects::{Fault, Key, Patch, Writer, Written};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};
use translation::{Change, Owner, Wanted};

use crate::events::Events;
use crate::kinds::{Stored, TRANSLATION};
use crate::metrics::Metrics;
use crate::owner::Whose;
use crate::reconciler::{Job, Write};
use crate::shared::Shared;
use crate::{object_events, plan};

/// So many write at a time.
pub const WRITERS: usize = 8;

/// No server makes us wait longer by asking for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bounds how many writes a second there are. What the API server asks to wait holds for all.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many a second.
    pub fn new(rate: u32) -> Self {
        Self { interval: Duration::from_secs(1) / rate.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn.
    async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.interval;
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }

    /// Nobody writes for so long.
    async fn pause(&self, wait: Duration) {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now() + wait.min(PATIENCE));
    }
}

/// Writes what the reconciler has to write, for ever.
#[derive(Debug, Clone)]
pub struct Writing {
    /// What is to be written.
    pub shared: Arc<Shared>,
    /// Where.
    pub writer: Writer,
    /// How fast.
    pub pace: Arc<Pace>,
    /// Who is told.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
}

impl Writing {
    /// One of several that do so.
    pub async fn run(self) {
        loop {
            match self.shared.take(|reconciler| reconciler.next_job(Instant::now())).await {
                Job::Owner(change) => self.owner(&change).await,
                Job::Delete(stored) => self.delete(&stored).await,
            }
        }
    }

    async fn owner(&self, change: &Change) {
        if let Wanted::Set(wanted) = &change.wanted {
            for translation in wanted {
                let Some(write) = self.shared.look(|reconciler| reconciler.write_of(translation)) else {
                    continue;
                };
                let key = plan::key(translation);
                match self.write(&change.owner, &key, &write).await {
                    Ok(written) => self.shared.change(|reconciler| reconciler.wrote(translation, &written)),
                    Err(fault) => {
                        // The watch is behind: what it tells is planned anew.
                        if !fault.is_conflict() {
                            warn!(%key, %fault, "a Translation was not written; it is tried again");
                        }
                        return self
                            .shared
                            .change(|reconciler| reconciler.write_failed(change, Instant::now()));
                    }
                }
            }
        }
        self.shared.change(|reconciler| reconciler.wrote_all(change));
    }

    async fn write(&self, owner: &Owner, key: &Key, write: &Write) -> Result<Written, Fault> {
        self.pace.turn().await;
        let (verb, reason, did, written) = match write {
            Write::Create(object) => {
                let created = self.writer.create(&TRANSLATION, key, object).await;
                ("create", "TranslationCreated", "Created", created)
            }
            Write::Change(patch) => ("patch", "TranslationUpdated", "Updated", self.patch(key, patch).await),
        };
        self.count(verb, &written).await;
        let written = written?;
        match object_events::of_owner(owner, reason, key, &written.uid, did) {
            Some(event) => self.events.tell(event),
            None => info!(%key, "global Translation {}", did.to_lowercase()),
        }
        Ok(written)
    }

    /// Changes a part of a Translation.
    ///
    /// # Errors
    /// As [`Writer::patch`].
    pub async fn patch(&self, key: &Key, patch: &Value) -> Result<Written, Fault> {
        self.writer.patch(&TRANSLATION, key, Patch::Merge, patch).await
    }

    async fn delete(&self, stored: &Stored) {
        self.pace.turn().await;
        let deleted = self.writer.delete(&TRANSLATION, &stored.key, &stored.uid, &stored.version).await;
        self.count("delete", &deleted).await;
        match &deleted {
            Ok(()) => {
                if let Whose::Owner(owner) = Whose::of(stored)
                    && let Some(event) = object_events::of_owner(
                        &owner,
                        "TranslationDeleted",
                        &stored.key,
                        &stored.uid,
                        "Deleted",
                    )
                {
                    self.events.tell(event);
                }
            }
            Err(fault) if fault.is_conflict() => {}
            Err(fault) => {
                warn!(key = %stored.key, %fault, "a Translation was not deleted; it is tried again");
            }
        }
        self.shared.change(|reconciler| reconciler.deleted(&stored.key, deleted.is_ok(), Instant::now()));
    }

    /// Counts a write, and waits as long as the API server asks for.
    pub async fn count<T>(&self, verb: &'static str, result: &Result<T, Fault>) {
        match result {
            Ok(_) => self.metrics.wrote(verb, "ok"),
            Err(fault) => {
                let why = if fault.is_conflict() { "conflict" } else { fault.reason().name() };
                self.metrics.wrote(verb, why);
                if let Some(wait) = fault.retry_after() {
                    self.pace.pause(wait).await;
                }
            }
        }
    }
}
