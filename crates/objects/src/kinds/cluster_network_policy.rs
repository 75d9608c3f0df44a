mod api;
mod peers;
mod ports;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::annotations::audit;
use super::defects::Defects;
use super::labels::LabelSelector;
use super::network_policy::Ports;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};
use crate::network::Protocol;
use api::{ApiClusterNetworkPolicy, Spec};

/// A ClusterNetworkPolicy (`policy.networking.k8s.io/v1alpha2`).
///
/// What is wrong with a rule makes it fail closed, as an unknown peer does: one that accepts has the unknown part and matches
/// nothing by it; any other one denies. Without a tier, a priority, a subject and actions that are known, whom the policy is
/// about is not known: it is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNetworkPolicy {
    /// What names it.
    pub key: Key,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<Box<str>>,
    /// Its generation, which grows with each change of its specification; 0 if a manifest leaves it out.
    pub generation: i64,
    /// Before or after NetworkPolicies.
    pub tier: Tier,
    /// 0 to 1000; the lowest is first.
    pub priority: u16,
    /// Which Pods it applies to: of these namespaces (`subject.namespaces` has an empty selector of Pods).
    pub namespaces: LabelSelector,
    /// And of these.
    pub pods: LabelSelector,
    /// Rules for what comes in, first match first.
    pub ingress: Box<[ClusterRule]>,
    /// Rules for what goes out.
    pub egress: Box<[ClusterRule]>,
    /// Whether what it would deny passes, and is only told (`midonet.org/policy-audit`).
    pub audit: bool,
    /// What of it fails closed because it is wrong or unknown.
    pub defects: Box<[Invalid]>,
}

/// When a ClusterNetworkPolicy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Before NetworkPolicies.
    Admin,
    /// After them, for Pods that none applies to.
    Baseline,
}

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It passes; no more policies are asked in this direction.
    Accept,
    /// It is dropped.
    Deny,
    /// The rest of the tier is not asked.
    Pass,
}

/// A rule of a ClusterNetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRule {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// What it does.
    pub action: Action,
    /// Whom it is about.
    pub peers: Box<[ClusterPeer]>,
    /// Which ports; `None`: every port and protocol.
    pub ports: Option<Box<[ClusterPort]>>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClusterPeer {
    /// Pods with their own addresses (not `hostNetwork`).
    Pods {
        /// Of these namespaces.
        namespaces: LabelSelector,
        /// And of these.
        pods: LabelSelector,
    },
    /// Addresses, Pods' included. No bits beyond a prefix are set.
    Networks(Box<[IpNet]>),
    /// The addresses of these Nodes.
    Nodes(LabelSelector),
    /// A peer of a kind that is not known here, or a wrong one: a rule that accepts matches nothing by it, one that denies
    /// or passes denies everybody.
    Unknown,
}

/// Ports of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClusterPort {
    /// Ports of one protocol.
    Of(Protocol, Ports),
    /// Those that containers of the destination Pod call so, of whatever protocol.
    Named(Arc<str>),
    /// Unknown or wrong: a rule that accepts matches no port by it, one that denies or passes every one.
    Unknown,
}

impl Kind for ClusterNetworkPolicy {
    const RESOURCE: Resource = Resource {
        group: "policy.networking.k8s.io",
        version: "v1alpha2",
        kind: "ClusterNetworkPolicy",
        plural: "clusternetworkpolicies",
        namespaced: false,
    };

    const OPTIONAL: bool = true;

    const CUSTOM: bool = true;

    /// The definition may be installed at any time.
    const ABSENT: Duration = Duration::from_secs(30);

    type Api = ApiClusterNetworkPolicy;

    fn trim(metadata: Metadata, api: ApiClusterNetworkPolicy) -> Result<Self, Invalid> {
        let mut defects = Defects::default();
        let spec = Spec::read(api.spec.as_ref(), &mut defects)?;
        let audit = audit(&metadata.annotations, &mut defects);
        let Spec { tier, priority, namespaces, pods, ingress, egress } = spec;
        Ok(Self {
            key: Key::new(&metadata.name),
            uid: metadata.uid.map(String::into_boxed_str),
            generation: metadata.generation.unwrap_or_default(),
            tier,
            priority,
            namespaces,
            pods,
            ingress,
            egress,
            audit,
            defects: defects.into_boxed(),
        })
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }
}

#[cfg(test)]
mod tests;
