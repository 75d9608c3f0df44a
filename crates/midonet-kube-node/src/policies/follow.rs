//! Following objects and ports, for as long as the agent runs.

use std::time::{Duration, Instant};

use anyhow::Result;
use tracing::warn;

use super::Policies;
use super::news::Feed;
use crate::agent::Agent;
use crate::memory;
use crate::problems::{Origin, Problem};

/// What failed is tried again after so long, besides on every change.
const RETRY: Duration = Duration::from_secs(5);

/// So many objects at once are like a whole list: reading them took memory that is not needed any more.
const MANY: usize = 500;

/// Keeps what is in force as objects and ports want it, until their source ends.
///
/// # Errors
/// It ended.
pub(crate) async fn follow(agent: &Agent, policies: &Policies, mut feed: Feed) -> Result<()> {
    let mut retry = None;
    loop {
        let due = async {
            match retry {
                Some(at) => tokio::time::sleep_until(Instant::into(at)).await,
                None => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            news = feed.next() => news?,
            () = policies.has_news() => Vec::new(),
            () = due => Vec::new(),
        };
        let many = news.iter().any(|news| news.objects() >= MANY);
        let settling = policies.clone();
        let settled = agent.blocking(move |agent| settling.settle(agent.packets()?.policy(), news)).await;
        retry = report(agent, settled).then(|| Instant::now() + RETRY);
        if many {
            memory::give_back();
        }
    }
}

/// Notes what is wrong. Whether to try again.
pub(crate) fn report(agent: &Agent, settled: Result<Option<Vec<Problem>>>) -> bool {
    match settled {
        Ok(found) => {
            if let Some(found) = found {
                agent.set_problems(Origin::Policies, found);
            }
            agent.set_problems(Origin::PolicyTables, Vec::new());
            false
        }
        Err(error) => {
            warn!(error = format!("{error:#}"), "policy cannot be brought into force; trying again");
            let problem = format!("policy cannot be brought into force, what was in force stays: {error:#}");
            let remedy = "correct what is named: the agent tries again every 5 seconds";
            agent.set_problems(
                Origin::PolicyTables,
                vec![Problem::new("network", "policies", problem, remedy)],
            );
            true
        }
    }
}
