//! How far nodes are with a policy, as programs and people get it: see docs/reference.md.

use std::fmt;
use std::str::FromStr;

use nodeapi::v1;
use serde::{Deserialize, Serialize};
use terminal::output::{BAD, GOOD, paint};
use terminal::table::{WIDTH, table, wrap};

use super::super::target::Target;
use super::what::What;
use crate::API_VERSION;

/// How long a line is that says why.
const WHY: usize = 70;

/// How far nodes are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct View {
    api_version: String,
    kind: String,
    policy: Policy,
    /// `applied` or `delete`.
    r#for: String,
    /// What is waited for; `None`: any version, or that it is gone.
    version: Option<Version>,
    /// Whether it is so on every node.
    done: bool,
    /// Why not, besides what nodes say; `None`: nothing else.
    reason: Option<String>,
    nodes: Vec<Node>,
}

/// A policy's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Policy {
    kind: String,
    /// `None`: a ClusterNetworkPolicy.
    namespace: Option<String>,
    name: String,
}

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) node: String,
    /// What it has; `None`: nothing, or it is not known.
    pub(super) version: Option<Version>,
    /// What it lacks; `None`: nothing.
    pub(super) missing: Option<String>,
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(super) uid: String,
    pub(super) generation: i64,
    /// Generations do not count annotations.
    pub(super) audit: bool,
}

impl Version {
    /// Whether it is this version of the same object, or a later one.
    pub(super) fn is(&self, wanted: &Self) -> bool {
        self.uid == wanted.uid
            && (self.generation > wanted.generation
                || (self.generation == wanted.generation && self.audit == wanted.audit))
    }

    /// As the command line has it.
    pub(super) fn word(&self) -> String {
        format!("{}/{}/{}", self.uid, self.generation, self.audit)
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (rest, audit) = text.rsplit_once('/')?;
            let (uid, generation) = rest.rsplit_once('/')?;
            let (generation, audit) = (generation.parse().ok()?, audit.parse().ok()?);
            Some(Self { uid: uid.to_owned(), generation, audit })
        };
        read().ok_or("UID/GENERATION/AUDIT is expected")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {}", self.generation)?;
        if self.audit { write!(f, ", audited") } else { Ok(()) }
    }
}

impl From<v1::PolicyVersion> for Version {
    fn from(v1::PolicyVersion { uid, generation, audit }: v1::PolicyVersion) -> Self {
        Self { uid, generation, audit }
    }
}

impl View {
    pub(super) fn new(target: &Target, what: What, version: Option<Version>, nodes: Vec<Node>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "PolicyWait".to_owned(),
            policy: Policy {
                kind: target.kind.name().to_owned(),
                namespace: target.namespace.clone(),
                name: target.name.clone(),
            },
            r#for: what.word().to_owned(),
            version,
            done: nodes.iter().all(|node| node.missing.is_none()),
            reason: None,
            nodes,
        }
    }

    /// The same, but it is not so, because of that.
    pub(super) fn unfinished(self, reason: &str) -> Self {
        Self { done: false, reason: Some(reason.to_owned()), ..self }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Its only node.
    pub(super) fn into_node(self) -> Option<Node> {
        self.nodes.into_iter().next()
    }

    /// For people.
    pub(in crate::policy) fn text(&self) -> String {
        let Policy { kind, namespace, name } = &self.policy;
        let namespace = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let version = self.version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
        let policy = format!("{kind} {namespace}{name}{version}");
        let so = if self.r#for == What::Deleted.word() { "gone from" } else { "in force on" };
        let all = self.nodes.len();
        let with = self.nodes.iter().filter(|node| node.missing.is_none()).count();
        if self.done {
            let nodes = if all == 1 { "node" } else { "nodes" };
            return paint(GOOD, &format!("{policy} is {so} {all} {nodes}"));
        }
        let mut text = paint(BAD, &format!("{policy} is {so} {with} of {all} nodes"));
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {reason}"));
        }
        let missing = self.nodes.iter().filter_map(|node| Some((&node.node, node.missing.as_ref()?)));
        let rows: Vec<[String; 2]> =
            missing.map(|(node, missing)| [node.clone(), wrap(Some(WHY), missing)]).collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n{}", table(Some(WIDTH), ["NODE", "WHY"], rows)));
        }
        text
    }
}
