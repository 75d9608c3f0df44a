//! Flows to an OpenTelemetry collector: as log records by OTLP/HTTP in its JSON encoding.
//!
//! See the specification of OTLP 1.x, "OTLP/HTTP" and "JSON Protobuf Encoding". Who adds a record never waits: a queue of
//! bounded length lies between, and what does not fit is counted. A batch that the collector does not take is sent again a
//! few times, as the specification has it for answers that say so.

mod client;
mod record;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use model::Problem;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;
use tracing::{info, warn};

use self::client::{Client, Refusal};
pub(super) use self::record::record;
use crate::outcomes::{Outcome, Outcomes};

/// How many records wait at most: about a kilobyte each.
const WAITING: usize = 8192;

/// How many are sent at once.
const BATCH: usize = 512;

/// How long others are waited for after the first record of a batch.
const COLLECT: Duration = Duration::from_secs(1);

/// How often a batch is sent, and how long is waited after the first time; then twice as long each time.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Where records are added.
#[derive(Debug)]
pub(super) struct Queue {
    sender: Sender<String>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Uri,
    outcomes: Outcomes,
    /// Why the last batch did not come to the collector.
    error: Mutex<Option<String>>,
}

impl Queue {
    /// A queue, and who sends what is in it. It has to be run.
    pub(super) fn new(node: &str, endpoint: &Uri, outcomes: &Outcomes) -> (Self, Exporter) {
        let (sender, receiver) = channel(WAITING);
        let shared = Arc::new(Shared {
            endpoint: endpoint.clone(),
            outcomes: outcomes.clone(),
            error: Mutex::default(),
        });
        let exporter = Exporter { node: node.to_owned(), receiver, shared: Arc::clone(&shared) };
        (Self { sender, shared }, exporter)
    }

    /// Adds a record, as [`record`] makes it.
    pub(super) fn add(&self, record: String) {
        if self.sender.try_send(record).is_err() {
            self.shared.outcomes.add(Outcome::Limited, 1);
        }
    }

    /// What is wrong with the collector.
    pub(super) fn problem(&self) -> Option<Problem> {
        let error = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Problem::new(
            "flow_otlp",
            format!("the OpenTelemetry collector {}", self.shared.endpoint),
            format!("flows are not sent: {error}"),
            "see that it listens there for OTLP/HTTP, or give another --flow-otlp: the agent tries again by itself",
        ))
    }
}

/// Sends what is in the queue.
#[derive(Debug)]
pub(super) struct Exporter {
    node: String,
    receiver: Receiver<String>,
    shared: Arc<Shared>,
}

impl Exporter {
    /// Sends for as long as there is the queue.
    pub(super) async fn run(mut self) {
        let client = match Client::new(&self.shared.endpoint) {
            Ok(client) => client,
            Err(error) => {
                warn!(%error, endpoint = %self.shared.endpoint, "flows cannot be sent to the OpenTelemetry collector");
                self.tell(Some(error));
                // The queue fills, and counts what does not fit.
                return std::future::pending().await;
            }
        };
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(first) = self.receiver.recv().await {
            batch.push(first);
            sleep(COLLECT).await;
            while batch.len() < BATCH
                && let Ok(next) = self.receiver.try_recv()
            {
                batch.push(next);
            }
            self.send(&client, &batch).await;
            batch.clear();
        }
    }

    async fn send(&self, client: &Client, batch: &[String]) {
        let body = record::request(&self.node, batch);
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            match client.post(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(batch.len());
                    self.shared.outcomes.add(Outcome::Failed, rejected);
                    self.shared.outcomes.add(Outcome::Written, batch.len().saturating_sub(rejected));
                    self.tell(
                        (rejected > 0).then(|| format!("it rejected {rejected} of {} flows", batch.len())),
                    );
                    return;
                }
                Err(Refusal { why, again, after }) => {
                    self.tell(Some(why));
                    if !again || attempt == TRIES {
                        break;
                    }
                    sleep(after.unwrap_or(pause)).await;
                    pause *= 2;
                }
            }
        }
        self.shared.outcomes.add(Outcome::Failed, batch.len());
    }

    /// Says what is wrong, once.
    fn tell(&self, error: Option<String>) {
        let mut told = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*told, &error) {
            (None, Some(error)) => {
                warn!(error, endpoint = %self.shared.endpoint, "flows do not come to the OpenTelemetry collector; trying again");
            }
            (Some(_), None) => {
                info!(endpoint = %self.shared.endpoint, "flows come to the OpenTelemetry collector again");
            }
            _ => {}
        }
        *told = error;
    }
}

#[cfg(test)]
mod tests;
