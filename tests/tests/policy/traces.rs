//! What `midokube trace` says of packets, and what becomes of real ones: the same, for random policies, Pods and nodes,
//! Services with and without endpoints, addresses that nobody has, and the outside.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};

use lab::{Family, Pod, Target};
use plumbing::NetNs;
use serde_json::{Value, json};
use testkit::Random;

use crate::fates::{BEHIND, Cluster, PATIENCE, Protocol};
use crate::random::{PORTS, Policies};
use crate::scene::QUIET;
use crate::server::Server;

/// So many packets are traced; `POLICY_CASES` says otherwise.
const CASES: usize = 60;

/// So many between two changes of policies.
const EACH: usize = 20;

/// A number after those of the Services of Pods: one without endpoints.
const EMPTY: usize = 20;

/// Who sends to whom.
#[derive(Debug, Clone)]
struct Case {
    /// As the command line has it, and where it is.
    from: String,
    netns: usize,
    to: IpAddr,
    protocol: Protocol,
    port: u16,
}

struct Traced {
    case: Case,
    arrives: bool,
    document: Value,
}

/// The address of each family of the Service of that number.
fn empty_service(cluster: &Cluster) -> [IpAddr; 2] {
    let addresses = Cluster::service(EMPTY);
    let ports: Vec<Value> = ["TCP", "UDP"]
        .iter()
        .flat_map(|protocol| {
            PORTS.map(|port| json!({"name": format!("{}-{port}", protocol.to_lowercase()), "protocol": protocol, "port": port + 1000}))
        })
        .collect();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "empty"},
        "spec": {
            "type": "ClusterIP", "clusterIP": addresses[0], "clusterIPs": addresses,
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack", "ports": ports,
        },
    });
    cluster.scene.lab.write_manifest("empty-service", &service).unwrap();
    addresses
}

/// Everybody to whom a packet can be sent.
struct Everybody {
    pods: Vec<IpAddr>,
    services: Vec<IpAddr>,
    others: Vec<IpAddr>,
}

impl Everybody {
    fn new(cluster: &Cluster) -> Self {
        let outside = Family::Dual.outside().into_iter().map(|address| address.addr());
        // Of the first node's podCIDRs, of no node's, and no Service's.
        let nobody = ["10.244.1.200", "10.244.200.1", "10.96.77.77", "fd44:0:0:1::7777", "fd44:0:0:7777::1"];
        let nobody = nobody.iter().map(|text| text.parse().unwrap());
        Self {
            pods: cluster.pods.iter().flat_map(Pod::addresses).collect(),
            services: BEHIND
                .iter()
                .flat_map(|pod| Cluster::service(*pod))
                .chain(empty_service(cluster))
                .collect(),
            others: outside.chain(nobody).collect(),
        }
    }

    fn case(&self, cluster: &Cluster, random: &mut Random) -> Case {
        let mut port = PORTS[random.index(PORTS.len())];
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Ping][random.index(3)];
        let to = match random.below(10) {
            0..=4 => self.pods[random.index(self.pods.len())],
            5..=7 if protocol != Protocol::Ping => {
                // Now and then a port that the Service does not have.
                port += if random.percent(90) { 1000 } else { 0 };
                self.services[random.index(self.services.len())]
            }
            _ => self.others[random.index(self.others.len())],
        };
        let netns = random.index(cluster.pods.len());
        Case { from: cluster.pods[netns].key.to_string(), netns, to, protocol, port }
    }
}

fn trace(cluster: &Cluster, case: Case) -> Traced {
    let port = match case.protocol {
        Protocol::Tcp => format!("tcp/{}", case.port),
        Protocol::Udp => format!("udp/{}", case.port),
        Protocol::Ping => "icmp".to_owned(),
    };
    let mut command = Command::new(testkit::bin("midokube"));
    command.args(["trace", &case.from, &case.to.to_string(), &port, "--this-node", "-o", "json"]);
    for node in ["node1", "node2"] {
        command.arg("--socket").arg(cluster.scene.lab.socket(node).unwrap());
    }
    let output = command.env_remove("MIDONETKUBE_SOCKET").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{case:?}: {error}: {said}"));
    let arrives = document["outcome"]["answered"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(if arrives { 0 } else { 4 }), "{document:#}");
    assert!(!document["outcome"]["reason"].as_str().unwrap().is_empty(), "{document:#}");
    let is_told = arrives || !document["outcome"]["remedy"].as_str().unwrap().is_empty();
    assert!(is_told, "no remedy: {document:#}");
    Traced { case, arrives, document }
}

/// Sends a real packet, and compares.
fn check(netns: &NetNs, traced: &Traced) {
    let Traced { case, arrives, document } = traced;
    let to = SocketAddr::new(case.to, case.port);
    let answered = case.protocol.is_answered(netns, to, QUIET);
    let late = *arrives && !answered && case.protocol.is_answered(netns, to, PATIENCE);
    assert_eq!(*arrives, answered || late, "{case:?}: {document:#}");
}

#[test]
fn packets_have_the_fate_that_is_traced() {
    let cases = std::env::var("POLICY_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let cluster = Cluster::new();
    let everybody = Everybody::new(&cluster);
    let outside: Vec<IpAddr> = Family::Dual.outside().into_iter().map(|address| address.addr()).collect();
    let _server = Server::start(&cluster.scene.netns(&Target::Outside), &outside, &PORTS);
    let addresses: Vec<IpAddr> = everybody.pods.clone();
    let mut random = Random::new(2);
    let (mut arrived, mut lost, mut rounds) = (0, 0, 0);
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    while arrived + lost < cases {
        let policies = Policies { random: &mut random, addresses: &addresses }.some();
        cluster.enforce(policies, rounds);
        let traced: Vec<Traced> =
            (0..EACH).map(|_| trace(&cluster, everybody.case(&cluster, &mut random))).collect();
        std::thread::scope(|scope| {
            for one in &traced {
                scope.spawn(|| check(&cluster.networks[one.case.netns], one));
            }
        });
        for one in &traced {
            *(if one.arrives { &mut arrived } else { &mut lost }) += 1;
            *reasons.entry(one.document["outcome"]["reason"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        rounds += 1;
    }
    println!("{arrived} arrived, {lost} were lost, with {rounds} times other policies: {reasons:?}");
    assert!(arrived > cases / 10 && lost > cases / 10, "{arrived} arrived, {lost} were lost");
}
