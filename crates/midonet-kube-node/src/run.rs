//! The agent's life: take over, follow the objects, serve, and stop without anybody noticing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use naming::alias::CLUSTER_NETWORK;
use nodeapi::original::mido_net_kube_node_server::MidoNetKubeNodeServer;
use nodeapi::v1::node_server::NodeServer;
use objects::{ApiOptions, Cache, Change, Connection, Snapshot, Source};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::agent::{Agent, Readiness};
use crate::annotate::Mailbox;
use crate::args::RunArgs;
use crate::cni_config::CniConfig;
use crate::desired::desired;
use crate::heal::Healer;
use crate::network::{Finding, Network, Settings, mtu_problem};
use crate::service::{NodeService, OriginalService};
use crate::{check, http, leaks, lock, memory};

/// What failed is tried again after so long, besides on every change.
const RETRY: Duration = Duration::from_secs(5);

/// How often dead interfaces are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How many dead interfaces are deleted at once: bounds how long the kernel holds the RTNL lock.
const SWEEP_SLICE: usize = 32;

/// How long calls under way may take when the agent stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What makes it impossible to start, or to go on.
pub async fn run(args: RunArgs) -> Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), node = args.node_name, "starting");
    let _lock = lock::take(&args.paths.state_dir)?;
    plumbing::sysctl::look_in(&args.paths.sysctl_dir);
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let connection = source(&args).connect().await.map_err(|error| anyhow!("{error}; {}", error.remedy()))?;
    let annotator = connection.annotator();
    let mailbox = Mailbox::new(usize::try_from(args.max_pods)?);
    let network = Network::open(settings(&args)).map_err(|error| explain(&args, error))?;
    let reservations = leaks::keeps_files(&args.ipam_type).then(|| ipam::directory(None, CLUSTER_NETWORK));
    let agent = Agent::new(
        &args.node_name,
        network,
        mailbox.clone(),
        connection.to_string(),
        connection.health(),
        reservations,
    );

    let listeners = http::listen(args.http_listen).await?;
    let door = agent.clone();
    let refused = move |uid| door.refuse_stranger(uid);
    let incoming = nodeapi::incoming(nodeapi::listen(&args.paths.socket)?, refused);
    let grpc = Server::builder()
        .add_service(NodeServer::new(NodeService::new(agent.clone())))
        .add_service(MidoNetKubeNodeServer::new(OriginalService::new(annotator.clone())))
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let mut grpc = tokio::spawn(grpc);
    for port in agent.with_network(|network| network.ports().cloned().collect::<Vec<_>>()) {
        agent.annotate(&port);
    }

    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = http::serve(listeners, agent.clone()) => ended,
        ended = &mut grpc => ended.context("the gRPC server ended")?.context("the gRPC server failed"),
        () = mailbox.deliver(annotator) => Ok(()),
        ended = follow(&args, &agent, connection) => ended,
        () = sweep(&agent) => Ok(()),
        () = leaks::watch(&agent, &args.ipam_type) => Ok(()),
    };
    // Pods' packets go on through the pinned programs; only calls under way have to end.
    info!("stopping");
    stop.cancel();
    if !grpc.is_finished() && tokio::time::timeout(DRAIN, &mut grpc).await.is_err() {
        warn!("calls under way took too long: cut off");
    }
    result
}

/// Why the network cannot be opened, and whatever else the kernel lacks.
fn explain(args: &RunArgs, error: anyhow::Error) -> anyhow::Error {
    match check::complaint(&check::kernel(args)) {
        complaint if complaint.is_empty() => error,
        complaint => {
            error.context(format!("this node lacks what the network needs:\n{complaint}\nso the agent"))
        }
    }
}

/// Where objects come from.
pub(crate) fn source(args: &RunArgs) -> Source {
    match &args.manifests {
        Some(folder) => Source::Folder(folder.clone()),
        None => Source::Api(ApiOptions {
            kubeconfig: args.kubeconfig.clone(),
            server: args.api_server.clone(),
            cache: Some(Cache {
                path: args.paths.nodes(),
                node: args.node_name.clone(),
                max_age: args.cache_max_age,
            }),
        }),
    }
}

fn settings(args: &RunArgs) -> Settings {
    Settings {
        node_name: args.node_name.clone(),
        cluster_cidrs: args.cluster_cidr.clone(),
        service_cidrs: args.service_cidr.clone(),
        mtu: args.mtu,
        encapsulation: args.encapsulation,
        hook: args.hook,
        bpf_dir: args.paths.bpf_dir.clone(),
        state_dir: args.paths.state_dir.clone(),
        max_pods: args.max_pods,
        max_nodes: args.max_nodes,
    }
}

/// Keeps the network as the objects want it.
async fn follow(args: &RunArgs, agent: &Agent, connection: Connection) -> Result<()> {
    let mut snapshot = Snapshot::default();
    let mut changes = std::pin::pin!(connection.changes());
    let mut told = Vec::new();
    let mut healer = Healer::start();
    let mut retry = Instant::now() + RETRY;
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
            () = healer.due() => {
                found = look(&mut healer, agent).await;
                let wants = agent.readiness() != Readiness::Ready && Instant::now() >= retry;
                if found.is_empty() && !wants {
                    continue;
                }
            }
        }
        if !snapshot.is_known() {
            continue;
        }
        let readiness = match reconcile(args, agent, &snapshot, &mut told, &mut healer).await {
            Ok(()) => {
                healer.repaired(&found, agent.repairs());
                healer.complaint().map_or(Readiness::Ready, Readiness::Waiting)
            }
            Err(error) => Readiness::Waiting(format!("{error:#}")),
        };
        agent.set_readiness(readiness);
        if std::mem::take(&mut listed) {
            memory::give_back(); // a whole list is much that is not needed any more
        }
        retry = Instant::now() + RETRY;
    }
}

/// What others broke; the next reconciliation puts it right.
async fn look(healer: &mut Healer, agent: &Agent) -> Vec<Finding> {
    match healer.look(agent).await {
        Ok(found) => {
            if !found.is_empty() {
                agent.with_network(Network::distrust);
            }
            found
        }
        Err(error) => {
            warn!(error = format!("{error:#}"), "cannot look whether the node's network is whole");
            Vec::new()
        }
    }
}

/// Makes the network what the objects want now, and the CNI configuration with it.
async fn reconcile(
    args: &RunArgs,
    agent: &Agent,
    snapshot: &Snapshot,
    told: &mut Vec<String>,
    healer: &mut Healer,
) -> Result<()> {
    let (desired, problems) = desired(snapshot.nodes(), &args.node_name, &args.cluster_cidr)
        .map_err(|error| anyhow!("{error}; {}", error.remedy()))?;
    for problem in problems.iter().filter(|problem| !told.contains(problem)) {
        warn!("{problem}");
    }
    *told = problems;
    let (network, peers) = (desired.clone(), desired.peers);
    // What is missing may only not have arrived yet, or be away with the API server: then it stays.
    let prune = snapshot.is_synced();
    let applied = agent.with_network_slowly(move |kernel| Ok(kernel.apply(&network, prune)?.clone())).await?;
    agent.set_peers(peers.into_iter().collect());
    // What is there goes on; new Pods would lose their largest packets.
    if let Some((problem, remedy)) = mtu_problem(&applied.underlay, applied.local.tunnel_address, args.mtu) {
        bail!("{problem}; {remedy}");
    }

    let config = CniConfig {
        pod_cidrs: &desired.local.pod_cidrs,
        mtu: applied.mtu,
        socket: &args.paths.socket,
        ipam_type: &args.ipam_type,
    };
    if config.write(&args.paths.cni_config_path)? {
        info!(path = %args.paths.cni_config_path.display(), "wrote the CNI configuration");
    }
    healer.expect_config(&args.paths.cni_config_path, config.render()?);
    Ok(())
}

/// Finishes what Pods' deletion left to be done later.
async fn sweep(agent: &Agent) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        agent.sweep();
        match tokio::task::spawn_blocking(|| plumbing::reap_dead(SWEEP_SLICE)).await {
            Ok(Err(error)) => warn!(%error, "cannot delete dead interfaces"),
            Err(error) => warn!(%error, "cannot delete dead interfaces"),
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => info!(count, "deleted dead interfaces"),
        }
    }
}
