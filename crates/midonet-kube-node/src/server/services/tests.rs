//! The calls over a real socket, with a datapath that only tells. As root: the socket is for root alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use datapath::follow::{Filter, Follower};
use datapath::records::{Events, Records};
use datapath::trace::{self, Entrance, Packet, Traced};
use datapath::{Counter, ServiceCounters, State, Sweep, TableUsage};
use model::{Changes, Family, Local, Problem, Protocol, Ranges, ServiceOptions};
use nodeapi::v1::services_server::ServicesServer;
use nodeapi::{Client, Message, Method, call};
use objects::{
    Endpoint, EndpointPort, EndpointSlice, Ignored, Key, Labels, Node, PortSpec, Service, ServiceType,
};
use plumbing::probe::Question;
use tokio::runtime::{Builder, Runtime};
use tonic::Code;

use super::*;
use crate::annotate::WorkQueue;
use crate::backend::{
    self, Backend, BindError, BindRequest, Connection, Detected, Outcome, Packets, PolicyTables, PortRecord,
};
use crate::config::NetworkKind;
use crate::repairs::Repairs;
use crate::server::summary::summary;

/// What the datapath has.
#[derive(Debug, Clone, Default)]
struct Told {
    serves: bool,
    /// Whether another program carries packets.
    elsewhere: bool,
    records: Vec<ServiceRecord>,
    connections: Vec<Connection>,
    /// Whether reading connections takes too long.
    slow: Arc<AtomicBool>,
}

impl Backend for Told {
    fn apply(&self, _: &Local, _: Changes, _: bool, _: bool) -> Result<Outcome> {
        bail!("it only tells")
    }

    fn invalidate(&self) {}

    fn detect(&self) -> Result<Detected> {
        Ok(Detected::default())
    }

    fn bind(&self, _: &BindRequest) -> Result<(), BindError> {
        Err(BindError::NotYet("it only tells".to_owned()))
    }

    fn release(&self, _: &str, _: &str) -> Result<Option<PortRecord>> {
        Ok(None)
    }

    fn check(&self, _: &BindRequest) -> Result<(), BindError> {
        Err(BindError::NotYet("it only tells".to_owned()))
    }

    fn sweep(&self) -> Vec<PortRecord> {
        Vec::new()
    }

    fn ports(&self) -> Vec<PortRecord> {
        Vec::new()
    }

    fn port_problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn question(&self, _: Vec<(String, IpAddr)>) -> Option<Question> {
        None
    }

    fn packets(&self) -> Option<&dyn Packets> {
        (!self.elsewhere).then_some(self)
    }

    fn status(&self) -> backend::Status {
        backend::Status {
            kind: NetworkKind::Embedded,
            tunnels: None,
            cluster_cidrs: Vec::new(),
            network: None,
        }
    }
}

impl Packets for Told {
    fn serves_services(&self) -> bool {
        self.serves
    }

    fn counters(&self) -> Result<Vec<Counter>> {
        Ok(Vec::new())
    }

    fn drops(&self) -> Result<Vec<datapath::drops::Drop>> {
        Ok(Vec::new())
    }

    fn services(&self, service: Option<&str>) -> Result<Vec<ServiceRecord>> {
        let is_asked = |record: &&ServiceRecord| service.is_none_or(|id| *record.key.service == *id);
        Ok(self.records.iter().filter(is_asked).cloned().collect())
    }

    fn service_ports(&self, numbers: &[u32]) -> Vec<Option<ServicePortKey>> {
        let port = |number: &u32| Some(self.records.iter().find(|one| one.number == *number)?.key.clone());
        numbers.iter().map(port).collect()
    }

    fn service_totals(&self) -> Result<ServiceCounters> {
        Ok(ServiceCounters { connections: 12, refused: 1 })
    }

    fn connections(
        &self,
        _: Instant,
        wanted: &dyn Fn(&Connection) -> bool,
        found: &mut dyn FnMut(Connection),
    ) -> Result<()> {
        if self.slow.load(Ordering::Relaxed) {
            bail!("it takes too long");
        }
        self.connections.iter().filter(|one| wanted(one)).copied().for_each(found);
        Ok(())
    }

    fn swept(&self) -> Arc<Sweep> {
        Arc::default()
    }

    fn take_records(&self) -> Option<(Arc<Records>, Events)> {
        None
    }

    fn policy(&self) -> &dyn PolicyTables {
        panic!("nobody asks for it")
    }

    fn trace(&self, _: Entrance, _: &Packet, _: &trace::State) -> Result<Traced> {
        bail!("it only tells")
    }

    fn rest_tracer(&self, _: Duration) {}

    fn follow(&self, _: &Filter) -> Result<Follower> {
        bail!("it only tells")
    }

    fn tables(&self) -> Vec<TableUsage> {
        vec![TableUsage { name: "connections", used: 3, limit: 131_072 }]
    }
}

fn service(id: &str, edit: impl FnOnce(&mut Service)) -> Arc<Service> {
    let (namespace, name) = split(id);
    let mut service = Service {
        key: Key::namespaced(namespace, name),
        id: id.into(),
        uid: None,
        created: Some(0),
        kind: ServiceType::NodePort,
        ignored: None,
        cluster_ips: [IpAddr::from([10, 96, 0, 10]), "fd96::a".parse().unwrap()].into(),
        ports: [PortSpec { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: 30_080 }]
            .into(),
        external_ips: Box::default(),
        load_balancer_ips: Box::default(),
        source_ranges: Box::default(),
        has_unreadable_range: false,
        affinity: Some(60),
        internal_local: false,
        external_local: true,
        health_check_node_port: 0,
        defects: Box::default(),
    };
    edit(&mut service);
    Arc::new(service)
}

/// One endpoint on this node, one on another that terminates.
fn slice(name: &str, addresses: [&str; 2]) -> Arc<EndpointSlice> {
    let endpoint = |address: &str, node: &str, terminating: bool| Endpoint {
        address: address.parse().unwrap(),
        ready: !terminating,
        serving: true,
        terminating,
        node: Some(node.into()),
        hints: None,
    };
    let [here, there] = addresses;
    Arc::new(EndpointSlice {
        key: Key::namespaced("default", name),
        uid: None,
        service: Some("default/web".into()),
        family: Family::of(here.parse().unwrap()),
        ports: [EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }].into(),
        endpoints: [endpoint(here, "n1", false), endpoint(there, "n2", true)].into(),
        triggered: None,
        defects: Box::default(),
    })
}

fn node(number: u8, zone: &str) -> Node {
    let pod_cidrs = [format!("10.244.{number}.0/24"), format!("fd44:0:0:{number}::/64")];
    let internal_ips = [format!("172.30.0.1{number}"), format!("fd30::1{number}")];
    Node {
        name: format!("n{number}"),
        uid: None,
        created: Some(1),
        pod_cidrs: pod_cidrs.map(|cidr| cidr.parse().unwrap()).into(),
        internal_ips: internal_ips.map(|address| address.parse().unwrap()).into(),
        zone: Some(zone.into()),
        leaving: false,
        other_ips: Vec::new(),
        labels: Labels::default(),
        annotations: BTreeMap::new(),
    }
}

fn model() -> Arc<Mutex<Model>> {
    let cluster = ["10.244.0.0/16", "fd44::/48"].map(|cidr| cidr.parse().unwrap()).into();
    let mut model = Model::new("n1", Ranges { cluster, service: Vec::new() })
        .with_services(ServiceOptions { external_ips: true });
    model.upsert(&node(1, "a"));
    model.upsert(&node(2, "b"));
    model.upsert_service(&service("default/web", |_| {}));
    model.upsert_service(&service("default/none", |service| {
        // Nothing else of it is kept.
        (service.ignored, service.cluster_ips, service.ports) =
            (Some(Ignored::Headless), Box::default(), Box::default());
    }));
    model.upsert_service(&service("other/lost", |service| service.created = Some(9)));
    model.upsert_slice(&slice("web-4", ["10.244.1.3", "10.244.2.3"]));
    model.upsert_slice(&slice("web-6", ["fd44:0:0:1::3", "fd44:0:0:2::3"]));
    model.services_complete(true);
    model.update().unwrap();
    Arc::new(Mutex::new(model))
}

fn key(family: Family) -> ServicePortKey {
    ServicePortKey { service: "default/web".into(), port: "http".into(), protocol: Protocol::Tcp, family }
}

fn connection(client: &str, backend: &str, state: State) -> Connection {
    let ends = [client, "10.96.0.10:80", backend];
    let [client, frontend, backend] = ends.map(|end| end.parse::<SocketAddr>().unwrap());
    let (idle, source) = (Duration::from_secs(client.port().into()), client);
    Connection {
        idle,
        protocol: 6,
        client,
        frontend,
        source,
        backend,
        service: 7,
        state,
        translated: true,
        client_ifindex: 0,
        server_ifindex: 0,
    }
}

fn told() -> Told {
    let counters = ServiceCounters { connections: 12, refused: 1 };
    let here = "10.244.1.3:8080";
    Told {
        serves: true,
        elsewhere: false,
        records: vec![ServiceRecord { key: key(Family::V4), number: 7, counters }],
        connections: vec![
            connection("10.244.1.9:3", here, State::Established),
            connection("10.244.1.9:1", here, State::New),
            connection("10.244.1.9:2", "10.244.2.3:8080", State::Established),
            connection("10.244.1.9:4", here, State::Closed),
        ],
        slow: Arc::default(),
    }
}

struct Server {
    agent: Agent,
    directory: tempfile::TempDir,
    _runtime: Runtime,
}

impl Server {
    fn start(told: Told, model: Option<&Arc<Mutex<Model>>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let agent = Agent::new(
            "n1",
            Box::new(told),
            Repairs::default(),
            WorkQueue::new(1),
            "tests".to_owned(),
            objects::Health::default(),
            None,
        );
        if let Some(model) = model {
            agent.set_model(model);
        }
        let listener = {
            let _context = runtime.enter();
            nodeapi::listen(&Self::socket(directory.path())).unwrap()
        };
        let service = ServicesServer::new(ServicesService::new(agent.clone()));
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(nodeapi::incoming(listener, |_| {})));
        Self { agent, directory, _runtime: runtime }
    }

    fn socket(directory: &Path) -> std::path::PathBuf {
        directory.join("agent/api")
    }

    fn call<Q: Message, A: Message + Default>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
    ) -> Result<A, Status> {
        let socket = Self::socket(self.directory.path());
        Client::connect(&socket, Duration::from_secs(30)).unwrap().call(method, request)
    }

    fn list(&self, namespace: &str, name: &str) -> Vec<v1::ServicePort> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.call(&call::LIST_SERVICES, &v1::ListServicesRequest { namespace, name }).unwrap().ports
    }

    fn get(&self, id: &str) -> Result<v1::GetServiceReply, Status> {
        let (namespace, name) = split(id);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.call(&call::GET_SERVICE, &v1::GetServiceRequest { namespace, name })
    }
}

#[test]
fn services_are_listed_with_what_the_datapath_has() {
    let server = Server::start(told(), Some(&model()));
    let all = server.list("", "");
    let names: Vec<_> = all.iter().map(|port| (port.name.as_str(), port.family.as_str())).collect();
    assert_eq!(names, [("web", "ipv4"), ("web", "ipv6"), ("lost", "ipv4"), ("lost", "ipv6")]);
    let frontend = |kind: &str, address: &str, port, outside: &str| v1::Frontend {
        kind: kind.into(),
        address: address.into(),
        port,
        inside: "Cluster".into(),
        outside: outside.into(),
    };
    let want = v1::ServicePort {
        namespace: "default".into(),
        name: "web".into(),
        port: "http".into(),
        protocol: "tcp".into(),
        family: "ipv4".into(),
        frontends: vec![
            frontend("ClusterIP", "10.96.0.10", 80, "Cluster"),
            frontend("NodePort", "", 30_080, "Local"),
        ],
        cluster_backends: 1,
        local_backends: 1,
        endpoints: 2,
        affinity_seconds: 60,
        source_ranges: Vec::new(),
        has_source_ranges: false,
        counters: Some(v1::ServiceCounters { connections: 12, refused: 1 }),
    };
    assert_eq!(all.first(), Some(&want));
    // The datapath does not have the other family yet, and another Service has all places of the last.
    assert_eq!(all[1].counters, None);
    assert_eq!((all[2].frontends.len(), all[2].endpoints), (0, 0));

    assert_eq!(server.list("other", ""), all[2..]);
    assert_eq!(server.list("", "web"), all[..2]);
    assert_eq!(server.list("other", "web"), []);
}

#[test]
fn one_service_is_told_with_each_backend() {
    let server = Server::start(told(), Some(&model()));
    let reply = server.get("default/web").unwrap();
    assert_eq!((reply.r#type.as_str(), reply.ignored.as_str(), reply.ports.len()), ("NodePort", "", 2));
    let backend = v1::Backend {
        address: "10.244.1.3".into(),
        port: 8080,
        node: "n1".into(),
        zone: "a".into(),
        ready: true,
        serving: true,
        active_connections: 2,
        ..v1::Backend::default()
    };
    let leaving = v1::Backend {
        address: "10.244.2.3".into(),
        node: "n2".into(),
        zone: "b".into(),
        ready: false,
        terminating: true,
        not_in_cluster: "terminating, while others are ready".into(),
        not_in_local: "not on this node".into(),
        active_connections: 1,
        ..backend.clone()
    };
    assert_eq!(reply.ports[0].backends, [backend, leaving]);
    let other_family: Vec<_> = reply.ports[1].backends.iter().map(|one| one.active_connections).collect();
    assert_eq!(other_family, [0, 0]);

    let lost = server.get("other/lost").unwrap();
    assert!(lost.problems.iter().all(|one| one.what == "service") && !lost.problems.is_empty(), "{lost:?}");
    let headless = server.get("default/none").unwrap();
    assert!(headless.ignored.contains("headless") && headless.ports.is_empty(), "{headless:?}");
    let gone = server.get("default/gone").unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert!(gone.message().contains("no Service default/gone"), "{gone}");
}

#[test]
fn connections_are_listed_through_the_filter_the_latest_first() {
    let server = Server::start(told(), Some(&model()));
    let list = |request| server.call(&call::LIST_CONNECTIONS, &request);
    let clients = |reply: &v1::ListConnectionsReply| {
        let port = |one: &v1::Connection| one.client.as_ref().unwrap().port;
        reply.connections.iter().map(port).collect::<Vec<_>>()
    };
    let none = v1::ListConnectionsRequest::default;
    let all = list(none()).unwrap();
    assert_eq!((all.matching, clients(&all)), (4, vec![1, 2, 3, 4]));
    let two = list(v1::ListConnectionsRequest { limit: 2, ..none() }).unwrap();
    assert_eq!((two.matching, clients(&two)), (4, vec![1, 2]));
    let open = list(v1::ListConnectionsRequest { state: "established".into(), ..none() }).unwrap();
    assert_eq!((open.matching, clients(&open)), (2, vec![2, 3]));
    assert_eq!(open.connections[0].service_port, "http");
    let wrong = list(v1::ListConnectionsRequest { port: 70_000, ..none() }).unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[test]
fn an_agent_without_services_says_so_and_has_connections() {
    for (told, model, code, want) in [
        (Told { serves: false, ..told() }, Some(model()), Code::FailedPrecondition, "--services off"),
        (told(), None, Code::Unavailable, "just started"),
    ] {
        let server = Server::start(told, model.as_ref());
        let status = server.get("default/web").unwrap_err();
        assert!(status.code() == code && status.message().contains(want), "{status}");
        let all = server.call(&call::LIST_CONNECTIONS, &v1::ListConnectionsRequest::default()).unwrap();
        assert_eq!(all.matching, 4);
    }
}

#[test]
fn where_another_program_carries_packets_it_is_said_who() {
    let server = Server::start(Told { elsewhere: true, ..told() }, Some(&model()));
    for status in [
        server.get("default/web").map(drop).unwrap_err(),
        server.call(&call::LIST_SERVICES, &v1::ListServicesRequest::default()).map(drop).unwrap_err(),
        server.call(&call::LIST_CONNECTIONS, &v1::ListConnectionsRequest::default()).map(drop).unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("MidoNet carries the packets"), "{status}");
    }
}

#[test]
fn what_takes_too_long_is_an_error_and_the_next_call_is_answered() {
    let told = told();
    let slow = Arc::clone(&told.slow);
    let server = Server::start(told, Some(&model()));
    slow.store(true, Ordering::Relaxed);
    let status = server.get("default/web").unwrap_err();
    assert!(status.code() == Code::Internal && status.message().contains("too long"), "{status}");
    slow.store(false, Ordering::Relaxed);
    assert!(server.get("default/web").is_ok());
}

#[test]
fn the_summary_counts_rows_once_for_each_port() {
    let server = Server::start(told(), Some(&model()));
    let counted = summary(&server.agent).unwrap();
    let table = v1::Table { name: "connections".into(), used: 3, limit: 131_072 };
    let want = v1::ServiceSummary {
        complete: true,
        services: 1,
        ports: 2,
        backends: 2,
        ports_without_backends: 0,
        tables: vec![table],
    };
    assert_eq!(counted, want);
    let starting = Server::start(told(), None);
    assert!(!summary(&starting.agent).unwrap().complete);
    let off = Server::start(Told::default(), None);
    assert_eq!(summary(&off.agent), None);
}
