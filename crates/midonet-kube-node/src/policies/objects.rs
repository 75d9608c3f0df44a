//! The objects themselves, for who asks about them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ipnet::IpNet;
use objects::{ClusterNetworkPolicy, ClusterPeer, Key, Namespace, NetworkPolicy, Peer, Pod};

/// Objects by their names. They are the same that their source knows: here are handles.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) policies: BTreeMap<Key, Arc<NetworkPolicy>>,
    pub(super) cluster_policies: BTreeMap<Key, Arc<ClusterNetworkPolicy>>,
    pub(super) namespaces: BTreeMap<Key, Arc<Namespace>>,
    pub(super) pods: HashMap<Key, Arc<Pod>>,
}

impl Objects {
    /// All but Pods, of which there are most.
    pub(super) fn without_pods(&self) -> Self {
        Self {
            policies: self.policies.clone(),
            cluster_policies: self.cluster_policies.clone(),
            namespaces: self.namespaces.clone(),
            pods: HashMap::new(),
        }
    }

    /// Whether no policy applies to any Pod of a namespace, whatever its labels; `None`: of any namespace.
    pub(super) fn apply_to_nobody_in(&self, namespace: Option<&str>) -> bool {
        let of_namespace = |key: &Key| namespace.is_none_or(|namespace| key.namespace() == Some(namespace));
        let first = Key::namespaced(namespace.unwrap_or_default(), "");
        let own = self.policies.range(first..).take_while(|(key, _)| of_namespace(key));
        let mut own = own.map(|(_, policy)| policy);
        if own.any(|policy| policy.ingress.is_some() || policy.egress.is_some()) {
            return false;
        }
        let labels = namespace.and_then(|namespace| self.namespaces.get(&Key::new(namespace)));
        !self.cluster_policies.values().any(|policy| {
            let says_nothing = policy.ingress.is_empty() && policy.egress.is_empty();
            !says_nothing && labels.is_none_or(|known| policy.namespaces.selects(&known.labels))
        })
    }

    /// Whether any policy or namespace is on trial (`midonet.org/policy-audit`).
    pub(super) fn have_audits(&self) -> bool {
        self.policies.values().any(|policy| policy.audit)
            || self.cluster_policies.values().any(|policy| policy.audit)
            || self.namespaces.values().any(|namespace| namespace.audit)
    }

    /// The blocks that policies name, each with whose it is.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (IpNet, String)> {
        let policies = self.policies.iter().flat_map(|(key, policy)| {
            let rules = [("ingress", &policy.ingress), ("egress", &policy.egress)];
            let rules = rules.into_iter().flat_map(|(direction, rules)| {
                rules.iter().flatten().enumerate().map(move |(index, rule)| (direction, index, rule))
            });
            rules.flat_map(move |(direction, index, rule)| {
                let blocks = rule.peers.iter().flatten().filter_map(|peer| match peer {
                    Peer::Block { cidr, .. } => Some(*cidr),
                    Peer::Pods { .. } => None,
                });
                blocks.map(move |block| (block, format!("{direction}[{index}] of NetworkPolicy {key}")))
            })
        });
        let cluster_policies = self.cluster_policies.iter().flat_map(|(key, policy)| {
            policy.egress.iter().enumerate().flat_map(move |(index, rule)| {
                let blocks = rule.peers.iter().filter_map(|peer| match peer {
                    ClusterPeer::Networks(blocks) => Some(blocks),
                    _ => None,
                });
                let name = format!("egress[{index}] of ClusterNetworkPolicy {key}");
                blocks.flatten().map(move |block| (*block, name.clone()))
            })
        });
        policies.chain(cluster_policies)
    }
}
