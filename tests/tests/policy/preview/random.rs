//! Random policies.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use lab::Pod;
use serde_json::{Value, json};
use testkit::Random;

use super::PORTS;

/// So many policies there are at a time.
const MOST: u64 = 6;

/// What becomes of a policy.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Apply(Value),
    /// As `midokube` names it.
    Delete(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(object) => write!(f, "applied: {object}"),
            Self::Delete(name) => write!(f, "deleted: {name}"),
        }
    }
}

/// A policy as `midokube` names it.
pub(super) fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let kind = text(&object["kind"]).to_lowercase();
    let name = text(&object["metadata"]["name"]);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Those that exist.
pub(super) struct Policies {
    blocks: Vec<IpNet>,
    generation: u32,
    /// By their files' names.
    known: BTreeMap<String, String>,
}

impl Policies {
    /// None. Some blocks will be of these Pods' addresses.
    pub(super) fn new(pods: &[Pod]) -> Self {
        let mut blocks: Vec<IpNet> = pods.iter().flat_map(Pod::addresses).map(IpNet::from).collect();
        let wide = ["10.244.1.0/24", "10.244.0.0/16", "fd44::/48", "fd44:0:0:2::/64", "0.0.0.0/0", "::/0"];
        blocks.extend(wide.map(|block| block.parse::<IpNet>().unwrap()));
        Self { blocks, generation: 0, known: BTreeMap::new() }
    }

    /// Deletes all.
    pub(super) fn clear(&mut self) -> Vec<(Change, String)> {
        let all = std::mem::take(&mut self.known);
        all.into_iter().map(|(file, name)| (Change::Delete(name), file)).collect()
    }

    /// A change and the file that it is about.
    pub(super) fn next(&mut self, random: &mut Random) -> (Change, String) {
        let slot = random.below(MOST);
        let file = format!("policy-{slot}");
        if self.known.contains_key(&file) && random.percent(33) {
            let name = self.known.remove(&file).unwrap();
            return (Change::Delete(name), file);
        }
        self.generation += 1;
        // A slot always has the same name: what is there is replaced.
        let mut object = if slot < MOST / 2 { self.network(random, slot) } else { self.cluster(random) };
        object["metadata"]["name"] = json!(format!("p{slot}"));
        object["metadata"]["uid"] = json!(format!("u{slot}"));
        object["metadata"]["generation"] = json!(self.generation);
        if random.percent(12) {
            object["metadata"]["annotations"] = json!({"midonet.org/policy-audit": "true"});
        }
        self.known.insert(file.clone(), name(&object));
        (Change::Apply(object), file)
    }

    fn network(&self, random: &mut Random, slot: u64) -> Value {
        let types = pick(random, &[json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
        let mut rules = |peers: &str| {
            let count = random.below(3);
            let one = |random: &mut Random| {
                let mut rule = json!({});
                if !random.percent(20) {
                    let count = 1 + random.below(2);
                    rule[peers] = (0..count).map(|_| self.peer(random)).collect();
                }
                if random.percent(50) {
                    rule["ports"] = json!([port(random)]);
                }
                rule
            };
            (0..count).map(|_| one(random)).collect::<Vec<_>>()
        };
        let (ingress, egress) = (rules("from"), rules("to"));
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": if slot == 0 { "other" } else { "shop" }},
            "spec": {"podSelector": pods(random), "policyTypes": types, "ingress": ingress, "egress": egress},
        })
    }

    fn peer(&self, random: &mut Random) -> Value {
        match random.below(4) {
            0 => json!({"podSelector": pods(random)}),
            1 => json!({"namespaceSelector": namespaces(random)}),
            2 => json!({"namespaceSelector": namespaces(random), "podSelector": pods(random)}),
            _ => {
                let block = pick(random, &self.blocks);
                let inside = |other: &&IpNet| block.contains(*other) && **other != block;
                let excepted: Vec<&IpNet> = self.blocks.iter().filter(inside).collect();
                let except = if excepted.is_empty() { vec![] } else { vec![*pick(random, &excepted)] };
                json!({"ipBlock": {"cidr": block, "except": except}})
            }
        }
    }

    fn cluster(&self, random: &mut Random) -> Value {
        let mut rules = |peers: &str| {
            let count = random.below(3);
            let one = |random: &mut Random| {
                let mut rule = json!({"action": pick(random, &["Accept", "Deny", "Pass"])});
                let peer = match random.below(4) {
                    0 => json!({"namespaces": namespaces(random)}),
                    1 if peers == "to" => json!({"networks": [pick(random, &self.blocks)]}),
                    2 if peers == "to" => json!({"nodes": {}}),
                    _ => {
                        json!({"pods": {"namespaceSelector": namespaces(random), "podSelector": pods(random)}})
                    }
                };
                rule[peers] = json!([peer]);
                if random.percent(33) {
                    let number = pick(random, &PORTS);
                    rule["protocols"] = json!([{"udp": {"destinationPort": {"number": number}}}]);
                }
                rule
            };
            (0..count).map(|_| one(random)).collect::<Vec<_>>()
        };
        let (ingress, egress) = (rules("from"), rules("to"));
        let subject = match random.below(2) {
            0 => json!({"namespaces": namespaces(random)}),
            _ => json!({"pods": {"namespaceSelector": namespaces(random), "podSelector": pods(random)}}),
        };
        json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {},
            "spec": {
                "tier": pick(random, &["Admin", "Baseline"]), "priority": random.below(100), "subject": subject,
                "ingress": ingress, "egress": egress,
            },
        })
    }
}

fn pick<T: Clone>(random: &mut Random, all: &[T]) -> T {
    all[random.index(all.len())].clone()
}

fn pods(random: &mut Random) -> Value {
    match random.below(4) {
        0 => json!({}),
        1 => json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}),
        _ => json!({"matchLabels": {"app": pick(random, &["web", "db", "guest"])}}),
    }
}

fn namespaces(random: &mut Random) -> Value {
    match random.below(3) {
        0 => json!({}),
        _ => json!({"matchLabels": {"team": pick(random, &["shop", "guests"])}}),
    }
}

fn port(random: &mut Random) -> Value {
    let number = pick(random, &PORTS);
    match random.below(4) {
        0 => json!({"protocol": "UDP"}),
        1 => json!({"protocol": "UDP", "port": "echo"}),
        2 => json!({"protocol": "UDP", "port": number - 5, "endPort": number}),
        _ => json!({"protocol": pick(random, &["UDP", "TCP"]), "port": number}),
    }
}
