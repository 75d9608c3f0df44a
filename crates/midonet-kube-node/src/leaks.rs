//! Leaks: addresses, interfaces and ports that belong together and are not all there any more, because a
//! plugin was killed, a node lost its power, or somebody cleaned up by hand. What is certain is put right;
//! the rest is told in `midokube status`, as a metric and, once, in the log.
//!
//! | kind | when | what is done |
//! |---|---|---|
//! | address without container | older than the node's start, or than any ADD may take | released |
//! | container without address | always | reserved again |
//! | port without interface | always ([`sweep`](crate::agent::Agent::sweep)) | released |
//! | interface without port | down for longer than any ADD may take | removed |
//! | | up | told: its Pod has no network |
//! | address conflict | always | told: one container uses it, it is reserved for another |

mod classify;
mod search;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::agent::Agent;
use search::Search;

/// How often leaks are searched for.
const PERIOD: Duration = Duration::from_secs(60);

/// Whether this IPAM plugin keeps addresses as the files that the agent reads.
pub fn keeps_files(ipam_type: &str) -> bool {
    [ipam::IN_PROCESS, "host-local"].contains(&ipam_type)
}

/// Searches for leaks now and every minute.
pub async fn watch(agent: &Agent, ipam_type: &str) {
    let mut search = Search::new(ipam_type);
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (shared, mut now) = (agent.clone(), search.clone());
        match tokio::task::spawn_blocking(move || (now.search(&shared), now)).await {
            Ok((report, then)) => {
                agent.set_leaks(report);
                search = then;
            }
            Err(error) => warn!(%error, "cannot search for leaks"),
        }
    }
}
