//! Objects that change.

use std::sync::Arc;

use ipnet::IpNet;
use objects::{ClusterNetworkPolicy, Key, Kind, Namespace, NetworkPolicy, Node, Pod};

use super::Judge;
use crate::addresses::Claimant;
use crate::node_peers;
use crate::pods::{self, HolderId};
use crate::prefix::Prefix;

impl Judge {
    /// A NetworkPolicy is new or different.
    pub fn upsert_policy(&mut self, policy: Arc<NetworkPolicy>) {
        self.touch_selected(&policy);
        if let Some(old) = self.policies.upsert(policy) {
            self.touch_selected(&old);
        }
    }

    /// A NetworkPolicy is gone.
    pub fn delete_policy(&mut self, key: &Key) {
        if let Some(old) = self.policies.delete(key) {
            self.touch_selected(&old);
        }
    }

    fn touch_selected(&mut self, policy: &NetworkPolicy) {
        self.try_again();
        let Self { locals, pods, .. } = self;
        locals.touch_if(|local| {
            local.pod.key.namespace() == policy.key.namespace()
                && local
                    .holder
                    .and_then(|id| pods.get(id))
                    .is_some_and(|holder| policy.pods.selects(&holder.pod.labels))
        });
    }

    /// A ClusterNetworkPolicy is new or different.
    pub fn upsert_cluster_policy(&mut self, policy: Arc<ClusterNetworkPolicy>) {
        self.policies.upsert_cluster(policy);
        self.try_again();
        self.locals.touch_if(|_| true);
    }

    /// A ClusterNetworkPolicy is gone.
    pub fn delete_cluster_policy(&mut self, key: &Key) {
        if self.policies.delete_cluster(key).is_some() {
            self.try_again();
            self.locals.touch_if(|_| true);
        }
    }

    /// A namespace is new or different.
    pub fn upsert_namespace(&mut self, namespace: Arc<Namespace>) {
        let key = namespace.key.clone();
        if self.namespaces.upsert(namespace) {
            self.touch_namespace(&key);
        }
    }

    /// A namespace is gone.
    pub fn delete_namespace(&mut self, key: &Key) {
        self.namespaces.delete(key);
        self.touch_namespace(key);
    }

    fn touch_namespace(&mut self, key: &Key) {
        self.locals.touch_if(|local| local.pod.key.namespace() == Some(key.name()));
    }

    /// A Pod of any node is new or different.
    pub fn upsert_pod(&mut self, pod: Arc<Pod>) {
        let mut locals = self.locals.named(&pod.key);
        locals.retain(|local| self.locals.get(*local).is_some_and(|local| local.is(&pod)));
        let known = self.pods.find(&pod.key);
        let is_same = |other: &Pod| other.uid == pod.uid && other.host_network == pod.host_network;
        let same = known.filter(|id| self.pods.get(*id).is_some_and(|holder| is_same(&holder.pod)));
        let id = match same {
            Some(id) => {
                self.replace_pod(id, pod);
                id
            }
            None => self.insert_pod(pod),
        };
        for local in locals {
            self.link(local, id);
        }
    }

    fn insert_pod(&mut self, pod: Arc<Pod>) -> HolderId {
        let key = pod.key.clone();
        self.end_pod(&key);
        let claimed = pods::addresses(&pod).to_vec();
        let id = self.pods.insert(pod);
        self.namespaces.enter(key.namespace().unwrap_or_default(), id, &self.terms.pods);
        for address in claimed {
            self.addresses.claim(address, Claimant::Pod(id));
        }
        id
    }

    fn replace_pod(&mut self, id: HolderId, pod: Arc<Pod>) {
        let Some(before) = self.pods.get(id).map(|holder| Arc::clone(&holder.pod)) else { return };
        if before == pod {
            return;
        }
        let (old, new) = (pods::addresses(&before), pods::addresses(&pod));
        for address in old.iter().filter(|address| !new.contains(address)) {
            self.addresses.unclaim(*address, Claimant::Pod(id));
        }
        for address in new.iter().filter(|address| !old.contains(address)) {
            self.addresses.claim(*address, Claimant::Pod(id));
        }
        if before.early != pod.early {
            new.iter().for_each(|address| self.addresses.touch(*address));
        }
        self.pods.replace(id, pod);
        self.touch_ports(id);
    }

    /// A Pod is gone.
    pub fn delete_pod(&mut self, key: &Key) {
        self.end_pod(key);
    }

    fn end_pod(&mut self, key: &Key) {
        let Some(id) = self.pods.find(key) else { return };
        let claimed = self.pods.get(id).map(|holder| Arc::clone(&holder.pod));
        for address in claimed.iter().flat_map(|pod| pods::addresses(pod)) {
            self.addresses.unclaim(*address, Claimant::Pod(id));
        }
        self.pods.end(key);
        self.drop_unused(id);
    }

    /// Forgets an object that neither exists nor has a port here.
    pub(super) fn drop_unused(&mut self, id: HolderId) {
        let Some(holder) = self.pods.remove_unused(id) else { return };
        self.namespaces.leave(namespace_of(&holder.pod), id);
        if let Some(kind) = holder.kind {
            self.kinds.remove(kind, id, &mut self.profiles);
        }
    }

    /// A node is new or different.
    pub fn upsert_node(&mut self, node: Arc<Node>) {
        let new = node_peers::addresses(&node);
        let cidrs = node.pod_cidrs.clone();
        let (id, old) = self.terms.nodes.upsert(node.key(), node);
        let cidrs_before = old.as_ref().map(|old| old.pod_cidrs.clone()).unwrap_or_default();
        if cidrs != cidrs_before {
            self.touch_cidrs(cidrs.iter().chain(&cidrs_before));
        }
        let old = old.map(|old| node_peers::addresses(&old)).unwrap_or_default();
        for address in old.iter().filter(|address| !new.contains(address)) {
            self.addresses.unclaim(*address, Claimant::Node(id));
        }
        for address in new {
            self.addresses.claim(address, Claimant::Node(id));
        }
    }

    /// A node is gone.
    pub fn delete_node(&mut self, key: &Key) {
        let Some((id, node)) = self.terms.nodes.delete(key, &mut self.profiles) else { return };
        for address in node_peers::addresses(&node) {
            self.addresses.unclaim(address, Claimant::Node(id));
        }
        self.touch_cidrs(node.pod_cidrs.iter());
    }

    /// Who has addresses there may be somebody else.
    fn touch_cidrs<'a>(&mut self, cidrs: impl Iterator<Item = &'a IpNet>) {
        for cidr in cidrs {
            self.addresses.touch_all(Prefix::of(*cidr));
        }
    }
}

pub(super) fn namespace_of(pod: &Pod) -> &str {
    pod.key.namespace().unwrap_or_default()
}
