//! Pushing Translations to MidoNet, and removing what those had that are being deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use midonet::Resource;
use midonet_client::{Class, Client, Error, PushError};
use serde_json::json;
use tracing::{info, warn};

use crate::kinds::{REPLACED, Stored};
use crate::object_events;
use crate::readiness::Readiness;
use crate::reconciler::{Push, Reconciler, Remove, Task, Trim, without_finalizer};
use crate::shared::Shared;
use crate::writing::Writing;

/// What failed since MidoNet is out of reach is tried again after so long. The client itself tries less and less often.
const SOON: Duration = Duration::from_secs(1);

/// What became of a Translation.
enum Outcome {
    Done,
    /// For a reason of its own.
    Failed {
        missing: bool,
    },
    /// For one that concerns everything.
    NotNow,
}

/// Pushes what the reconciler has to push, for ever.
#[derive(Debug, Clone)]
pub struct Pushing {
    /// MidoNet.
    pub client: Client,
    /// Writes what becomes of Translations.
    pub writing: Writing,
    /// Is told whether MidoNet takes anything.
    pub readiness: Readiness,
}

impl Pushing {
    /// One of several that do so.
    pub async fn run(self) {
        loop {
            let task = self.shared().take(|reconciler| reconciler.next_push(Instant::now())).await;
            let (key, outcome) = match task {
                Task::Push(push) => (push.stored.key.clone(), self.push(push).await),
                Task::Remove(remove) => (remove.stored.key.clone(), self.remove(remove).await),
            };
            self.shared().change(|reconciler| match outcome {
                Outcome::Done => reconciler.push_done(&key),
                Outcome::Failed { missing } => reconciler.push_failed(&key, missing, Instant::now()),
                Outcome::NotNow => reconciler.push_postponed(&key, SOON, Instant::now()),
            });
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.writing.shared
    }

    async fn push(&self, push: Push) -> Outcome {
        let Push { stored, resources, is_pushed } = push;
        let resources = match resources {
            Ok(resources) => resources,
            Err(error) => {
                self.tell(
                    &stored,
                    true,
                    "TranslationUpdateError",
                    format!("Translation Update failed with error {error}"),
                );
                self.writing.metrics.pushed("push", "unreadable");
                return Outcome::Failed { missing: false };
            }
        };
        let report = match self.client.push(&resources).await {
            Ok(report) => report,
            Err(error) => return self.failed(&stored, "push", "TranslationUpdateError", "Update", &error),
        };
        self.reached();
        self.writing.metrics.pushed("push", if report.has_changes() { "changed" } else { "unchanged" });
        if !is_pushed || report.has_changes() {
            self.tell(
                &stored,
                false,
                "TranslationUpdatePushed",
                "Translation Update pushed to the backend".into(),
            );
        }
        match self.shared().change(|reconciler| reconciler.pushed(&stored, &report)) {
            None => Outcome::Done,
            Some(trim) => self.trim(&stored, trim).await,
        }
    }

    /// Removes what a Translation has replaced.
    async fn trim(&self, stored: &Stored, trim: Trim) -> Outcome {
        let Trim { resources } = trim;
        if let Err(error) = self.client.remove(&resources).await {
            return self.failed(stored, "trim", "TranslationUpdateError", "Update", &error);
        }
        self.writing.metrics.pushed("trim", "changed");
        let metadata = json!({"resourceVersion": stored.version, "annotations": {REPLACED: null}});
        let patched = self.writing.patch(&stored.key, &json!({"metadata": metadata})).await;
        self.writing.count("patch", &patched).await;
        match patched {
            Ok(_) => Outcome::Done,
            // It is another version by now, which is pushed, too.
            Err(fault) if fault.is_conflict() || fault.is_missing() => Outcome::Done,
            Err(fault) => {
                warn!(key = %stored.key, %fault, "a Translation was not changed; it is tried again");
                Outcome::Failed { missing: false }
            }
        }
    }

    /// Removes what a Translation had, then its finalizer.
    async fn remove(&self, remove: Remove) -> Outcome {
        let Remove { stored, resources } = remove;
        if let Err(error) = self.client.remove(&resources).await {
            return self.failed(&stored, "remove", "TranslationDeletionError", "Deletion", &error);
        }
        self.reached();
        self.writing.metrics.pushed("remove", "changed");
        self.tell(
            &stored,
            false,
            "TranslationDeletionPushed",
            "Translation Deletion pushed to the backend".into(),
        );
        self.shared().change(|reconciler| reconciler.removed(&stored));
        let patched = self.writing.patch(&stored.key, &without_finalizer(&stored)).await;
        self.writing.count("patch", &patched).await;
        match patched {
            Ok(_) => Outcome::Done,
            Err(fault) if fault.is_missing() => Outcome::Done,
            Err(fault) => {
                if !fault.is_conflict() {
                    let note = format!("Translation Deletion failed to remove finalizer with error {fault}");
                    self.tell(&stored, true, "TranslationDeletionFinalizerError", note);
                }
                Outcome::Failed { missing: false }
            }
        }
    }

    fn failed(
        &self,
        stored: &Stored,
        operation: &'static str,
        reason: &'static str,
        what: &str,
        error: &PushError,
    ) -> Outcome {
        let class = error.error.class();
        self.writing.metrics.pushed(operation, class.name());
        if class.is_general() {
            self.unreachable(&error.error);
            return Outcome::NotNow;
        }
        self.reached();
        self.tell(stored, true, reason, format!("Translation {what} failed with error {error}"));
        Outcome::Failed { missing: class == Class::Missing }
    }

    fn tell(&self, stored: &Stored, warning: bool, reason: &'static str, note: String) {
        self.writing.events.tell(object_events::of_translation(stored, warning, reason, note));
    }

    fn reached(&self) {
        if self.readiness.set_midonet(None) {
            info!("MidoNet takes what it gets");
        }
    }

    fn unreachable(&self, error: &Error) {
        let why = error.to_string();
        if self.readiness.set_midonet(Some(why.clone())) {
            warn!(why, "MidoNet takes nothing; what is to be pushed waits");
        }
    }

    /// Asks MidoNet now and then whether it still has the globals, and has everything pushed again if not.
    pub async fn probe(self, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let landmarks = self.shared().look(Reconciler::landmarks);
            if self.is_one_missing(&landmarks).await {
                warn!("MidoNet has lost what it had: everything is pushed again");
                self.writing.metrics.midonet_lost();
                self.shared().change(Reconciler::lost);
            }
        }
    }

    async fn is_one_missing(&self, landmarks: &[Resource]) -> bool {
        for resource in landmarks {
            match self.client.get(resource).await {
                Ok(None) => return true,
                Ok(Some(_)) => self.reached(),
                Err(error) if error.class().is_general() => {
                    self.unreachable(&error);
                    return false;
                }
                Err(_) => {}
            }
        }
        false
    }

    /// Has all Translations compared with MidoNet once in so long.
    pub async fn compare(self, round: Duration) {
        let mut due = 0.0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let all = self.shared().look(|reconciler| reconciler.inventory().len());
            #[allow(clippy::cast_precision_loss, reason = "no more than some hundred thousand")]
            let share = all as f64 / round.as_secs_f64();
            due += share;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a small positive number"
            )]
            let count = due as usize;
            if count > 0 {
                due -= due.trunc();
                self.shared().change(|reconciler| reconciler.look_again(count.min(all)));
            }
        }
    }
}
