//! What is dropped, told to people: the deny log, and Events about Pods of what policy denies to them.
//!
//! The datapath counts what it drops in a table, one row for each reason, source, destination, port and rule. Once a second
//! the packets that it counts by reason are looked at, which costs little; only if there are more of them, the table is read
//! and compared with the last time (`differences`). What differs gets a line in the log, as many as its rate allows (`log`),
//! and what policy did is added up for the Events of the Pods whose policy it was (`pending`). Nothing waits for the disk or
//! the API server: what they do not take is counted.

mod bucket;
mod denial;
mod differences;
mod event;
mod line;
mod log;
mod pending;
mod totals;
mod watcher;
mod words;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use objects::{PodEvent, Recorder};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::agent::Agent;
use crate::config::DenyLog;
use crate::outcomes::{Outcome, Outcomes};
use crate::policies::Policies;
use crate::problems::Origin;
pub use totals::Totals;
use watcher::Watcher;

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// How often while no policy applies to any Pod, unless that changes.
const REST: Duration = Duration::from_secs(10);

/// So many Events wait for the API server.
const WAITING: usize = 16;

/// Tells of what is dropped, for as long as the agent runs. Without a recorder there are no Events.
pub async fn watch(agent: &Agent, log: &DenyLog, recorder: Option<Recorder>) {
    let policies = agent.policies();
    let recorder = recorder.filter(|_| policies.is_some());
    if log.file.is_none() && recorder.is_none() {
        return std::future::pending().await;
    }
    let (events, waiting) = mpsc::channel(WAITING);
    let watcher = Watcher::new(agent, log, recorder.is_some());
    tokio::select! {
        () = look(agent, policies, watcher, events) => {}
        () = deliver(recorder, waiting, agent.denials().events.clone()) => {}
    }
}

/// Looks for what is new, for ever.
async fn look(agent: &Agent, policies: Option<&Policies>, watcher: Watcher, events: mpsc::Sender<PodEvent>) {
    let watcher = Arc::new(Mutex::new(watcher));
    let mut settled = policies.map(Policies::watch);
    let mut told: Option<String> = None;
    loop {
        settled.iter_mut().for_each(watch::Receiver::mark_unchanged);
        let looking = Arc::clone(&watcher);
        // Reading tables and writing files takes milliseconds: not on the threads that serve calls.
        let found = agent
            .blocking(move |agent| looking.lock().unwrap_or_else(PoisonError::into_inner).look(agent))
            .await;
        let rests = match found {
            Ok(found) => {
                if told.take().is_some() {
                    info!("what is dropped is read again");
                }
                agent.set_problems(Origin::DenyLog, found.problems);
                for event in found.events {
                    if events.try_send(event).is_err() {
                        agent.denials().events.add(Outcome::Failed, 1);
                    }
                }
                found.rests
            }
            Err(error) => {
                let error = format!("{error:#}");
                if told.as_ref() != Some(&error) {
                    warn!(
                        error,
                        "cannot read what is dropped: the deny log and Events lack it; trying again"
                    );
                }
                told = Some(error);
                false
            }
        };
        if let Some(settled) = settled.as_mut().filter(|_| rests) {
            // The other end lives as long as the agent.
            let _ = timeout(REST, settled.changed()).await;
        }
        sleep(PERIOD).await;
    }
}

/// Creates Events one after the other, for ever. What the API server does not take is not tried again: the next Event of that
/// Pod comes soon enough.
async fn deliver(recorder: Option<Recorder>, mut waiting: mpsc::Receiver<PodEvent>, outcomes: Outcomes) {
    let Some(recorder) = recorder else { return std::future::pending().await };
    let mut told: Option<String> = None;
    while let Some(event) = waiting.recv().await {
        match recorder.record(&event).await {
            Ok(()) => {
                outcomes.add(Outcome::Written, 1);
                if told.take().is_some() {
                    info!("Pods have Events of what policy denies again");
                }
            }
            Err(fault) => {
                outcomes.add(Outcome::Failed, 1);
                let error = fault.to_string();
                if told.as_ref() == Some(&error) {
                    debug!(error, "still cannot create Events");
                } else {
                    warn!(error, "Pods lack Events of what policy denies");
                }
                told = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
