//! The agent's life: take over, follow the objects, serve, and stop without anybody noticing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use datapath::policy::State;
use naming::alias::CLUSTER_NETWORK;
use naming::{attachment_mac, interface};
use nodeapi::legacy::mido_net_kube_node_server::MidoNetKubeNodeServer;
use nodeapi::v1::drops_server::DropsServer;
use nodeapi::v1::flows_server::FlowsServer;
use nodeapi::v1::node_server::NodeServer;
use nodeapi::v1::paths_server::PathsServer;
use nodeapi::v1::policies_server::PoliciesServer;
use nodeapi::v1::services_server::ServicesServer;
use nodeapi::v1::traces_server::TracesServer;
use objects::{Annotator, Node};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::annotate::WorkQueue;
use crate::backend::embedded::{Embedded, Settings};
use crate::backend::midonet::{self, Midonet};
use crate::backend::{Backend, Packets, traces};
use crate::config::{Config, NetworkKind, Switch};
use crate::drift::detector::Detector;
use crate::drift::events::Events;
use crate::drift::files::{self, Files};
use crate::feed::Feed;
use crate::flows::Flows;
use crate::policies::{self, Policies};
use crate::problems::Origin;
use crate::proxy::{self, Proxy};
use crate::repairs::Repairs;
use crate::server::{
    DropsService, FlowsService, LegacyService, NodeService, PathsService, PoliciesService, ServicesService,
    TracesService, http,
};
use crate::source::source;
use crate::{annotate, check, degraded, denials, flows, leaks, lock, reconcile};

/// The least time between two deletions of retired interfaces.
const SWEEP: Duration = Duration::from_secs(1);

/// How many retired interfaces are deleted at once: bounds how long the kernel holds the RTNL lock.
const SWEEP_SLICE: usize = 32;

/// How long calls under way may take when the agent stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What makes it impossible to start, or to go on.
pub async fn run(args: Config) -> Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), node = args.node_name, "starting");
    let lock = lock::take(&args.paths.state_dir)?;
    plumbing::sysctl::set_root(&args.paths.sysctl_dir);
    // Before anything that may take long: load balancers ask whether this node serves Services.
    let proxy = if args.serves_services() {
        Some(Proxy::start(&args))
    } else {
        proxy::forget(&args.paths.state_dir).unwrap_or_else(|error| {
            warn!(%error, "the record of Services' ports for health checks stays: the next agent may use it");
        });
        None
    };
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let connection = source(&args).connect().await.map_err(|error| anyhow!("{error}; {}", error.remedy()))?;
    let annotator = connection.annotator();
    let reporter = connection.reporter(&args.node_name);
    let recorder = (args.policy_events == Switch::On).then(|| connection.recorder(&args.node_name)).flatten();
    let annotations = WorkQueue::new(usize::try_from(args.max_pods)?);
    let repairs = Repairs::default();
    let reservations = reservations(&args);
    let backend = open(&args, reservations.clone(), repairs.clone())?;
    let agent = Agent::new(
        &args.node_name,
        backend,
        repairs,
        annotations.clone(),
        connection.to_string(),
        connection.health(),
        reservations,
    );

    if let Some((records, events)) = agent.backend().packets().and_then(Packets::take_records) {
        agent.set_flows(Flows::new(records, events));
    }

    let mut watch = connection.watch();
    let feed = Feed::new(&args, &mut watch);
    let own_node = feed.own_node();
    let policy_feed = args.enforces_policy().then(|| policies::Feed::new(&mut watch));
    agent.set_model(feed.model());
    let invalid = connection.health().invalid_objects();
    let _watching = watch.start();
    if args.enforces_policy() {
        let State { class, set, list, rule, .. } = agent.packets()?.policy().state();
        let last = class.max(set).max(list).max(rule);
        agent.set_policies(&Policies::new(&args.node_name, last));
        policies::restore(&agent);
    }

    let listeners = http::listen(args.http_listen).await?;
    let shared = agent.clone();
    let refused = move |uid| shared.refuse_unauthorized(uid);
    let listener = nodeapi::listen(&args.paths.socket)?;
    // With the lock, which is held until the end.
    let files = Arc::new(Mutex::new(Files::new(&args, listener.socket(), lock)));
    let events = Events::start(&args);
    let incoming = nodeapi::incoming(listener, refused);
    let grpc = Server::builder()
        .add_service(NodeServer::new(NodeService::new(agent.clone())))
        .add_service(ServicesServer::new(ServicesService::new(agent.clone())))
        .add_service(PoliciesServer::new(PoliciesService::new(agent.clone())))
        .add_service(DropsServer::new(DropsService::new(agent.clone())))
        .add_service(FlowsServer::new(FlowsService::new(agent.clone())))
        .add_service(PathsServer::new(PathsService::new(agent.clone())))
        .add_service(TracesServer::new(TracesService::new(agent.clone())))
        .add_service(MidoNetKubeNodeServer::new(LegacyService::new(annotator.clone())))
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let mut grpc = tokio::spawn(grpc);
    for port in agent.backend().ports() {
        if let Some(owner) = port.owner.known() {
            agent.annotate(owner, &port);
        }
    }

    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = http::serve(listeners, agent.clone()) => ended,
        ended = &mut grpc => ended.context("the gRPC server ended")?.context("the gRPC server failed"),
        () = annotations.deliver(annotator.clone()) => Ok(()),
        () = annotate_node(&args, &agent, annotator, own_node) => Ok(()),
        ended = reconcile::run(&args, &agent, feed, invalid, Detector::new(&events), proxy.as_ref()) => ended,
        ended = enforce(&agent, policy_feed) => ended,
        () = report_ports(&agent, proxy.as_ref()) => Ok(()),
        () = files::watch(&agent, &files, &events) => Ok(()),
        () = sweep(&agent, &events) => Ok(()),
        () = leaks::watch(&agent, &args.ipam_type) => Ok(()),
        () = degraded::report(&agent, reporter) => Ok(()),
        () = denials::watch(&agent, &args.deny_log, recorder) => Ok(()),
        () = flows::watch(&agent, &args.flow_log) => Ok(()),
    };
    // Pods' packets go on through the pinned programs; only calls under way have to end.
    info!("stopping");
    stop.cancel();
    if !grpc.is_finished() && timeout(DRAIN, &mut grpc).await.is_err() {
        warn!("calls under way took too long: cut off");
    }
    result
}

/// Why the network cannot be opened, and whatever else the kernel lacks.
fn explain(args: &Config, error: anyhow::Error) -> anyhow::Error {
    match check::complaint(&check::kernel(args)) {
        complaint if complaint.is_empty() => error,
        complaint => {
            error.context(format!("this node lacks what the network needs:\n{complaint}\nso the agent"))
        }
    }
}

/// The network that is asked for, without what the other one left.
fn open(args: &Config, reservations: Option<PathBuf>, repairs: Repairs) -> Result<Box<dyn Backend>> {
    match args.network {
        NetworkKind::Embedded => {
            traces::leave_midonet()?;
            let backend = Embedded::open(settings(args, reservations), repairs);
            Ok(Box::new(backend.map_err(|error| explain(args, error))?))
        }
        NetworkKind::Midonet => {
            traces::leave_embedded(&args.paths.bpf_dir)?;
            info!(
                "MidoNet carries Pods' packets: there are no policies, limits of bandwidth, hostPorts or NodePorts on this node"
            );
            let settings = midonet::Settings {
                node_name: args.node_name.clone(),
                cluster_cidrs: args.cluster_cidr.clone(),
                service_cidrs: args.service_cidr.clone(),
                mtu: args.mtu,
                state_dir: args.paths.state_dir.clone(),
                reservations,
            };
            Ok(Box::new(Midonet::open(settings, repairs)?))
        }
    }
}

/// The directory of Pods' addresses, if the IPAM plugin keeps one.
fn reservations(args: &Config) -> Option<PathBuf> {
    leaks::keeps_files(&args.ipam_type).then(|| ipam::directory(None, CLUSTER_NETWORK))
}

fn settings(args: &Config, reservations: Option<PathBuf>) -> Settings {
    Settings {
        node_name: args.node_name.clone(),
        cluster_cidrs: args.cluster_cidr.clone(),
        service_cidrs: args.service_cidr.clone(),
        mtu: args.mtu,
        tunnel_port: args.tunnel_port,
        vni: args.vni,
        encapsulation: args.encapsulation,
        hook: args.hook,
        bpf_dir: args.paths.bpf_dir.clone(),
        state_dir: args.paths.state_dir.clone(),
        max_pods: args.max_pods,
        max_nodes: args.max_nodes,
        services: args.serves_services(),
        policy: args.enforces_policy(),
        policy_sizes: datapath::policy::Sizes {
            addresses: args.max_policy_addresses,
            entries: args.max_policy_entries,
            rules: args.max_policy_rules,
        },
        node_ports: args.nodeport_addresses.clone(),
        max_connections: (args.max_connections > 0).then_some(args.max_connections),
        max_services: args.max_services,
        max_backends: args.max_backends,
        max_drops: args.max_drops,
        recording: (args.flows == Switch::On)
            .then_some(datapath::records::Recording { most: args.max_flows, events: args.flow_events }),
        reservations,
    }
}

/// Keeps this Node annotated, if MidoNet needs it, for ever.
async fn annotate_node(
    args: &Config,
    agent: &Agent,
    annotator: Annotator,
    own: watch::Receiver<Option<Arc<Node>>>,
) {
    match args.network {
        NetworkKind::Embedded => std::future::pending().await,
        NetworkKind::Midonet => {
            let mac = attachment_mac(&args.node_name, interface::NODE);
            annotate::node::keep(agent, annotator, mac, &args.paths.midonet_host_id, own).await;
        }
    }
}

/// Keeps what is in force of policies as objects want it, if any is enforced here, for ever.
async fn enforce(agent: &Agent, feed: Option<policies::Feed>) -> Result<()> {
    match (agent.policies(), feed) {
        (Some(policies), Some(feed)) => policies::follow(agent, policies, feed).await,
        _ => std::future::pending().await,
    }
}

/// Reports the ports of Services that cannot be served, for ever.
async fn report_ports(agent: &Agent, proxy: Option<&Proxy>) {
    let Some(proxy) = proxy else { return std::future::pending().await };
    let mut problems = proxy.problems();
    loop {
        agent.set_problems(Origin::HealthPorts, problems.borrow_and_update().clone());
        // The other end lives as long as this.
        if problems.changed().await.is_err() {
            return;
        }
    }
}

/// Finishes what Pods' deletion left to be done later, whenever there is news of links, and now and then.
async fn sweep(agent: &Agent, events: &Events) {
    let mut links = events.links();
    loop {
        // Listing links waits for the kernel's RTNL lock: not on the thread that serves probes and signals.
        if let Err(error) = agent.blocking(|agent| Ok(agent.sweep())).await {
            warn!(error = format!("{error:#}"), "cannot release ports without an interface");
        }
        let deleted = tokio::task::spawn_blocking(|| plumbing::link::delete_retired(SWEEP_SLICE)).await;
        let deleted = deleted.map_err(anyhow::Error::from).and_then(|deleted| Ok(deleted?));
        let count = deleted.unwrap_or_else(|error| {
            warn!(error = format!("{error:#}"), "cannot delete retired interfaces");
            0
        });
        if count > 0 {
            info!(count, "deleted retired interfaces");
        }
        tokio::time::sleep(SWEEP).await;
        if count < SWEEP_SLICE {
            let _news = timeout(events.period(), links.changed()).await;
        }
    }
}
