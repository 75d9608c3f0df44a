//! Flows as programs get them: see docs/reference.md.

use std::time::SystemTime;

use nodeapi::v1;
use serde::{Deserialize, Serialize};

use crate::API_VERSION;
use crate::answer::{number, some};
use crate::services::{service_name, socket};

/// The flows of one node, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) nodes: Vec<Node>,
    /// How many match, listed or not.
    pub(crate) matching: u64,
    pub(crate) flows: Vec<Flow>,
    /// What is asked for by a name that no flow has, for people.
    #[serde(skip)]
    pub(super) unknown: Vec<String>,
}

/// What a node says of its flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) node: String,
    /// Why there is no answer.
    pub(crate) error: Option<String>,
    /// Events that its kernel made since its agent started, and those that could not be sent.
    pub(crate) events: u64,
    pub(crate) lost_events: u64,
    /// Flows that had to go for others before their hour was over.
    pub(crate) dropped: u64,
}

/// A connection, or what was denied to one source, destination and port: by policy, or for another reason.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flow {
    /// Who sees it.
    pub(crate) nodes: Vec<String>,
    /// Tells it from all others of the first of these nodes.
    pub(crate) id: String,
    /// `None`: it is not known.
    pub(crate) protocol: Option<String>,
    pub(crate) client: End,
    /// Where the client sent to: a Service's address, or the backend's own.
    pub(crate) frontend: End,
    /// What the client is to the backend.
    pub(crate) source: End,
    pub(crate) backend: End,
    pub(crate) service: Option<String>,
    pub(crate) service_port: Option<String>,
    /// Of what is denied: the Services of which the server is an endpoint. Which was asked for, if one was, is not known.
    #[serde(default)]
    pub(crate) endpoint_of: Vec<String>,
    /// "denied": it never began.
    pub(crate) state: String,
    pub(crate) ended: bool,
    pub(crate) verdict: String,
    /// Of what is denied.
    pub(crate) reason: Option<String>,
    pub(crate) why: Option<String>,
    pub(crate) ingress: Option<Decision>,
    pub(crate) egress: Option<Decision>,
    pub(crate) client_packets: u64,
    pub(crate) client_bytes: u64,
    pub(crate) server_packets: u64,
    pub(crate) server_bytes: u64,
    pub(crate) round_trip_microseconds: Option<u64>,
    pub(crate) began: String,
    pub(crate) last: String,
    pub(crate) last_seconds: u64,
    /// It began before.
    pub(crate) late: bool,
    /// Since 1970.
    pub(crate) began_milliseconds: u64,
    pub(crate) last_milliseconds: u64,
}

/// One end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct End {
    /// Of what is denied it may be empty: it is not known.
    pub(crate) address: String,
    /// `None`: the protocol has none, or it is not known.
    pub(crate) port: Option<u32>,
    pub(crate) pod: Option<String>,
}

/// What policy said in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision {
    pub(crate) decided_by: String,
    pub(crate) policies: Vec<String>,
    pub(crate) rule: Option<u32>,
    pub(crate) rule_name: Option<String>,
    pub(crate) audit: bool,
}

/// What stands for an end that is not known.
const UNKNOWN: &str = "unknown";

/// The state of what never began.
pub(crate) const DENIED: &str = "denied";

impl View {
    /// What these nodes say together.
    pub(crate) fn new(nodes: Vec<Node>, mut flows: Vec<Flow>) -> Self {
        flows.sort_by(|one, other| {
            let order = |flow: &Flow| (flow.last_milliseconds, flow.began_milliseconds);
            order(other).cmp(&order(one)).then_with(|| one.id.cmp(&other.id))
        });
        let matching = flows.len() as u64;
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "Flows".to_owned(),
            nodes,
            matching,
            flows,
            unknown: Vec::new(),
        }
    }

    /// Leaves so many, and says how many there were.
    pub(crate) fn cut_to(&mut self, limit: usize) {
        self.matching = self.flows.len() as u64;
        self.flows.truncate(limit);
    }

    /// Whether a node has no answer.
    pub(crate) fn has_errors(&self) -> bool {
        self.nodes.iter().any(|node| node.error.is_some())
    }
}

impl Node {
    /// A node without an answer.
    pub(crate) fn failed(node: String, error: String) -> Self {
        Self { node, error: Some(error), events: 0, lost_events: 0, dropped: 0 }
    }

    pub(crate) fn new(node: &str, totals: v1::FlowTotals) -> Self {
        let v1::FlowTotals { events, lost, dropped, .. } = totals;
        Self { node: node.to_owned(), error: None, events, lost_events: lost, dropped }
    }
}

impl End {
    /// Its address, with its port if there is one.
    pub(crate) fn socket(&self) -> String {
        let address = self.address();
        self.port.map_or_else(|| address.to_owned(), |port| socket(address, port))
    }

    /// The Pod, or the address.
    pub(crate) fn name(&self) -> &str {
        self.pod.as_deref().unwrap_or_else(|| self.address())
    }

    fn address(&self) -> &str {
        if self.address.is_empty() { UNKNOWN } else { &self.address }
    }
}

impl Flow {
    /// Everybody who has to do with it.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &End> {
        [&self.client, &self.frontend, &self.source, &self.backend].into_iter()
    }

    /// The Services that it has to do with.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.service.iter().chain(&self.endpoint_of).map(String::as_str)
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &str> {
        self.ends().filter_map(|end| end.pod.as_deref())
    }

    /// A flow that a node knows.
    pub(crate) fn new(node: &str, flow: v1::Flow) -> Self {
        let has_ports = flow.protocol != "icmp";
        let end = |end: Option<v1::FlowEnd>| {
            let v1::FlowEnd { address, port, pod: of } = end.unwrap_or_default();
            End { address, port: number(port).filter(|_| has_ports), pod: pod(of) }
        };
        Self {
            nodes: vec![node.to_owned()],
            id: flow.id,
            protocol: some(flow.protocol),
            client: end(flow.client),
            frontend: end(flow.frontend),
            source: end(flow.source),
            backend: end(flow.backend),
            service: flow.service.map(service_name),
            service_port: some(flow.service_port),
            endpoint_of: Vec::new(),
            state: flow.state,
            ended: flow.ended,
            verdict: flow.verdict,
            reason: None,
            why: None,
            ingress: flow.ingress.map(Decision::from),
            egress: flow.egress.map(Decision::from),
            client_packets: flow.client_packets,
            client_bytes: flow.client_bytes,
            server_packets: flow.server_packets,
            server_bytes: flow.server_bytes,
            round_trip_microseconds: Some(flow.round_trip_microseconds).filter(|time| *time > 0),
            began: flow.began,
            last: flow.last,
            last_seconds: flow.last_seconds,
            late: flow.late,
            began_milliseconds: flow.began_milliseconds,
            last_milliseconds: flow.last_milliseconds,
        }
    }

    /// What a node denied, or dropped for another reason.
    pub(crate) fn denied(node: &str, drop: v1::Drop) -> Self {
        let end = |end: Option<v1::DropEnd>| {
            let v1::DropEnd { address, port, pod: of, .. } = end.unwrap_or_default();
            End { address, port: number(port), pod: pod(of) }
        };
        let service = drop.destination.as_ref().and_then(|end| end.service.clone());
        let (source, destination) = (end(drop.source), end(drop.destination));
        let by_policy = drop.decided_by != "none";
        let decision = Decision {
            decided_by: drop.decided_by,
            policies: drop.policies,
            rule: drop.rule,
            rule_name: some(drop.rule_name),
            audit: drop.verdict == "audit",
        };
        let is_ingress = drop.direction == "ingress";
        let (began_milliseconds, last_milliseconds) = (milliseconds(&drop.first), milliseconds(&drop.last));
        Self {
            nodes: vec![node.to_owned()],
            id: format!(
                "{}/{}/{}/{}/{}/{}{}",
                drop.direction,
                drop.verdict,
                drop.protocol,
                source.address,
                destination.socket(),
                drop.reason,
                some(drop.interface).map(|interface| format!("/{interface}")).unwrap_or_default()
            ),
            protocol: some(drop.protocol),
            client: source.clone(),
            frontend: destination.clone(),
            source,
            backend: destination,
            service: service.map(service_name),
            endpoint_of: drop.endpoint_of.into_iter().map(service_name).collect(),
            state: DENIED.to_owned(),
            verdict: drop.verdict,
            reason: some(drop.reason),
            why: some(drop.why),
            ingress: (by_policy && is_ingress).then(|| decision.clone()),
            egress: (by_policy && !is_ingress).then_some(decision),
            client_packets: drop.packets,
            client_bytes: drop.bytes,
            began: drop.first,
            last: drop.last,
            last_seconds: drop.last_seconds,
            began_milliseconds,
            last_milliseconds,
            ..Self::default()
        }
    }
}

impl From<v1::FlowDecision> for Decision {
    fn from(decision: v1::FlowDecision) -> Self {
        Self {
            decided_by: decision.decided_by,
            policies: decision.policies,
            rule: decision.rule,
            rule_name: some(decision.rule_name),
            audit: decision.audit,
        }
    }
}

/// A time (RFC 3339) as milliseconds since 1970; 0: it is none.
fn milliseconds(time: &str) -> u64 {
    let since =
        humantime::parse_rfc3339(time).ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or_default()
}

fn pod(pod: Option<v1::PodName>) -> Option<String> {
    pod.map(|pod| format!("{}/{}", pod.namespace, pod.name))
}
