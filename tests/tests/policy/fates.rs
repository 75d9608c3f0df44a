//! What `midokube policy explain` says of connections, and what becomes of them: the same, for random policies.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use e2e::services::{CLUSTER_IPS, SERVICE_CIDRS};
use e2e::{DEADLINE, pod};
use lab::Pod;
use lab::probe::ping;
use plumbing::NetNs;
use serde_json::{Value, json};
use testkit::Random;

use crate::random::{APPS, NAMES, PORTS, Policies, TIERS};
use crate::scene::{QUIET, Scene};
use crate::server::Server;

/// So many connections are tried; `POLICY_CASES` says otherwise.
const CASES: usize = 300;

/// So many pairs of ends are tried between two changes of policies: each over both families.
const PAIRS: usize = 40;

/// How long an answer that is to come may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The file with all policies: they change at once.
const FILE: &str = "policies";

/// Pods: the node, the namespace and the name.
const PODS: [(&str, &str, &str); 6] = [
    ("node1", "shop", "p0"),
    ("node2", "shop", "p1"),
    ("node1", "shop", "p2"),
    ("node2", "other", "p3"),
    ("node1", "other", "p4"),
    ("node2", "other", "p5"),
];

/// The Pods behind Services.
pub(crate) const BEHIND: [usize; 2] = [0, 3];

/// The Pods that tell what is in force, by node.
const MARKERS: [&str; 2] = ["marker/m1", "marker/m2"];

pub(crate) struct Cluster {
    pub(crate) scene: Scene,
    pub(crate) pods: Vec<Pod>,
    pub(crate) networks: Vec<NetNs>,
    _servers: Vec<Server>,
}

/// To whom a connection leads.
#[derive(Debug, Clone, Copy)]
enum To {
    Pod(usize),
    /// A Pod, through its Service.
    Service(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Ping,
}

/// Connections of both families.
#[derive(Debug, Clone, Copy)]
struct Case {
    from: usize,
    to: To,
    protocol: Protocol,
    port: u16,
}

/// A connection, and what was said of it.
#[derive(Debug)]
struct Told {
    case: Case,
    address: IpAddr,
    passes: bool,
    why: Vec<Value>,
}

/// How a connection ended.
#[derive(Debug, Default)]
struct Sums {
    passed: usize,
    stopped: usize,
    /// Those of which the first packets were lost.
    late: usize,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let scene = Scene::of(2, &[SERVICE_CIDRS]);
        scene.namespace("marker", json!({}), &json!({}));
        // What is denied there is answered.
        scene.namespace("other", json!({"team": "guests"}), &json!({"midonet.org/policy-deny": "reject"}));
        let add = |(number, (node, namespace, name)): (usize, &(&str, &str, &str))| {
            let port = |at: usize, protocol: &str| json!({"name": NAMES[at], "containerPort": PORTS[(number + at) % PORTS.len()], "protocol": protocol});
            let ports = json!([port(0, "TCP"), port(0, "UDP"), port(1, "TCP")]);
            let object = json!({
                "metadata": {"labels": {"app": APPS[number % APPS.len()], "tier": TIERS[number / 2 % TIERS.len()]}},
                "spec": {"containers": [{"name": "main", "image": "none", "ports": ports}]},
            });
            scene.lab.add_pod_like(node, namespace, name, object).unwrap()
        };
        let pods: Vec<Pod> = PODS.iter().enumerate().map(add).collect();
        for (node, marker) in ["node1", "node2"].into_iter().zip(MARKERS) {
            let (namespace, name) = marker.split_once('/').unwrap();
            scene.silent_pod(node, namespace, name, "marker");
        }
        let networks: Vec<NetNs> = pods.iter().map(|of| scene.netns(&pod(of))).collect();
        let servers =
            pods.iter().zip(&networks).map(|(pod, netns)| Server::start(netns, &pod.addresses(), &PORTS));
        let servers = servers.collect();
        let cluster = Self { scene, pods, networks, _servers: servers };
        BEHIND.iter().for_each(|pod| cluster.write_service(*pod));
        cluster
    }

    /// The addresses of a Pod's Service.
    pub(crate) fn service(pod: usize) -> [IpAddr; 2] {
        CLUSTER_IPS.map(|address| match address.parse().unwrap() {
            IpAddr::V4(address) => {
                IpAddr::from((u32::from(address) + u32::try_from(pod).unwrap()).to_be_bytes())
            }
            IpAddr::V6(address) => IpAddr::from((u128::from(address) + pod as u128).to_be_bytes()),
        })
    }

    /// Writes a Pod's Service: its ports are the Pod's, each moved by one thousand.
    fn write_service(&self, number: usize) {
        let pod = &self.pods[number];
        let addresses = Self::service(number);
        let name = format!("s{number}");
        let each = |one: &dyn Fn(&str, u16) -> Value| -> Vec<Value> {
            ["TCP", "UDP"].iter().flat_map(|protocol| PORTS.map(|port| one(protocol, port))).collect()
        };
        let port_name = |protocol: &str, port: u16| format!("{}-{port}", protocol.to_lowercase());
        let ports = each(
            &|protocol, port| json!({"name": port_name(protocol, port), "protocol": protocol, "port": port + 1000, "targetPort": port}),
        );
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": name},
            "spec": {
                "type": "ClusterIP", "clusterIP": addresses[0], "clusterIPs": addresses,
                "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack", "ports": ports,
            },
        });
        let ports = each(
            &|protocol, port| json!({"name": port_name(protocol, port), "protocol": protocol, "port": port}),
        );
        let slice = |family: &str| {
            let address = pod.addresses().into_iter().find(|address| address.is_ipv4() == (family == "IPv4"));
            let conditions = json!({"ready": true, "serving": true, "terminating": false});
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": "default", "name": format!("{name}-{}", family.to_lowercase()),
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family, "ports": ports,
                "endpoints": [{"addresses": [address], "nodeName": pod.node, "conditions": conditions}],
            })
        };
        for (object, file) in [(service, "service"), (slice("IPv4"), "v4"), (slice("IPv6"), "v6")] {
            self.scene.lab.write_manifest(&format!("{name}-{file}"), &object).unwrap();
        }
    }

    /// Replaces all policies, and waits until the new ones are in force on both nodes.
    pub(crate) fn enforce(&self, mut policies: Vec<Value>, number: usize) {
        // What tells that they are, of either kind.
        let name = format!("marker-{number}");
        let subject = json!({"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "marker"}}});
        let rule = json!({"name": "r", "action": "Pass", "from": [{"namespaces": {}}]});
        policies.push(json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": name},
            "spec": {"tier": "Admin", "priority": 1000, "subject": subject, "ingress": [rule]},
        }));
        policies.push(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "marker", "name": name}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        }));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": policies});
        self.scene.lab.write_manifest(FILE, &list).unwrap();
        let wanted = [json!([name]), json!([format!("marker/{name}")])];
        for (node, marker) in (1..).zip(MARKERS) {
            testkit::wait_until(DEADLINE, &format!("{name} is in force on node {node}"), || {
                let view = self.scene.document(node, &format!("policy {marker}"));
                let known = view["pods"][0]["policies"].as_array().unwrap();
                let is_known = |wanted: &Value| known.iter().any(|known| known["policies"] == *wanted);
                let status = self.scene.lab.status(&format!("node{node}")).unwrap().policy.unwrap();
                wanted.iter().all(is_known) && status.in_force
            });
        }
    }

    /// What both nodes say of a case, for each family.
    fn explain(&self, case: Case) -> [Told; 2] {
        let key = |pod: usize| self.pods[pod].key.to_string();
        let port = match case.protocol {
            Protocol::Tcp => format!("tcp/{}", case.port),
            Protocol::Udp => format!("udp/{}", case.port),
            Protocol::Ping => "icmp".to_owned(),
        };
        let (end, addresses): (usize, [IpAddr; 2]) = match case.to {
            To::Pod(pod) => (pod, self.pods[pod].addresses().try_into().unwrap()),
            To::Service(pod) => (pod, Self::service(pod)),
        };
        let names = match case.to {
            To::Pod(pod) => vec![key(pod)],
            To::Service(_) => addresses.map(|address| address.to_string()).into(),
        };
        let mut nodes = vec![&self.pods[case.from].node, &self.pods[end].node];
        nodes.dedup();
        let mut paths: Vec<Value> = Vec::new();
        for node in nodes {
            let node = if node == "node1" { 1 } else { 2 };
            for name in &names {
                let line = format!("policy explain {} {name} {port}", key(case.from));
                paths.extend(self.scene.document(node, &line)["paths"].as_array().unwrap().clone());
            }
        }
        addresses.map(|address| {
            let is_of = |path: &&Value| {
                path["source"].as_str().unwrap().parse::<IpAddr>().unwrap().is_ipv4() == address.is_ipv4()
            };
            let own: Vec<Value> = paths.iter().filter(is_of).cloned().collect();
            let said = |of: &str| -> Vec<&Value> {
                own.iter().map(|path| &path[of]).filter(|said| !said.is_null()).collect()
            };
            let (egress, ingress) = (said("egress"), said("ingress"));
            assert!(egress.len() == 1 && ingress.len() == 1, "{case:?}: each end is decided once: {own:#?}");
            let passes = egress.iter().chain(&ingress).all(|said| said["verdict"] != "deny");
            Told { case, address, passes, why: own }
        })
    }

    /// Whether an answer comes within that time.
    fn is_answered(&self, told: &Told, deadline: Duration) -> bool {
        let Told { case, address, .. } = told;
        case.protocol.is_answered(&self.networks[case.from], SocketAddr::new(*address, case.port), deadline)
    }

    /// Tries a connection, and compares with what was said.
    fn check(&self, told: &Told, sums: &std::sync::Mutex<Sums>) {
        let answered = self.is_answered(told, QUIET);
        let late = told.passes && !answered && self.is_answered(told, PATIENCE);
        let Told { case, address, passes, why } = told;
        assert_eq!(*passes, answered || late, "{case:?} to {address}: {why:#?}");
        let mut sums = sums.lock().unwrap();
        sums.late += usize::from(late);
        *(if told.passes { &mut sums.passed } else { &mut sums.stopped }) += 1;
    }
}

impl Protocol {
    /// Whether an answer comes from there within that time.
    pub(crate) fn is_answered(self, netns: &NetNs, to: SocketAddr, deadline: Duration) -> bool {
        match self {
            Self::Tcp => netns.run(|| TcpStream::connect_timeout(&to, deadline)).unwrap().is_ok(),
            Self::Udp => udp(netns, to, deadline),
            Self::Ping => ping(netns, to.ip(), deadline).is_ok(),
        }
    }
}

fn udp(netns: &NetNs, to: SocketAddr, deadline: Duration) -> bool {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = netns.run(|| UdpSocket::bind((any, 0))).unwrap().unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(QUIET)).unwrap();
    let end = Instant::now() + deadline;
    loop {
        // An error is that of the datagram before: it was rejected.
        let answered = socket.send(b"?").is_ok() && socket.recv(&mut [0; 8]).is_ok();
        if answered || Instant::now() >= end {
            return answered;
        }
    }
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let (from, port) = (random.index(PODS.len()), PORTS[random.index(PORTS.len())]);
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Ping][random.index(3)];
        if protocol != Protocol::Ping && random.percent(30) {
            let to = To::Service(BEHIND[random.index(BEHIND.len())]);
            return Self { from, to, protocol, port: port + 1000 };
        }
        Self { from, to: To::Pod(random.index(PODS.len())), protocol, port }
    }
}

#[test]
fn packets_have_the_fate_that_is_explained() {
    let cases = std::env::var("POLICY_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let cluster = Cluster::new();
    let begin = Instant::now();
    let mut random = Random::new(1);
    let addresses: Vec<IpAddr> = cluster.pods.iter().flat_map(Pod::addresses).collect();
    let sums = std::sync::Mutex::new(Sums::default());
    let mut rounds = 0;
    while {
        let sums = sums.lock().unwrap();
        sums.passed + sums.stopped < cases
    } {
        let policies = Policies { random: &mut random, addresses: &addresses }.some();
        cluster.enforce(policies, rounds);
        let told: Vec<Told> = (0..PAIRS).flat_map(|_| cluster.explain(Case::random(&mut random))).collect();
        std::thread::scope(|scope| {
            for one in &told {
                scope.spawn(|| cluster.check(one, &sums));
            }
        });
        rounds += 1;
    }
    let sums = sums.into_inner().unwrap();
    println!("{sums:?} with {rounds} times other policies in {:?}", begin.elapsed());
    assert!(sums.passed > cases / 10 && sums.stopped > cases / 10, "{sums:?}");
}
