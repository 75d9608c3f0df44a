//! Keeps the node's network as the cluster's objects want it, and as it was made.
//!
//! The node is ready as soon as it serves ADD, and stays so: what fails later is a [`Problem`], and what was applied
//! before serves on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use objects::{Change, Connection, Snapshot};
use tracing::{info, warn};

use crate::agent::{Agent, Readiness};
use crate::backend::Outcome;
use crate::backend::embedded::overlap;
use crate::cni_config::CniConfig;
use crate::config::Config;
use crate::desired::{Ranges, desired};
use crate::drift::Drift;
use crate::drift::detector::Detector;
use crate::drift::probe::Prober;
use crate::memory;
use crate::problems::{Origin, Problem};

/// What failed is tried again after so long, besides on every change.
const RETRY: Duration = Duration::from_secs(5);

/// Follows the objects until their source ends.
///
/// # Errors
/// It ended.
pub async fn run(args: &Config, agent: &Agent, connection: Connection, mut detector: Detector) -> Result<()> {
    let mut snapshot = Snapshot::default();
    let mut changes = std::pin::pin!(connection.changes());
    let mut prober = Prober::default();
    let mut retry = Some(Instant::now() + RETRY);
    let mut listed = false;
    loop {
        let mut found = Vec::new();
        tokio::select! {
            change = changes.next() => {
                let change: Change = change.context("the source of objects ended")?;
                listed |= !matches!(change, Change::Upsert(_) | Change::Delete(_));
                if !snapshot.apply(change) {
                    continue;
                }
            }
            () = detector.due(retry.into_iter().chain(prober.wants()).min()) => {
                found = detect(&mut detector, agent).await;
                agent.set_problems(Origin::Repairs, detector.problem().into_iter().collect());
                // What is repaired next is no problem.
                if found.is_empty() {
                    prober.look(agent).await;
                }
                if found.is_empty() && retry.is_none_or(|retry| Instant::now() < retry) {
                    continue;
                }
            }
        }
        if !snapshot.is_known() {
            retry = retry.map(|_| Instant::now() + RETRY);
            continue;
        }
        let done = reconcile(args, agent, &snapshot, &mut detector).await;
        retry = done.is_err().then(|| Instant::now() + RETRY);
        match done {
            Ok(()) => {
                agent.repairs().note(&found);
                agent.set_readiness(Readiness::Ready);
            }
            Err(error) if agent.is_set_up() => {
                let problem =
                    format!("it is not as it should be, what was set up before serves on: {error:#}");
                let remedy = "correct what is named: the agent tries again every 5 seconds";
                let problem = Problem::new("network", format!("Node {}", args.node_name), problem, remedy);
                agent.set_problems(Origin::Network, vec![problem]);
            }
            Err(error) => agent.set_readiness(Readiness::Waiting(format!("{error:#}"))),
        }
        if std::mem::take(&mut listed) {
            memory::give_back(); // a whole list is much that is not needed any more
        }
    }
}

/// What others broke; the next reconciliation repairs it.
async fn detect(detector: &mut Detector, agent: &Agent) -> Vec<Drift> {
    match detector.detect(agent).await {
        Ok(found) => {
            if !found.is_empty() {
                agent.backend().invalidate();
            }
            found
        }
        Err(error) => {
            warn!(error = format!("{error:#}"), "cannot detect whether the node's network is whole");
            Vec::new()
        }
    }
}

/// Makes the network what the objects want now, and the CNI configuration with it.
async fn reconcile(args: &Config, agent: &Agent, snapshot: &Snapshot, detector: &mut Detector) -> Result<()> {
    let ranges = Ranges { cluster: &args.cluster_cidr, service: &args.service_cidr };
    let (desired, left_out) = desired(snapshot.nodes(), &args.node_name, ranges)
        .map_err(|error| anyhow!("{error}; {}", error.remedy()))?;
    agent.set_problems(Origin::Objects, left_out);
    let ranges: Vec<_> = [ranges.cluster, ranges.service].concat();
    let first = !args.paths.cni_config_path.exists();
    // What there is goes on, and the probe tells of it. Where no Pod was added yet, none is that reaches no node.
    if first && let Some((range, what)) = plumbing::probe::overlaps(&ranges, desired.local.tunnel_address)? {
        bail!("{}; {}", overlap::problem(range, &what), overlap::REMEDY);
    }
    // What is missing may only not have arrived yet, or be away with the API server: then it stays.
    let prune = snapshot.is_synced();
    let local = desired.local.clone();
    agent.set_peers(desired.peers.clone().into_iter().collect());
    let Outcome { mtu, problems } =
        agent.blocking(move |agent| agent.backend().apply(&desired, prune, first)).await?;
    agent.set_problems(Origin::Network, problems);
    agent.sweep();

    let config = CniConfig {
        pod_cidrs: &local.pod_cidrs,
        mtu,
        socket: &args.paths.socket,
        ipam_type: &args.ipam_type,
    };
    if config.write(&args.paths.cni_config_path)? {
        info!(path = %args.paths.cni_config_path.display(), "wrote the CNI configuration");
    }
    detector.expect_config(&args.paths.cni_config_path, config.render()?);
    Ok(())
}
