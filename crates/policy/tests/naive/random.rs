//! Random objects, and random changes of them: few names, labels, addresses and ports, so that much of it meets.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use objects::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, ClusterRule, Key, LabelSelector, Labels,
    NamedPort, Namespace, NetworkPolicy, Node, Operator, Peer, Pod, PolicyPort, Ports, Protocol, Requirement,
    Rule, Tier,
};
use policy::{LocalId, LocalPod};

use super::Change;

/// Random numbers that are the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// One of these.
    pub fn choose<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    fn list<T>(&mut self, least: u64, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Box<[T]> {
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| one(self)).collect()
    }

    fn maybe<T>(&mut self, percent: u64, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| one(self))
    }
}

/// What random objects are made of.
#[derive(Debug, Clone)]
pub struct Pool {
    /// The addresses of Pods: those of one are next to each other in the list, one of each family.
    pub pods: Vec<[IpAddr; 2]>,
    /// The first of these may be Pods of this node.
    pub locals: usize,
    /// Nodes: addresses of each, and podCIDRs.
    pub nodes: Vec<(Vec<IpAddr>, Vec<IpNet>)>,
    /// Addresses of nobody.
    pub others: Vec<IpAddr>,
}

const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: [&str; 3] = ["app", "tier", "zone"];
const VALUES: [&str; 3] = ["x", "y", "z"];
const PORT_NAMES: [&str; 3] = ["http", "dns", "web"];
/// The ports of random rules, and those next to them.
pub const PORTS: [u16; 8] = [1, 53, 79, 80, 81, 443, 8080, 65535];

impl Default for Pool {
    fn default() -> Self {
        let address = |text: String| text.parse::<IpAddr>().unwrap();
        let pod = |number: u64| {
            [
                address(format!("10.0.{}.{}", number / 6, 4 + number % 6)),
                address(format!("fd00:{}::{:x}", number / 6, 4 + number % 6)),
            ]
        };
        let node = |number: u64| {
            let own = vec![
                address(format!("192.0.2.{}", 1 + number)),
                address(format!("2001:db8::{}", 1 + number)),
            ];
            let cidrs = [format!("10.0.{number}.0/24"), format!("fd00:{number}::/64")];
            (own, cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect())
        };
        Self {
            pods: (0..12).map(pod).collect(),
            locals: 6,
            nodes: (0..3).map(node).collect(),
            others: ["203.0.113.7", "10.0.0.200", "10.1.2.3", "2001:db8:ffff::7", "fd00::200", "fd01::3"]
                .map(|text| address(text.into()))
                .into(),
        }
    }
}

impl Pool {
    /// Every address that may be asked for.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.pods.iter().flatten().chain(&self.others).copied().collect();
        for (own, cidrs) in &self.nodes {
            all.extend(own);
            all.extend(cidrs.iter().filter_map(|cidr| {
                cidr.hosts().nth(match cidr {
                    IpNet::V4(_) => 1,
                    IpNet::V6(_) => 2,
                })
            }));
        }
        all
    }

    /// What there is before anything changes: most namespaces, and all nodes.
    pub fn begin(&self, random: &mut Random) -> Vec<Change> {
        let namespaces: Vec<Change> =
            (0..8).map(|_| Change::Namespace(Arc::new(self.namespace(random)))).collect();
        let nodes = (0..2 * self.nodes.len()).map(|_| Change::Node(Arc::new(self.node(random))));
        namespaces.into_iter().chain(nodes.collect::<Vec<_>>()).collect()
    }

    /// What removes everything that there can be.
    pub fn end(&self) -> Vec<Change> {
        let locals = (1..=self.locals as u32).map(|id| Change::UnsetLocal(LocalId(id)));
        let mut all: Vec<Change> = locals.collect();
        for namespace in NAMESPACES {
            all.extend(PODS.map(|name| Change::DeletePod(Key::namespaced(namespace, name))));
            all.extend(POLICIES.map(|name| Change::DeletePolicy(Key::namespaced(namespace, name))));
            all.push(Change::DeleteNamespace(Key::new(namespace)));
        }
        all.extend(POLICIES.map(|name| Change::DeleteClusterPolicy(Key::new(name))));
        all.extend(
            (0..self.nodes.len() as u64).map(|number| Change::DeleteNode(Key::new(&node_name(number)))),
        );
        all
    }

    /// A random change.
    pub fn change(&self, random: &mut Random) -> Change {
        let key = |random: &mut Random, names: &[&str]| {
            Key::namespaced(random.pick(&NAMESPACES), random.pick(names))
        };
        match random.below(100) {
            0..20 => Change::Policy(Arc::new(self.policy(random))),
            20..26 => Change::DeletePolicy(key(random, &POLICIES)),
            26..42 => Change::ClusterPolicy(Arc::new(self.cluster_policy(random))),
            42..47 => Change::DeleteClusterPolicy(Key::new(random.pick(&POLICIES))),
            47..54 => Change::Namespace(Arc::new(self.namespace(random))),
            54..55 => Change::DeleteNamespace(Key::new(random.pick(&NAMESPACES))),
            55..77 => Change::Pod(Arc::new(self.pod(random))),
            77..80 => Change::DeletePod(pod_name(random)),
            80..85 => Change::Node(Arc::new(self.node(random))),
            85..86 => Change::DeleteNode(Key::new(&node_name(random.below(self.nodes.len() as u64)))),
            86..98 => {
                let id = LocalId(1 + random.below(self.locals as u64) as u32);
                let addresses = random.pick(&self.pods[..self.locals]);
                let uid = if random.chance(50) { uid(random) } else { None };
                let pod = LocalPod { key: pod_name(random), uid, addresses: addresses.into() };
                Change::SetLocal(id, pod)
            }
            _ => Change::UnsetLocal(LocalId(1 + random.below(self.locals as u64) as u32)),
        }
    }

    /// A random namespace.
    pub fn namespace(&self, random: &mut Random) -> Namespace {
        let name = random.pick(&NAMESPACES);
        Namespace {
            key: Key::new(name),
            uid: None,
            labels: labels(random, Some(("kubernetes.io/metadata.name", name))),
            reject: random.chance(30),
            audit: random.chance(10),
            defects: Box::default(),
        }
    }

    /// A random Pod.
    pub fn pod(&self, random: &mut Random) -> Pod {
        let addresses = match random.below(10) {
            0 => Box::default(),
            1 => Box::from([random.pick(&self.pods)[0]]),
            _ => Box::from(random.pick(&self.pods)),
        };
        Pod {
            key: pod_name(random),
            uid: uid(random),
            labels: labels(random, None),
            node: random.maybe(80, |random| node_name(random.below(3)).into()),
            addresses,
            early: random.chance(20),
            host_network: random.chance(8),
            ended: random.chance(10),
            ports: random.list(0, 4, |random| NamedPort {
                name: (random.pick(&PORT_NAMES)).into(),
                protocol: protocol(random),
                port: random.pick(&PORTS),
            }),
        }
    }

    /// A random node.
    pub fn node(&self, random: &mut Random) -> Node {
        let number = random.below(self.nodes.len() as u64);
        let (own, cidrs) = &self.nodes[number as usize];
        let mut internal_ips = own.clone();
        // Some claim what is not theirs.
        if random.chance(10) {
            internal_ips.push(random.pick(&self.pods)[0]);
        }
        Node {
            name: node_name(number),
            uid: None,
            created: random.maybe(80, |random| random.below(3) as i64),
            pod_cidrs: if random.chance(90) { cidrs.clone() } else { Vec::new() },
            internal_ips,
            other_ips: random.list(0, 1, |random| random.pick(&self.others)).into(),
            zone: None,
            labels: labels(random, None),
            annotations: Default::default(),
            leaving: false,
        }
    }

    /// A random NetworkPolicy.
    pub fn policy(&self, random: &mut Random) -> NetworkPolicy {
        let rules = |random: &mut Random| random.list(0, 3, |random| self.rule(random));
        NetworkPolicy {
            key: Key::namespaced(random.pick(&NAMESPACES), random.pick(&POLICIES)),
            uid: None,
            generation: 1,
            pods: selector(random, &[]),
            ingress: random.maybe(70, rules),
            egress: random.maybe(70, rules),
            audit: random.chance(15),
            defects: Box::default(),
        }
    }

    fn rule(&self, random: &mut Random) -> Rule {
        Rule {
            peers: random.maybe(85, |random| random.list(0, 3, |random| self.peer(random))),
            ports: random.maybe(70, |random| {
                random.list(0, 3, |random| PolicyPort { protocol: protocol(random), ports: ports(random) })
            }),
        }
    }

    fn peer(&self, random: &mut Random) -> Peer {
        if random.chance(60) {
            let namespaces = random.maybe(60, |random| selector(random, &["kubernetes.io/metadata.name"]));
            return Peer::Pods { namespaces, pods: selector(random, &[]) };
        }
        let cidr = self.block(random);
        let except = random.list(0, 3, |random| self.block(random));
        Peer::Block { cidr, except: except.into_iter().filter(|except| cidr.contains(except)).collect() }
    }

    /// A block around an address that may be asked for.
    fn block(&self, random: &mut Random) -> IpNet {
        let address = random.pick(&self.addresses());
        let length = match address {
            IpAddr::V4(_) => random.pick(&[0, 8, 16, 24, 28, 30, 31, 32]),
            IpAddr::V6(_) => random.pick(&[0, 16, 32, 64, 120, 125, 126, 128]),
        };
        IpNet::new(address, length).unwrap().trunc()
    }

    /// A random ClusterNetworkPolicy.
    pub fn cluster_policy(&self, random: &mut Random) -> ClusterNetworkPolicy {
        let rules = |random: &mut Random| random.list(0, 3, |random| self.cluster_rule(random));
        ClusterNetworkPolicy {
            key: Key::new(random.pick(&POLICIES)),
            uid: None,
            generation: 1,
            tier: random.pick(&[Tier::Admin, Tier::Baseline]),
            priority: random.below(3) as u16,
            namespaces: selector(random, &["kubernetes.io/metadata.name"]),
            pods: selector(random, &[]),
            ingress: rules(random),
            egress: rules(random),
            audit: random.chance(15),
            defects: Box::default(),
        }
    }

    fn cluster_rule(&self, random: &mut Random) -> ClusterRule {
        ClusterRule {
            name: (random.pick(&["", "one", "two"])).into(),
            action: random.pick(&[Action::Accept, Action::Deny, Action::Pass]),
            peers: random.list(0, 3, |random| match random.below(20) {
                0..12 => ClusterPeer::Pods {
                    namespaces: selector(random, &["kubernetes.io/metadata.name"]),
                    pods: selector(random, &[]),
                },
                12..16 => ClusterPeer::Networks(random.list(1, 4, |random| self.block(random))),
                16..19 => ClusterPeer::Nodes(selector(random, &[])),
                _ => ClusterPeer::Unknown,
            }),
            ports: random.maybe(60, |random| {
                random.list(0, 3, |random| match random.below(20) {
                    0..13 => ClusterPort::Of(protocol(random), ports(random)),
                    13..18 => ClusterPort::Named((random.pick(&PORT_NAMES)).into()),
                    _ => ClusterPort::Unknown,
                })
            }),
        }
    }
}

const PODS: [&str; 4] = ["p-0", "p-1", "p-2", "p-3"];
const POLICIES: [&str; 4] = ["one", "two", "three", "four"];

fn pod_name(random: &mut Random) -> Key {
    Key::namespaced(random.pick(&NAMESPACES), random.pick(&PODS))
}

fn uid(random: &mut Random) -> Option<Box<str>> {
    random.maybe(85, |random| (random.pick(&["u1", "u2"])).into())
}

fn node_name(number: u64) -> String {
    format!("node{number}")
}

fn labels(random: &mut Random, more: Option<(&str, &str)>) -> Labels {
    let mut all: Vec<(&str, &str)> = more.into_iter().collect();
    for key in KEYS {
        if random.chance(60) {
            all.push((key, random.pick(&VALUES)));
        }
    }
    all.into_iter().collect()
}

fn selector(random: &mut Random, more: &[&str]) -> LabelSelector {
    let most = if random.chance(70) { 1 } else { 2 };
    let mut requirements = random.list(0, most, |random| {
        let named = !more.is_empty() && random.chance(25);
        let (key, values) =
            if named { (random.pick(more), &NAMESPACES[..]) } else { (random.pick(&KEYS), &VALUES[..]) };
        let some = |random: &mut Random| {
            let mut some = random.list(1, 2, |random| Arc::from(random.pick(values)));
            some.sort();
            some
        };
        let operator = match random.below(10) {
            0..6 => Operator::In(some(random)),
            6..8 => Operator::NotIn(some(random)),
            8 => Operator::Exists,
            _ => Operator::DoesNotExist,
        };
        Requirement { key: key.into(), operator }
    });
    requirements.sort();
    LabelSelector(requirements)
}

fn protocol(random: &mut Random) -> Protocol {
    random.pick(&Protocol::ALL)
}

fn ports(random: &mut Random) -> Ports {
    match random.below(10) {
        0..2 => Ports::All,
        2..5 => Ports::Named((random.pick(&PORT_NAMES)).into()),
        5..7 => {
            let port = random.pick(&PORTS);
            Ports::Range(port, port)
        }
        _ => {
            let (a, b) = (random.pick(&PORTS), random.pick(&PORTS));
            Ports::Range(a.min(b), a.max(b))
        }
    }
}
