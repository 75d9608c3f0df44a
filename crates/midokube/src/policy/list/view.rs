//! What applies to Pods, as programs get it: see docs/reference.md.

use nodeapi::v1;
use serde::Serialize;

use crate::API_VERSION;
use crate::answer::{Problem, some};

/// What applies to Pods.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) struct View {
    api_version: &'static str,
    kind: &'static str,
    pub(super) pods: Vec<Pod>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) state: String,
    /// Why it is closed; `None`: it is not.
    pub(super) reason: Option<String>,
    pub(super) set: u32,
    pub(super) policies: Vec<Applied>,
}

/// A policy that applies in one direction, or the default deny of NetworkPolicies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    pub(super) direction: String,
    pub(super) tier: String,
    pub(super) policies: Vec<String>,
    /// `None`: a NetworkPolicy has none.
    pub(super) priority: Option<u32>,
    pub(super) audit: bool,
    pub(super) asked: bool,
    pub(super) default_deny: bool,
    pub(super) rules: Vec<Rule>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

#[derive(Debug, Serialize)]
pub(super) struct Rule {
    pub(super) index: u32,
    pub(super) name: Option<String>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

/// How often something decided.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Counts {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) audited: u64,
}

impl From<v1::ListPoliciesReply> for View {
    fn from(reply: v1::ListPoliciesReply) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Policies",
            pods: reply.pods.into_iter().map(Pod::from).collect(),
            problems: reply.problems.into_iter().map(Problem::from).collect(),
            notes: reply.notes,
        }
    }
}

impl From<v1::PodPolicies> for Pod {
    fn from(pod: v1::PodPolicies) -> Self {
        Self {
            namespace: pod.namespace,
            name: pod.name,
            addresses: pod.addresses,
            state: pod.state,
            reason: some(pod.reason),
            set: pod.set,
            policies: pod.policies.into_iter().map(Applied::from).collect(),
        }
    }
}

impl From<v1::AppliedPolicy> for Applied {
    fn from(applied: v1::AppliedPolicy) -> Self {
        let rule = |rule: v1::PolicyRule| Rule {
            index: rule.index,
            name: some(rule.name),
            counts: rule.counts.unwrap_or_default().into(),
        };
        Self {
            direction: applied.direction,
            tier: applied.tier,
            policies: applied.policies,
            priority: applied.priority,
            audit: applied.audit,
            asked: !applied.not_asked,
            default_deny: applied.default_deny,
            rules: applied.rules.into_iter().map(rule).collect(),
            counts: applied.counts.unwrap_or_default().into(),
        }
    }
}

impl From<v1::PolicyCounts> for Counts {
    fn from(v1::PolicyCounts { allowed, denied, audited }: v1::PolicyCounts) -> Self {
        Self { allowed, denied, audited }
    }
}
