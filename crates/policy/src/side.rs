//! What one policy says of one direction.

use std::collections::BTreeSet;
use std::sync::Arc;

use objects::{
    Action, ClusterNetworkPolicy, ClusterPort, ClusterRule, Key, NetworkPolicy, Ports, Rule, Tier,
};

use crate::tables::{Direction, Origin};
use crate::term::PortName;

/// The number of a side. Another content has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SideId(pub(crate) usize);

/// What one policy says of one direction.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) id: SideId,
    pub(crate) direction: Direction,
    pub(crate) origin: Origin,
    pub(crate) policy: Key,
    /// In its tier.
    pub(crate) priority: Option<u16>,
    /// Whether what it would deny passes.
    pub(crate) audit: bool,
    source: Source,
    /// The names of ports that are looked up at the Pod that it applies to.
    pub(crate) names: Box<[PortName]>,
}

#[derive(Debug, Clone)]
enum Source {
    Network(Arc<NetworkPolicy>),
    Cluster(Arc<ClusterNetworkPolicy>),
}

/// The rules of a side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rules<'a> {
    Network(&'a [Rule]),
    Cluster(&'a [ClusterRule]),
}

impl Rules<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Network(rules) => rules.len(),
            Self::Cluster(rules) => rules.len(),
        }
    }
}

impl Side {
    /// Of a NetworkPolicy; `None` if it says nothing of that direction.
    pub(crate) fn network(id: SideId, policy: &Arc<NetworkPolicy>, direction: Direction) -> Option<Self> {
        let rules = network_rules(policy, direction)?;
        let ports = rules.iter().flat_map(|rule| rule.ports.iter().flatten());
        let names = ports.filter_map(|port| match &port.ports {
            Ports::Named(name) => Some(PortName { name: Arc::clone(name), protocol: Some(port.protocol) }),
            _ => None,
        });
        Some(Self {
            id,
            direction,
            origin: Origin::NetworkPolicy,
            policy: policy.key.clone(),
            priority: None,
            audit: policy.audit,
            names: subject_names(direction, names),
            source: Source::Network(Arc::clone(policy)),
        })
    }

    /// Of a ClusterNetworkPolicy; `None` if it says nothing of that direction.
    pub(crate) fn cluster(
        id: SideId,
        policy: &Arc<ClusterNetworkPolicy>,
        direction: Direction,
    ) -> Option<Self> {
        let rules = cluster_rules(policy, direction);
        if rules.is_empty() {
            return None;
        }
        let ports = rules.iter().flat_map(|rule| rule.ports.iter().flatten());
        let names = ports.filter_map(|port| match port {
            ClusterPort::Named(name) => Some(PortName { name: Arc::clone(name), protocol: None }),
            ClusterPort::Of(protocol, Ports::Named(name)) => {
                Some(PortName { name: Arc::clone(name), protocol: Some(*protocol) })
            }
            _ => None,
        });
        Some(Self {
            id,
            direction,
            origin: match policy.tier {
                Tier::Admin => Origin::Admin,
                Tier::Baseline => Origin::Baseline,
            },
            policy: policy.key.clone(),
            priority: Some(policy.priority),
            audit: policy.audit,
            names: subject_names(direction, names),
            source: Source::Cluster(Arc::clone(policy)),
        })
    }

    /// Its rules.
    pub(crate) fn rules(&self) -> Rules<'_> {
        match &self.source {
            Source::Network(policy) => {
                Rules::Network(network_rules(policy, self.direction).unwrap_or_default())
            }
            Source::Cluster(policy) => Rules::Cluster(cluster_rules(policy, self.direction)),
        }
    }
}

/// What a NetworkPolicy says of a direction, if it does.
pub(crate) fn network_rules(policy: &NetworkPolicy, direction: Direction) -> Option<&[Rule]> {
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
}

/// What a ClusterNetworkPolicy says of a direction.
pub(crate) fn cluster_rules(policy: &ClusterNetworkPolicy, direction: Direction) -> &[ClusterRule] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

/// What is sent to the Pod is sent to its ports; what it sends, to the peer's.
fn subject_names(direction: Direction, names: impl Iterator<Item = PortName>) -> Box<[PortName]> {
    match direction {
        Direction::Ingress => names.collect::<BTreeSet<_>>().into_iter().collect(),
        Direction::Egress => Box::default(),
    }
}

/// Whether a rule of a ClusterNetworkPolicy has to deny everything, because it is about somebody who is not known.
pub(crate) fn denies_all(rule: &ClusterRule) -> bool {
    let unknown = |peer: &_| matches!(peer, objects::ClusterPeer::Unknown);
    rule.action != Action::Accept && (rule.peers.is_empty() || rule.peers.iter().any(unknown))
}
