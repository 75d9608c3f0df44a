//! Who talks to whom, added up: pure.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::source::Focus;
use crate::workload::workload;

/// How many ports, Services and reasons of an edge are told apart, and how many are shown.
const TOLD_APART: usize = 64;
const SHOWN: usize = 3;

/// How many round trips of an edge are looked at.
const ROUND_TRIPS: usize = 1000;

/// Where one end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A Pod: its namespace and its name.
    Pod(&'a str, &'a str),
    /// A node, by its name.
    Node(&'a str),
    /// Anything else.
    Outside,
}

/// What policy said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
    /// It only passes because a policy is on trial.
    Audit,
}

/// What is known of a flow.
#[derive(Debug, Clone)]
pub struct Traffic<'a> {
    /// What policy said.
    pub verdict: Verdict,
    /// Such as `tcp/80`.
    pub port: String,
    /// The Service that it goes through.
    pub service: Option<&'a str>,
    /// Why it is denied.
    pub reason: Option<&'a str>,
    /// Packets that were dropped.
    pub dropped_packets: u64,
    /// What goes through it now, in both directions.
    pub bytes_per_second: u64,
    /// The handshake's, in microseconds.
    pub round_trip: Option<u64>,
    /// How long ago its last packet came.
    pub last_seconds: u64,
}

/// Something on the map.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    /// `namespace`, `workload`, `pod`, `node`, `nodes` or `outside`.
    kind: &'static str,
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Default)]
struct Edge {
    flows: u64,
    denied: u64,
    audited: u64,
    dropped_packets: u64,
    bytes_per_second: u64,
    last_seconds: u64,
    round_trips: Vec<u64>,
    ports: BTreeMap<String, u64>,
    services: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
}

/// The map, as flows are added to it.
#[derive(Debug)]
pub struct Map {
    focus: Focus,
    edges: HashMap<(Item, Item), Edge>,
    flows: u64,
}

impl Focus {
    /// Whether a connection between these two is looked at.
    pub fn includes(&self, client: Place<'_>, server: Place<'_>) -> bool {
        [client, server].into_iter().any(|place| match (self, place) {
            (Self::Cluster, _) => true,
            (Self::Namespace(wanted), Place::Pod(namespace, _)) => namespace == wanted,
            (Self::Workload(wanted, of), Place::Pod(namespace, name)) => {
                namespace == wanted && workload(name) == of
            }
            _ => false,
        })
    }

    fn item(&self, place: Place<'_>) -> Item {
        let named = |kind, namespace: &str, name: Option<&str>| Item {
            kind,
            namespace: Some(namespace.to_owned()),
            name: name.map(str::to_owned),
        };
        match (self, place) {
            (Self::Cluster, Place::Pod(namespace, _)) => named("namespace", namespace, None),
            (Self::Namespace(wanted), Place::Pod(namespace, name)) if namespace == wanted => {
                named("workload", namespace, Some(workload(name)))
            }
            (Self::Namespace(_), Place::Pod(namespace, _)) => named("namespace", namespace, None),
            (Self::Workload(wanted, of), Place::Pod(namespace, name)) => {
                if namespace == wanted && workload(name) == of {
                    named("pod", namespace, Some(name))
                } else {
                    named("workload", namespace, Some(workload(name)))
                }
            }
            (Self::Workload(..), Place::Node(name)) => {
                Item { kind: "node", namespace: None, name: Some(name.to_owned()) }
            }
            (_, Place::Node(_)) => Item { kind: "nodes", namespace: None, name: None },
            (_, Place::Outside) => Item { kind: "outside", namespace: None, name: None },
        }
    }
}

impl Map {
    /// An empty one.
    pub fn new(focus: Focus) -> Self {
        Self { focus, edges: HashMap::new(), flows: 0 }
    }

    /// Adds a flow that the focus includes.
    pub fn add(&mut self, client: Place<'_>, server: Place<'_>, traffic: &Traffic<'_>) {
        self.flows += 1;
        let ends = (self.focus.item(client), self.focus.item(server));
        let edge =
            self.edges.entry(ends).or_insert_with(|| Edge { last_seconds: u64::MAX, ..Edge::default() });
        edge.flows += 1;
        edge.denied += u64::from(traffic.verdict == Verdict::Deny);
        edge.audited += u64::from(traffic.verdict == Verdict::Audit);
        edge.dropped_packets = edge.dropped_packets.saturating_add(traffic.dropped_packets);
        edge.bytes_per_second = edge.bytes_per_second.saturating_add(traffic.bytes_per_second);
        edge.last_seconds = edge.last_seconds.min(traffic.last_seconds);
        if edge.round_trips.len() < ROUND_TRIPS {
            edge.round_trips.extend(traffic.round_trip);
        }
        count(&mut edge.ports, &traffic.port);
        traffic.service.into_iter().for_each(|service| count(&mut edge.services, service));
        traffic.reason.into_iter().for_each(|reason| count(&mut edge.reasons, reason));
    }

    /// It as JSON, with so many edges at most: those with denied flows first, then those with most flows.
    ///
    /// # Errors
    /// It cannot be serialized.
    pub fn document(self, api_version: &str, limit: usize) -> serde_json::Result<Vec<u8>> {
        let all = self.edges.len();
        let mut edges: Vec<_> = self.edges.into_iter().collect();
        edges.sort_by(|(ends, edge), (others, other)| {
            let order = |edge: &Edge| (edge.denied > 0, edge.flows);
            order(other).cmp(&order(edge)).then_with(|| ends.cmp(others))
        });
        edges.truncate(limit);
        let edges: Vec<EdgeView> = edges.into_iter().map(EdgeView::from).collect();
        serde_json::to_vec(&View {
            api_version,
            kind: "FlowMap",
            matching: self.flows,
            edges_left_out: all - edges.len(),
            edges,
        })
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else if counts.len() < TOLD_APART {
        counts.insert(name.to_owned(), 1);
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    api_version: &'a str,
    kind: &'static str,
    matching: u64,
    edges_left_out: usize,
    edges: Vec<EdgeView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EdgeView {
    from: Item,
    to: Item,
    flows: u64,
    allowed: u64,
    denied: u64,
    audited: u64,
    dropped_packets: u64,
    bytes_per_second: u64,
    round_trip_microseconds: Option<u64>,
    last_seconds: u64,
    ports: Vec<String>,
    services: Vec<String>,
    reasons: Vec<String>,
    /// Whether more ports were seen than are listed.
    more_ports: bool,
}

impl From<((Item, Item), Edge)> for EdgeView {
    fn from(((from, to), mut edge): ((Item, Item), Edge)) -> Self {
        let middle = edge.round_trips.len() / 2;
        let median =
            edge.round_trips.get(middle).is_some().then(|| *edge.round_trips.select_nth_unstable(middle).1);
        Self {
            from,
            to,
            flows: edge.flows,
            allowed: edge.flows - edge.denied - edge.audited,
            denied: edge.denied,
            audited: edge.audited,
            dropped_packets: edge.dropped_packets,
            bytes_per_second: edge.bytes_per_second,
            round_trip_microseconds: median,
            last_seconds: edge.last_seconds,
            more_ports: edge.ports.len() > SHOWN,
            ports: most(edge.ports),
            services: most(edge.services),
            reasons: most(edge.reasons),
        }
    }
}

/// The most frequent ones.
fn most(counts: BTreeMap<String, u64>) -> Vec<String> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by(|(_, one), (_, other)| other.cmp(one));
    all.into_iter().take(SHOWN).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn traffic(verdict: Verdict, port: &str) -> Traffic<'static> {
        Traffic {
            verdict,
            port: port.to_owned(),
            service: Some("shop/web"),
            reason: (verdict == Verdict::Deny).then_some("policy_ingress"),
            dropped_packets: u64::from(verdict == Verdict::Deny) * 3,
            bytes_per_second: 10,
            round_trip: (verdict == Verdict::Allow).then_some(200),
            last_seconds: 4,
        }
    }

    fn document(focus: Focus, limit: usize) -> Value {
        let (client, web, db) = (
            Place::Pod("default", "client"),
            Place::Pod("shop", "web-7d4b9c6f5d-x2x4k"),
            Place::Pod("shop", "db-0"),
        );
        let mut map = Map::new(focus);
        let all = [
            (client, web, traffic(Verdict::Allow, "tcp/80")),
            (client, web, traffic(Verdict::Allow, "tcp/443")),
            (client, db, traffic(Verdict::Deny, "tcp/5432")),
            (web, db, traffic(Verdict::Audit, "tcp/5432")),
            (Place::Node("node1"), web, traffic(Verdict::Allow, "tcp/80")),
            (web, Place::Outside, traffic(Verdict::Allow, "udp/53")),
        ];
        for (from, to, traffic) in all {
            if map.focus.includes(from, to) {
                map.add(from, to, &traffic);
            }
        }
        serde_json::from_slice(&map.document("v1", limit).unwrap()).unwrap()
    }

    fn ends(document: &Value) -> Vec<String> {
        let name = |item: &Value| {
            let parts =
                ["kind", "namespace", "name"].map(|part| item[part].as_str().unwrap_or("").to_owned());
            parts.join(" ").trim_end().to_owned()
        };
        let edges = document["edges"].as_array().unwrap();
        edges.iter().map(|edge| format!("{} > {}", name(&edge["from"]), name(&edge["to"]))).collect()
    }

    #[test]
    fn namespaces_then_workloads_then_pods() {
        let cluster = document(Focus::Cluster, 100);
        assert_eq!(
            ends(&cluster),
            [
                "namespace default > namespace shop",
                "namespace shop > namespace shop",
                "namespace shop > outside",
                "nodes > namespace shop"
            ]
        );
        let edge = &cluster["edges"][0];
        assert_eq!(
            [
                &edge["flows"],
                &edge["allowed"],
                &edge["denied"],
                &edge["droppedPackets"],
                &edge["bytesPerSecond"]
            ],
            [3, 2, 1, 3, 30]
        );
        assert_eq!(edge["roundTripMicroseconds"], 200);
        assert_eq!(edge["ports"], json!(["tcp/443", "tcp/5432", "tcp/80"]));
        assert_eq!(edge["reasons"], json!(["policy_ingress"]));
        let namespace = document(Focus::Namespace("shop".to_owned()), 100);
        assert!(ends(&namespace).contains(&"workload shop web > workload shop db".to_owned()));
        assert!(ends(&namespace).contains(&"namespace default > workload shop db".to_owned()));
        let workload = document(Focus::Workload("shop".to_owned(), "db".to_owned()), 100);
        assert_eq!(
            ends(&workload),
            ["workload default client > pod shop db-0", "workload shop web > pod shop db-0"]
        );
        assert_eq!(workload["matching"], 2);
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let document = document(Focus::Cluster, 1);
        assert_eq!(ends(&document), ["namespace default > namespace shop"]);
        assert_eq!((&document["edgesLeftOut"], &document["matching"]), (&json!(3), &json!(6)));
    }
}
