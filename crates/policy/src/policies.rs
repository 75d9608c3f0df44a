//! All policies, in the order in which they are asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use objects::{ClusterNetworkPolicy, Key, NetworkPolicy, Tier};

use crate::both::Both;
use crate::hash::Counter;
use crate::side::{self, Side, SideId};
use crate::tables::Direction;

/// A policy, and what it says of each direction.
#[derive(Debug, Clone)]
pub(crate) struct Known<P> {
    pub(crate) policy: Arc<P>,
    pub(crate) sides: Both<Option<Arc<Side>>>,
}

/// Where a ClusterNetworkPolicy comes.
pub(crate) type Place = (Tier, u16, Key);

/// All policies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    network: HashMap<Box<str>, BTreeMap<Key, Known<NetworkPolicy>>>,
    cluster: BTreeMap<Place, Known<ClusterNetworkPolicy>>,
    places: HashMap<Key, Place>,
    counter: Counter,
}

impl Policies {
    /// A NetworkPolicy is new or different. Gives what it was.
    pub(crate) fn upsert(&mut self, policy: Arc<NetworkPolicy>) -> Option<Arc<NetworkPolicy>> {
        let Self { network, counter, .. } = self;
        let namespace = network.entry(policy.key.namespace().unwrap_or_default().into()).or_default();
        let old = namespace.remove(&policy.key);
        let sides = Both::new(|direction| {
            let same = |old: &&Known<NetworkPolicy>| {
                let rules = |policy| side::network_rules(policy, direction);
                old.policy.audit == policy.audit && rules(&old.policy) == rules(&policy)
            };
            match old.as_ref().filter(same) {
                Some(old) => old.sides.of(direction).clone(),
                None => Side::network(SideId(counter.next()), &policy, direction).map(Arc::new),
            }
        });
        namespace.insert(policy.key.clone(), Known { policy, sides });
        old.map(|old| old.policy)
    }

    /// A NetworkPolicy is gone. Gives what it was.
    pub(crate) fn delete(&mut self, key: &Key) -> Option<Arc<NetworkPolicy>> {
        let name = key.namespace().unwrap_or_default();
        let namespace = self.network.get_mut(name)?;
        let old = namespace.remove(key);
        if namespace.is_empty() {
            self.network.remove(name);
        }
        old.map(|old| old.policy)
    }

    /// A ClusterNetworkPolicy is new or different. Gives what it was.
    pub(crate) fn upsert_cluster(
        &mut self,
        policy: Arc<ClusterNetworkPolicy>,
    ) -> Option<Arc<ClusterNetworkPolicy>> {
        let old = self.places.remove(&policy.key).and_then(|place| self.cluster.remove(&place));
        let counter = &mut self.counter;
        let sides = Both::new(|direction| {
            let same = |old: &&Known<ClusterNetworkPolicy>| {
                let rules = |policy| side::cluster_rules(policy, direction);
                let what = |policy: &ClusterNetworkPolicy| (policy.audit, policy.tier, policy.priority);
                what(&old.policy) == what(&policy) && rules(&old.policy) == rules(&policy)
            };
            match old.as_ref().filter(same) {
                Some(old) => old.sides.of(direction).clone(),
                None => Side::cluster(SideId(counter.next()), &policy, direction).map(Arc::new),
            }
        });
        let place = (policy.tier, policy.priority, policy.key.clone());
        self.places.insert(policy.key.clone(), place.clone());
        self.cluster.insert(place, Known { policy, sides });
        old.map(|old| old.policy)
    }

    /// A ClusterNetworkPolicy is gone. Gives what it was.
    pub(crate) fn delete_cluster(&mut self, key: &Key) -> Option<Arc<ClusterNetworkPolicy>> {
        let place = self.places.remove(key)?;
        self.cluster.remove(&place).map(|old| old.policy)
    }

    /// The NetworkPolicies of a namespace, by name.
    pub(crate) fn of_namespace(&self, name: &str) -> impl Iterator<Item = &Known<NetworkPolicy>> {
        self.network.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// The ClusterNetworkPolicies of a tier, by priority and name.
    pub(crate) fn of_tier(&self, tier: Tier) -> impl Iterator<Item = &Known<ClusterNetworkPolicy>> {
        let first = (tier, 0, Key::new(""));
        self.cluster.range(first..).take_while(move |((known, ..), _)| *known == tier).map(|(_, known)| known)
    }

    /// All NetworkPolicies.
    pub(crate) fn network(&self) -> impl Iterator<Item = &NetworkPolicy> {
        self.network.values().flat_map(BTreeMap::values).map(|known| &*known.policy)
    }

    /// All ClusterNetworkPolicies, in the order in which they are asked.
    pub(crate) fn cluster(&self) -> impl Iterator<Item = &ClusterNetworkPolicy> {
        self.cluster.values().map(|known| &*known.policy)
    }
}

/// What a policy says of a direction, if it does.
pub(crate) fn side_of<P>(known: &Known<P>, direction: Direction) -> Option<&Arc<Side>> {
    known.sides.of(direction).as_ref()
}
