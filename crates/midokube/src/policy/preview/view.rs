//! What policies would change, as programs get it: see docs/reference.md. Programs are also other `midokube`s, which ask all
//! nodes.

use nodeapi::v1;
use serde::{Deserialize, Serialize};

use crate::API_VERSION;
use crate::answer::{Problem, number, some};
use crate::connections::Connection;

/// What would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct View {
    api_version: String,
    kind: String,
    /// Those that were asked.
    pub(super) nodes: Vec<Node>,
    /// Connections that pass now and would not.
    pub(super) cut: Vec<Changed>,
    /// Connections that do not pass now and would.
    pub(super) allowed: Vec<Changed>,
    /// What was denied within the last hour and is still, and would pass.
    pub(super) drops: Vec<Dropped>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    pub(super) node: String,
    /// Why it says nothing; `None`: it does.
    pub(super) error: Option<String>,
    /// How many connections it judged; `None` with an error, as the others are.
    pub(super) connections: Option<u64>,
    /// How many would be cut, listed or not.
    pub(super) cut: Option<u64>,
    pub(super) allowed: Option<u64>,
    pub(super) drops: Option<u64>,
}

/// What is denied and would pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dropped {
    /// Whose verdict it is.
    pub(super) node: String,
    pub(super) direction: String,
    /// `None`: it is not known.
    pub(super) protocol: Option<String>,
    pub(super) source: String,
    /// `None`: none, or it is not known.
    pub(super) source_pod: Option<String>,
    pub(super) destination: String,
    pub(super) destination_pod: Option<String>,
    /// The destination's; `None`: the protocol has none.
    pub(super) port: Option<u32>,
    pub(super) packets: u64,
    pub(super) last_seconds: u64,
    /// Why it was dropped.
    pub(super) why: String,
    pub(super) after: Decision,
}

/// A connection that would be treated otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changed {
    /// Whose verdict it is.
    pub(super) node: String,
    #[serde(flatten)]
    pub(super) connection: Connection,
    /// `None`: none, or it is not known.
    pub(super) client_pod: Option<String>,
    pub(super) backend_pod: Option<String>,
    /// `egress`: the client's node decides; `ingress`: the backend's.
    pub(super) direction: String,
    pub(super) now: Decision,
    pub(super) after: Decision,
}

/// What a node decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decision {
    pub(super) verdict: String,
    pub(super) decided_by: String,
    pub(super) policies: Vec<String>,
    /// `None`: no rule decides, or the default deny.
    pub(super) rule: Option<u32>,
    pub(super) rule_name: Option<String>,
    pub(super) why: String,
}

impl View {
    fn of_nothing() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "PolicyPreview".to_owned(),
            nodes: Vec::new(),
            cut: Vec::new(),
            allowed: Vec::new(),
            drops: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Joins what nodes say, or why they do not.
    pub(in crate::policy) fn merge(all: impl Iterator<Item = (String, Result<Self, String>)>) -> Self {
        let mut merged = Self::of_nothing();
        for (node, said) in all {
            let known = said.and_then(|view| match view.api_version == API_VERSION {
                true => Ok(view),
                false => Err(format!("its agent has another version: it answers in {}", view.api_version)),
            });
            match known {
                Ok(view) => merged.add(view),
                Err(error) => merged.nodes.push(Node {
                    node,
                    error: Some(error),
                    connections: None,
                    cut: None,
                    allowed: None,
                    drops: None,
                }),
            }
        }
        merged
    }

    fn add(&mut self, view: Self) {
        self.nodes.extend(view.nodes);
        self.cut.extend(view.cut);
        self.allowed.extend(view.allowed);
        self.drops.extend(view.drops);
        // What is wrong with a policy, every node says.
        let new = |problem: &Problem| !self.problems.contains(problem);
        let problems: Vec<Problem> = view.problems.into_iter().filter(new).collect();
        self.problems.extend(problems);
        let new = |note: &String| !self.notes.contains(note);
        let notes: Vec<String> = view.notes.into_iter().filter(new).collect();
        self.notes.extend(notes);
    }

    /// Whether a node was not asked.
    pub(in crate::policy) fn has_errors(&self) -> bool {
        self.nodes.iter().any(|node| node.error.is_some())
    }

    /// Whether a connection would be cut.
    pub(in crate::policy) fn cuts(&self) -> bool {
        self.nodes.iter().any(|node| node.cut.is_some_and(|cut| cut > 0))
    }
}

impl From<v1::PreviewPolicyReply> for View {
    fn from(reply: v1::PreviewPolicyReply) -> Self {
        let node = Node {
            node: reply.node.clone(),
            error: None,
            connections: Some(reply.connections),
            cut: Some(reply.cut_count),
            allowed: Some(reply.allowed_count),
            drops: Some(reply.drop_count),
        };
        let changed = |connection| Changed::new(&reply.node, connection);
        let dropped = |drop| Dropped::new(&reply.node, drop);
        Self {
            nodes: vec![node],
            cut: reply.cut.into_iter().map(changed).collect(),
            allowed: reply.allowed.into_iter().map(changed).collect(),
            drops: reply.drops.into_iter().map(dropped).collect(),
            problems: reply.problems.into_iter().map(Problem::from).collect(),
            notes: reply.notes,
            ..Self::of_nothing()
        }
    }
}

fn pod(pod: Option<v1::PodName>) -> Option<String> {
    pod.map(|pod| format!("{}/{}", pod.namespace, pod.name))
}

impl Dropped {
    fn new(node: &str, changed: v1::ChangedDrop) -> Self {
        let drop = changed.drop.unwrap_or_default();
        let (source, destination) = (drop.source.unwrap_or_default(), drop.destination.unwrap_or_default());
        Self {
            node: node.to_owned(),
            direction: drop.direction,
            protocol: some(drop.protocol),
            source: source.address,
            source_pod: pod(source.pod),
            destination: destination.address,
            destination_pod: pod(destination.pod),
            port: number(destination.port),
            packets: drop.packets,
            last_seconds: drop.last_seconds,
            why: drop.why,
            after: changed.after.unwrap_or_default().into(),
        }
    }
}

impl Changed {
    fn new(node: &str, changed: v1::ChangedConnection) -> Self {
        Self {
            node: node.to_owned(),
            connection: changed.connection.unwrap_or_default().into(),
            client_pod: pod(changed.client_pod),
            backend_pod: pod(changed.backend_pod),
            direction: changed.direction,
            now: changed.now.unwrap_or_default().into(),
            after: changed.after.unwrap_or_default().into(),
        }
    }
}

impl From<v1::PolicyDecision> for Decision {
    fn from(decision: v1::PolicyDecision) -> Self {
        Self {
            verdict: decision.verdict,
            decided_by: decision.decided_by,
            policies: decision.policies,
            rule: decision.rule,
            rule_name: some(decision.rule_name),
            why: decision.why,
        }
    }
}
