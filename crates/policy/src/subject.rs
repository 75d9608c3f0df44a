//! Which policies apply to a Pod.

use std::collections::BTreeSet;
use std::sync::Arc;

use objects::{ClusterNetworkPolicy, LabelSelector, Labels, NamedPort, Namespace, Pod, Tier};

use crate::both::Both;
use crate::namespaces::Namespaces;
use crate::pod_peers::{self, NAMESPACE_NAME};
use crate::policies::{self, Known, Policies};
use crate::side::Side;
use crate::tables::{Direction, Origin};

/// What applies to a Pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// What is asked, in order.
    pub(crate) sides: Both<Vec<Arc<Side>>>,
    /// What applies, but is not asked.
    pub(crate) unasked: Both<Vec<Arc<Side>>>,
    /// Its ports that rules know by name.
    pub(crate) ports: Box<[NamedPort]>,
    /// Whether senders are told what is denied.
    pub(crate) reject: bool,
    /// Whether what is denied passes.
    pub(crate) audit: bool,
}

impl Subject {
    /// What applies to a Pod. `None`: it depends on labels of its namespace, which are not known.
    pub(crate) fn of(pod: &Pod, policies: &Policies, namespaces: &Namespaces) -> Option<Self> {
        let name = pod.key.namespace().unwrap_or_default();
        let namespace = namespaces.get(name);
        let mut admin = Vec::new();
        let mut baseline = Vec::new();
        for (tier, found) in [(Tier::Admin, &mut admin), (Tier::Baseline, &mut baseline)] {
            for known in policies.of_tier(tier) {
                if selects(&known.policy, pod, name, namespace)? {
                    found.push(known);
                }
            }
        }
        let own: Vec<_> =
            policies.of_namespace(name).filter(|known| known.policy.pods.selects(&pod.labels)).collect();
        let audit = namespace.is_some_and(|namespace| namespace.audit);
        let mut unasked = Both::default();
        let sides = Both::new(|direction| {
            let own: Vec<_> = own.iter().filter_map(|known| policies::side_of(known, direction)).collect();
            let mut all = sides(&admin, direction);
            let mut last = sides(&baseline, direction);
            // Where NetworkPolicies apply, theirs is the last word; unless all of them are only asked what they would do.
            if !own.is_empty() && (audit || own.iter().any(|side| !side.audit)) {
                *unasked_of(&mut unasked, direction) = std::mem::take(&mut last);
            }
            all.extend(own.into_iter().cloned());
            all.extend(last);
            all
        });
        let ports = named_ports(pod, &sides.ingress);
        let reject = namespace.is_some_and(|namespace| namespace.reject);
        Some(Self { sides, unasked, ports, reject, audit })
    }
}

fn unasked_of(unasked: &mut Both<Vec<Arc<Side>>>, direction: Direction) -> &mut Vec<Arc<Side>> {
    match direction {
        Direction::Ingress => &mut unasked.ingress,
        Direction::Egress => &mut unasked.egress,
    }
}

fn sides(policies: &[&Known<ClusterNetworkPolicy>], direction: Direction) -> Vec<Arc<Side>> {
    policies.iter().filter_map(|known| policies::side_of(known, direction)).cloned().collect()
}

fn named_ports(pod: &Pod, ingress: &[Arc<Side>]) -> Box<[NamedPort]> {
    let named = ingress.iter().flat_map(|side| &side.names).flat_map(|name| {
        let called = pod.ports.iter().filter(|port| port.name == name.name);
        called.filter(|port| name.protocol.is_none_or(|protocol| protocol == port.protocol))
    });
    named.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a ClusterNetworkPolicy applies to a Pod. `None`: that depends on labels that are not known.
fn selects(
    policy: &ClusterNetworkPolicy,
    pod: &Pod,
    name: &str,
    namespace: Option<&Namespace>,
) -> Option<bool> {
    let says_nothing = policy.ingress.is_empty() && policy.egress.is_empty();
    if says_nothing || !policy.pods.selects(&pod.labels) {
        return Some(false);
    }
    let Some(namespace) = namespace else { return selects_by_name(&policy.namespaces, name) };
    Some(policy.namespaces.selects(&namespace.labels))
}

/// Whether a selector selects a namespace of which only the name is known.
fn selects_by_name(selector: &LabelSelector, name: &str) -> Option<bool> {
    let asks_name = |requirement: &&objects::Requirement| *requirement.key == *NAMESPACE_NAME;
    let asked = LabelSelector(selector.0.iter().filter(asks_name).cloned().collect());
    if !asked.selects(&Labels::from_iter([(NAMESPACE_NAME, name)])) {
        return Some(false);
    }
    pod_peers::by_name(selector).then_some(true)
}

/// What NetworkPolicies deny that they do not allow.
pub(crate) fn isolating(sides: &[Arc<Side>], audited: bool) -> Arc<[objects::Key]> {
    let isolating = sides.iter().filter(|side| side.origin == Origin::NetworkPolicy);
    isolating.filter(|side| audited || !side.audit).map(|side| side.policy.clone()).collect()
}
