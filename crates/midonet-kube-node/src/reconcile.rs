//! Keeps the node's network as the cluster's objects want it, and as it was made.
//!
//! The node is ready as soon as it serves ADD, and stays so: what fails later is a [`Problem`], and what was applied
//! before serves on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ipnet::IpNet;
use model::Model;
use objects::InvalidObjects;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::agent::{Agent, Readiness};
use crate::backend::Outcome;
use crate::cni_config::CniConfig;
use crate::config::Config;
use crate::drift::Drift;
use crate::drift::detector::Detector;
use crate::drift::probe::Prober;
use crate::feed::{Feed, lock};
use crate::memory;
use crate::problems::{Origin, Problem};
use crate::proxy::Proxy;
use crate::stream::Taken;

/// What failed is tried again after so long, besides on every change.
pub const RETRY: Duration = Duration::from_secs(5);

/// So many objects at once are like a whole list: reading them took memory that is not needed any more.
const MANY: usize = 500;

/// Follows the objects until their source ends. `proxy` is told, if this agent serves Services.
///
/// # Errors
/// It ended.
pub(crate) async fn run(
    args: &Config,
    agent: &Agent,
    mut feed: Feed,
    mut invalid: watch::Receiver<InvalidObjects>,
    mut detector: Detector,
    proxy: Option<&Proxy>,
) -> Result<()> {
    let mut prober = Prober::new(args.serves_services());
    prober.run(agent).await;
    let mut retry = Some(Instant::now() + RETRY);
    let mut listed = false;
    loop {
        let mut found = Vec::new();
        tokio::select! {
            taken = feed.next(proxy, agent.policies()) => {
                let Taken { objects, is_list } = taken?;
                listed |= is_list || objects >= MANY;
            }
            Ok(()) = invalid.changed() => {
                agent.set_problems(Origin::Invalid, problems(&invalid.borrow_and_update()));
                continue;
            }
            () = detector.due(retry.into_iter().chain(prober.wants()).min()) => {
                found = detect(&mut detector, agent).await;
                agent.set_problems(Origin::Repairs, detector.problem().into_iter().collect());
                // What is repaired next is no problem.
                if found.is_empty() {
                    prober.run(agent).await;
                }
                if found.is_empty() && retry.is_none_or(|retry| Instant::now() < retry) {
                    continue;
                }
            }
        }
        // What is missing may only not have arrived yet, or be away with the API server: then it stays.
        let Some(prune) = feed.is_whole() else {
            retry = retry.map(|_| Instant::now() + RETRY);
            continue;
        };
        let done = reconcile(args, agent, feed.model(), prune, &mut detector, proxy).await;
        let again = done.as_ref().map_or(Some(RETRY), |done| done.retry);
        retry = again.map(|after| Instant::now() + after);
        match done {
            Ok(_) => {
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

/// What is wrong with objects that cannot be used.
fn problems(invalid: &InvalidObjects) -> Vec<Problem> {
    let objects = invalid.iter().flat_map(|(kind, objects)| objects.iter().map(move |object| (kind, object)));
    objects
        .map(|(kind, (key, invalid))| {
            Problem::new("object", format!("{kind} {key}"), &*invalid.problem, &*invalid.remedy)
        })
        .collect()
}

/// What others removed or changed; the next reconciliation repairs it.
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

/// What the network came to, and what the CNI configuration needs of it.
struct Reconciled {
    pod_cidrs: Vec<IpNet>,
    mtu: u32,
    /// After how long to go on with the rest.
    retry: Option<Duration>,
}

/// Makes the network what the model wants now, and the CNI configuration with it.
async fn reconcile(
    args: &Config,
    agent: &Agent,
    model: &Arc<Mutex<Model>>,
    prune: bool,
    detector: &mut Detector,
    proxy: Option<&Proxy>,
) -> Result<Reconciled> {
    let first = !args.paths.cni_config_path.exists();
    let (model, proxy) = (Arc::clone(model), proxy.cloned());
    let done = agent.blocking(move |agent| apply(agent, &model, prune, first, proxy.as_ref())).await?;
    let config = CniConfig {
        pod_cidrs: &done.pod_cidrs,
        mtu: done.mtu,
        socket: &args.paths.socket,
        ipam_type: &args.ipam_type,
        network: args.network,
    };
    if config.write(&args.paths.cni_config_path)? {
        info!(path = %args.paths.cni_config_path.display(), "wrote the CNI configuration");
    }
    detector.expect_config(&args.paths.cni_config_path, config.render()?);
    Ok(done)
}

/// Hands what changed over to the backend. The model is held only for what is computed: others look things up in it.
fn apply(
    agent: &Agent,
    model: &Mutex<Model>,
    prune: bool,
    first: bool,
    proxy: Option<&Proxy>,
) -> Result<Reconciled> {
    let began = Instant::now();
    let (local, changes) = {
        let mut model = lock(model);
        let (desired, changes) = model.update().map_err(|error| anyhow!("{error}; {}", error.remedy()))?;
        if !changes.problems.is_empty() {
            agent.set_problems(Origin::Objects, desired.problems().cloned().collect());
        }
        if let Some(proxy) = proxy {
            proxy.changed(desired, &changes);
        }
        (desired.local.clone(), changes)
    };
    agent.change_peers(&changes.peers);
    let Outcome { mtu, problems, whole, retry } = agent.backend().apply(&local, changes, prune, first)?;
    agent.set_problems(Origin::Network, problems);
    if let Some(proxy) = proxy {
        proxy.applied(began.elapsed());
    }
    if whole {
        agent.sweep();
    }
    Ok(Reconciled { pod_cidrs: local.pod_cidrs, mtu, retry })
}
