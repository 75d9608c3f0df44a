//! An agent that knows only its status, and the program that asks it.

use std::path::PathBuf;
use std::process::{Command, Output};

use nodeapi::v1::drops_server::DropsServer;
use nodeapi::v1::flows_server::FlowsServer;
use nodeapi::v1::node_server::{Node, NodeServer};
use nodeapi::v1::paths_server::PathsServer;
use nodeapi::v1::policies_server::PoliciesServer;
use nodeapi::v1::services_server::ServicesServer;
use nodeapi::v1::traces_server::TracesServer;
use nodeapi::v1::{
    self, BindPortReply, BindPortRequest, CheckPortReply, ReadyReply, ReadyRequest, ReleasePortReply,
    ReleasePortRequest, StatusReply, StatusRequest,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tonic::{Request, Response, Status, async_trait};

use super::doctor::FakePaths;
use super::drops::FakeDrops;
use super::flows::FakeFlows;
use super::policies::FakePolicies;
use super::services::FakeServices;
use super::traces::FakeTraces;

type Answer = dyn Fn() -> Result<StatusReply, Status> + Send + Sync;

pub(crate) struct FakeAgent {
    dir: TempDir,
    _runtime: Runtime,
}

/// What it knows besides.
#[derive(Default)]
struct Fakes {
    services: Option<FakeServices>,
    policies: Option<FakePolicies>,
    drops: Option<FakeDrops>,
    flows: Option<FakeFlows>,
    paths: Option<FakePaths>,
    traces: Option<FakeTraces>,
}

impl FakeAgent {
    /// An agent that answers every question by `answer`.
    pub(crate) fn answering(
        answer: impl Fn() -> Result<StatusReply, Status> + Send + Sync + 'static,
    ) -> Self {
        Self::start(answer, Fakes::default())
    }

    /// An agent that knows Services, too.
    pub(crate) fn serving(services: FakeServices) -> Self {
        Self::start(|| Ok(full()), Fakes { services: Some(services), ..Fakes::default() })
    }

    /// An agent that enforces policies, too.
    pub(crate) fn enforcing(policies: FakePolicies) -> Self {
        Self::start(|| Ok(full()), Fakes { policies: Some(policies), ..Fakes::default() })
    }

    /// An agent that knows drops, too.
    pub(crate) fn dropping(drops: FakeDrops) -> Self {
        Self::start(|| Ok(full()), Fakes { drops: Some(drops), ..Fakes::default() })
    }

    /// An agent that knows flows, too.
    pub(crate) fn telling(flows: FakeFlows) -> Self {
        Self::start(|| Ok(full()), Fakes { flows: Some(flows), ..Fakes::default() })
    }

    /// An agent that answers every question by `answer`, and probes paths, too.
    pub(crate) fn probing(reply: StatusReply, paths: FakePaths) -> Self {
        Self::start(move || Ok(reply.clone()), Fakes { paths: Some(paths), ..Fakes::default() })
    }

    /// An agent that traces, too.
    pub(crate) fn tracing(traces: FakeTraces) -> Self {
        Self::start(|| Ok(full()), Fakes { traces: Some(traces), ..Fakes::default() })
    }

    fn start(answer: impl Fn() -> Result<StatusReply, Status> + Send + Sync + 'static, fakes: Fakes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = {
            let _context = runtime.enter();
            nodeapi::listen(&dir.path().join("agent/api")).unwrap()
        };
        let service = NodeServer::new(Service(Box::new(answer)));
        let Fakes { services, policies, drops, flows, paths, traces } = fakes;
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .add_optional_service(services.map(ServicesServer::new))
            .add_optional_service(policies.map(PoliciesServer::new))
            .add_optional_service(drops.map(DropsServer::new))
            .add_optional_service(flows.map(FlowsServer::new))
            .add_optional_service(paths.map(PathsServer::new))
            .add_optional_service(traces.map(TracesServer::new));
        runtime.spawn(server.serve_with_incoming(nodeapi::incoming(listener, |_| {})));
        Self { dir, _runtime: runtime }
    }

    pub(crate) fn with(reply: StatusReply) -> Self {
        Self::answering(move || Ok(reply.clone()))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("agent/api")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = midokube(arguments);
        command.arg("--socket").arg(self.socket());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

struct Service(Box<Answer>);

#[async_trait]
impl Node for Service {
    async fn bind_port(&self, _: Request<BindPortRequest>) -> Result<Response<BindPortReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn release_port(
        &self,
        _: Request<ReleasePortRequest>,
    ) -> Result<Response<ReleasePortReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn check_port(&self, _: Request<BindPortRequest>) -> Result<Response<CheckPortReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn ready(&self, _: Request<ReadyRequest>) -> Result<Response<ReadyReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        (self.0)().map(Response::new)
    }
}

/// The program, with nothing of the caller's environment that changes what it says.
pub(crate) fn midokube(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midokube"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI", "KUBECONFIG", "MIDONETKUBE_SOCKET"] {
        command.env_remove(name);
    }
    command.args(arguments).env("TERM", "xterm");
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a node that is ready says that knows something of everything.
pub(crate) fn full() -> StatusReply {
    let port = |namespace: &str, name: &str| v1::Port {
        namespace: namespace.into(),
        name: name.into(),
        container_id: "c1".into(),
        ifname: "eth0".into(),
        host_ifname: "mido123".into(),
        host_ifindex: 7,
        mac: "0a:00:00:00:00:01".into(),
        addresses: vec!["10.244.1.3".into(), "fd44:0:0:1::3".into()],
        port_id: "9839ba43-2faa-5012-929a-1f167eecd3dc".into(),
        sent: Some(v1::Traffic { packets: 7, bytes: 2048 }),
        received: Some(v1::Traffic { packets: 8, bytes: 4096 }),
        bandwidth: Some(v1::Bandwidth { egress_rate: 10_000_000, egress_burst: 8, ..Default::default() }),
        bound: Some(true),
    };
    let counter = |name: &str, verdict: &str| v1::Counter {
        name: name.into(),
        help: format!("the meaning of {name}"),
        drop: verdict != "forward",
        packets: 3,
        bytes: 300,
        verdict: verdict.into(),
    };
    StatusReply {
        agent: Some(v1::Agent {
            version: "9.8.7".into(),
            node: "node7".into(),
            uptime_seconds: 65,
            ready: true,
            source: "manifests".into(),
            source_error: "no answer".into(),
            objects_from_disk_seconds: Some(5),
            ..Default::default()
        }),
        problems: vec![v1::Problem {
            what: "pod_cidr".into(),
            object: "Node b".into(),
            problem: "overlaps".into(),
            remedy: "correct it".into(),
        }],
        network: Some(v1::Network {
            kind: "embedded".into(),
            pod_cidrs: vec!["10.244.1.0/24".into()],
            gateways: vec!["10.244.1.1".into()],
            node_addresses: vec!["10.244.1.2".into()],
            node_mac: "0a:00:00:00:00:02".into(),
            node_port_id: "9ab30836-6b67-5389-b1f5-b2459bedb840".into(),
            mtu: 1450,
            uplink: "eth0".into(),
            tunnel_address: "172.30.0.11".into(),
            overlay_port: 4789,
            vni: 1,
            cluster_cidrs: vec!["10.244.0.0/16".into()],
            encapsulation: "direct".into(),
            node_port_bound: Some(true),
        }),
        ports: vec![port("default", "web"), port("kube-system", "dns")],
        peers: vec![v1::Peer {
            node: "node8".into(),
            pod_cidrs: vec!["10.244.2.0/24".into()],
            tunnel_address: "172.30.0.12".into(),
        }],
        counters: vec![
            counter("local", "forward"),
            counter("source_ip", "drop"),
            counter("multicast", "ignore"),
        ],
        leaks: vec![v1::Leak {
            what: "address_conflict".into(),
            object: "10.244.1.3".into(),
            reason: "it is reserved for another".into(),
            remedy: "delete the Pod".into(),
        }],
        leaks_incomplete: "other-ipam keeps the addresses".into(),
        services: Some(v1::ServiceSummary {
            complete: true,
            services: 1,
            ports: 2,
            backends: 6,
            ports_without_backends: 0,
            tables: vec![v1::Table { name: "connections".into(), used: 12, limit: 131_072 }],
        }),
        policy: Some(v1::PolicySummary {
            complete: true,
            generation: 5,
            in_force: true,
            sets: 2,
            classes: 3,
            rules: 4,
            pods_policed: 2,
            pods_closed: 0,
            tables: vec![v1::Table { name: "policy_classes".into(), used: 12, limit: 131_072 }],
        }),
    }
}

/// What a node says that has only just started.
pub(crate) fn starting() -> StatusReply {
    StatusReply {
        agent: Some(v1::Agent {
            node: "node7".into(),
            not_ready_reason: "the Node has no podCIDR yet".into(),
            ..Default::default()
        }),
        network: Some(v1::Network { kind: "embedded".into(), ..Default::default() }),
        ports: vec![v1::Port { namespace: "default".into(), name: "web".into(), ..Default::default() }],
        peers: vec![v1::Peer { node: "node8".into(), ..Default::default() }],
        ..Default::default()
    }
}
