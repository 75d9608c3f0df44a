//! What becomes of a connection, as programs get it: see docs/reference.md.

use nodeapi::v1;
use serde::Serialize;

use crate::API_VERSION;
use crate::answer::some;

/// What becomes of a connection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct View {
    api_version: &'static str,
    kind: &'static str,
    pub(super) paths: Vec<Path>,
}

/// One way that it can take.
#[derive(Debug, Serialize)]
pub(super) struct Path {
    pub(super) source: String,
    pub(super) destination: String,
    /// `None`: another node decides.
    pub(super) egress: Option<Decision>,
    pub(super) ingress: Option<Decision>,
    pub(super) notes: Vec<String>,
}

/// What a node decides for one of its Pods.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decision {
    pub(super) verdict: String,
    pub(super) reject: bool,
    pub(super) decided_by: String,
    pub(super) policies: Vec<String>,
    /// `None`: no rule decided, or the default deny.
    pub(super) rule: Option<u32>,
    pub(super) rule_name: Option<String>,
    pub(super) why: String,
    pub(super) set: u32,
    pub(super) class: u32,
    pub(super) list: u32,
}

impl View {
    /// Whether it passes, whichever way it takes, as far as this node decides.
    pub(in crate::policy) fn passes(&self) -> bool {
        let decisions = self.paths.iter().flat_map(|path| path.egress.iter().chain(&path.ingress));
        decisions.into_iter().all(|decision| decision.verdict != "deny")
    }
}

impl From<v1::ExplainPolicyReply> for View {
    fn from(reply: v1::ExplainPolicyReply) -> Self {
        let path = |path: v1::PolicyPath| Path {
            source: path.source,
            destination: path.destination,
            egress: path.egress.map(Decision::from),
            ingress: path.ingress.map(Decision::from),
            notes: path.notes,
        };
        Self {
            api_version: API_VERSION,
            kind: "PolicyExplanation",
            paths: reply.paths.into_iter().map(path).collect(),
        }
    }
}

impl From<v1::PolicyDecision> for Decision {
    fn from(decision: v1::PolicyDecision) -> Self {
        Self {
            verdict: decision.verdict,
            reject: decision.reject,
            decided_by: decision.decided_by,
            policies: decision.policies,
            rule: decision.rule,
            rule_name: some(decision.rule_name),
            why: decision.why,
            set: decision.set,
            class: decision.class,
            list: decision.list,
        }
    }
}
