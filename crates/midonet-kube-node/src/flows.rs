//! Flows, told to people: who talks to whom, how much, and what policy let it pass.
//!
//! The datapath keeps a record of each connection and sends events about them (`datapath::records`). A task reads the events
//! soon after they come, and every ten seconds the records themselves, which have all that events could not tell. Both get the
//! names of the Pods, Services and policies of that moment, and go into a store of bounded size (`store`), from where
//! `midokube flows` reads them, and those that ended into a file, and to an OpenTelemetry collector, if that is wanted (`export`). The ring of events is
//! the queue in between: what does not fit is counted by who sends it, and nothing waits for this task.

#[cfg(test)]
mod example;
mod export;
mod flow;
mod line;
mod names;
mod otlp;
mod reader;
mod shared;
mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::agent::Agent;
use crate::config::{Collector, FlowLog};
use crate::problems::Origin;
pub(crate) use flow::{Decision, Flow};
use reader::Reader;
pub use shared::Flows;

/// How long events are collected after the first one: reading some at once costs less than each by itself.
const COLLECT: Duration = Duration::from_millis(100);

/// How often the records themselves are read, while there are any.
const PERIOD: Duration = Duration::from_secs(10);

/// Takes in what the datapath tells of connections, for as long as the agent runs.
pub async fn watch(agent: &Agent, log: &FlowLog) {
    let Some(flows) = agent.flows() else { return std::future::pending().await };
    let descriptor = flows.events().descriptor();
    let readable = descriptor.and_then(|descriptor| {
        // SAFETY: the descriptor is owned, and stays open and the same until `AsyncFd` drops it.
        Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
    });
    let readable = match readable {
        Ok(readable) => readable,
        Err(error) => {
            warn!(%error, "cannot wait for events of flows: they are read every {PERIOD:?}");
            return follow(agent, flows, log, None).await;
        }
    };
    follow(agent, flows, log, Some(readable)).await;
}

async fn follow(
    agent: &Agent,
    flows: &Flows,
    log: &FlowLog,
    readable: Option<AsyncFd<std::os::fd::OwnedFd>>,
) {
    let mut sending = JoinSet::new();
    let collector = log.collector.as_ref().map(|Collector(endpoint)| {
        let (queue, exporter) = otlp::Queue::new(agent.node_name(), endpoint, flows.sent());
        sending.spawn(exporter.run());
        queue
    });
    let reader = Reader::new(agent.node_name(), flows.clone(), log, collector);
    let reader = Arc::new(Mutex::new(reader));
    let mut told: Option<String> = None;
    let mut sweep_at = Instant::now();
    loop {
        let sweeps = Instant::now() >= sweep_at;
        let reading = Arc::clone(&reader);
        // Reading tables, looking names up and writing files takes milliseconds: not on the threads that serve calls.
        let work = move |agent: &Agent| {
            let mut reader = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read(agent, sweeps)
        };
        if sweeps {
            sweep_at = Instant::now() + PERIOD;
        }
        match agent.blocking(work).await {
            Ok(problems) => {
                if told.take().is_some() {
                    info!("flows are read again");
                }
                agent.set_problems(Origin::FlowLog, problems);
            }
            Err(error) => {
                let error = format!("{error:#}");
                if told.as_ref() != Some(&error) {
                    warn!(error, "cannot read flows; trying again");
                }
                told = Some(error);
            }
        }
        wait(readable.as_ref(), sweep_at).await;
    }
}

/// Waits until there are events, and some more may be there, or until then.
async fn wait(readable: Option<&AsyncFd<std::os::fd::OwnedFd>>, until: Instant) {
    let Some(readable) = readable else { return sleep(PERIOD).await };
    let left = until.saturating_duration_since(Instant::now());
    if let Ok(Ok(mut ready)) = timeout(left, readable.readable()).await {
        ready.clear_ready();
        sleep(COLLECT).await;
    }
}
