//! A naive evaluator, written from the specification alone: it keeps every object, and goes through all of them for every
//! question. What is fast is compared with it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "tests of this and of other crates include it, each a part of it"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a few")]

pub mod random;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use objects::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, ClusterRule, Family, Key, LabelSelector, Labels,
    Namespace, NetworkPolicy, Node, Peer, Pod, Ports, Protocol, Requirement, Rule, Tier,
};
use policy::{Direction, Judge, LocalId, LocalPod, Origin};

/// Something changes.
#[derive(Debug, Clone)]
pub enum Change {
    Policy(Arc<NetworkPolicy>),
    DeletePolicy(Key),
    ClusterPolicy(Arc<ClusterNetworkPolicy>),
    DeleteClusterPolicy(Key),
    Namespace(Arc<Namespace>),
    DeleteNamespace(Key),
    Pod(Arc<Pod>),
    DeletePod(Key),
    Node(Arc<Node>),
    DeleteNode(Key),
    SetLocal(LocalId, LocalPod),
    UnsetLocal(LocalId),
}

/// Everything that there is.
#[derive(Debug, Clone, Default)]
pub struct World {
    policies: BTreeMap<Key, Arc<NetworkPolicy>>,
    cluster_policies: BTreeMap<Key, Arc<ClusterNetworkPolicy>>,
    namespaces: BTreeMap<String, Arc<Namespace>>,
    pods: BTreeMap<Key, Arc<Pod>>,
    nodes: BTreeMap<String, Arc<Node>>,
    locals: BTreeMap<LocalId, Local>,
    /// When somebody began to have an address.
    since: BTreeMap<(IpAddr, Owner), u64>,
    clock: u64,
}

#[derive(Debug, Clone)]
struct Local {
    pod: LocalPod,
    object: Option<Arc<Pod>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Local(LocalId),
    Pod(Key, Option<Box<str>>),
}

/// Who has an address.
#[derive(Debug, Clone, Copy)]
enum Who<'a> {
    Nobody,
    Pod(&'a Pod),
    Node(&'a Node),
}

/// What becomes of a first packet, and what decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub allow: bool,
    pub audit: bool,
    pub reject: bool,
    pub origin: Origin,
    pub policies: Vec<Key>,
    pub rule: Option<u32>,
}

/// Who is at the other end, wherever the Pod is.
#[derive(Debug, Clone, Copy)]
pub enum Other<'a> {
    /// A Pod, over that family.
    Pod(&'a Pod, Family),
    /// Nobody who is known.
    Address(IpAddr),
}

/// The other end, and the port at the destination; `None`: what has none.
#[derive(Debug, Clone, Copy)]
struct Packet<'a> {
    direction: Direction,
    subject: &'a Pod,
    /// `None`: it is in no block.
    address: Option<IpAddr>,
    who: Who<'a>,
    port: Option<(Protocol, u16)>,
}

impl Change {
    /// Tells the judge.
    pub fn tell(&self, judge: &mut Judge) {
        match self.clone() {
            Self::Policy(policy) => judge.upsert_policy(policy),
            Self::DeletePolicy(key) => judge.delete_policy(&key),
            Self::ClusterPolicy(policy) => judge.upsert_cluster_policy(policy),
            Self::DeleteClusterPolicy(key) => judge.delete_cluster_policy(&key),
            Self::Namespace(namespace) => judge.upsert_namespace(namespace),
            Self::DeleteNamespace(key) => judge.delete_namespace(&key),
            Self::Pod(pod) => judge.upsert_pod(pod),
            Self::DeletePod(key) => judge.delete_pod(&key),
            Self::Node(node) => judge.upsert_node(node),
            Self::DeleteNode(key) => judge.delete_node(&key),
            Self::SetLocal(id, pod) => judge.set_local(id, pod),
            Self::UnsetLocal(id) => judge.unset_local(id),
        }
    }
}

impl Packet<'_> {
    fn is_in(&self, block: &IpNet) -> bool {
        self.address.is_some_and(|address| block.contains(&address))
    }
}

impl World {
    /// Something changes.
    pub fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Policy(policy) => drop(self.policies.insert(policy.key.clone(), policy)),
            Change::DeletePolicy(key) => drop(self.policies.remove(&key)),
            Change::ClusterPolicy(policy) => drop(self.cluster_policies.insert(policy.key.clone(), policy)),
            Change::DeleteClusterPolicy(key) => drop(self.cluster_policies.remove(&key)),
            Change::Namespace(namespace) => {
                self.namespaces.insert(namespace.key.name().to_owned(), namespace);
            }
            Change::DeleteNamespace(key) => drop(self.namespaces.remove(key.name())),
            Change::Pod(pod) => {
                for local in self.locals.values_mut().filter(|local| belongs(&local.pod, &pod)) {
                    local.object = Some(Arc::clone(&pod));
                }
                self.pods.insert(pod.key.clone(), pod);
            }
            Change::DeletePod(key) => drop(self.pods.remove(&key)),
            Change::Node(node) => drop(self.nodes.insert(node.name.clone(), node)),
            Change::DeleteNode(key) => drop(self.nodes.remove(key.name())),
            Change::SetLocal(id, pod) => {
                let before = self.locals.remove(&id);
                let known = self.pods.get(&pod.key).cloned();
                let object = known.filter(|object| belongs(&pod, object));
                let kept = before.as_ref().and_then(|before| before.object.clone());
                let object = object.or(kept.filter(|object| belongs(&pod, object)));
                self.locals.insert(id, Local { pod, object });
            }
            Change::UnsetLocal(id) => drop(self.locals.remove(&id)),
        }
        self.watch_addresses();
    }

    /// Notes who has addresses now.
    fn watch_addresses(&mut self) {
        self.clock += 1;
        let mut all = Vec::new();
        for (id, local) in &self.locals {
            all.extend(local.pod.addresses.iter().map(|address| (*address, Owner::Local(*id))));
        }
        for pod in self.pods.values().filter(|pod| has_addresses(pod)) {
            let owner = Owner::Pod(pod.key.clone(), pod.uid.clone());
            all.extend(pod.addresses.iter().map(|address| (*address, owner.clone())));
        }
        let since = std::mem::take(&mut self.since);
        let clock = self.clock;
        self.since =
            all.into_iter().map(|key| (key.clone(), since.get(&key).copied().unwrap_or(clock))).collect();
    }

    /// The ports of this node.
    pub fn locals(&self) -> Vec<LocalId> {
        self.locals.keys().copied().collect()
    }

    fn who(&self, address: IpAddr) -> Who<'_> {
        let since = |owner: Owner| self.since.get(&(address, owner)).copied().unwrap_or_default();
        let ports = self.locals.iter().filter(|(_, local)| local.pod.addresses.contains(&address));
        let ports = ports.filter(|(_, local)| !local.object.as_ref().is_some_and(|object| object.ended));
        if let Some((_, local)) = ports.max_by_key(|(id, _)| since(Owner::Local(**id))) {
            return local.object.as_deref().map_or(Who::Nobody, Who::Pod);
        }
        let all = self.pods.values().filter(|pod| has_addresses(pod) && pod.addresses.contains(&address));
        let claiming = all.clone().filter(|pod| !pod.early);
        let in_range = |pod: &Pod| {
            let node = pod.node.as_ref().and_then(|node| self.nodes.get(&**node));
            node.is_some_and(|node| node.pod_cidrs.iter().any(|cidr| cidr.contains(&address)))
        };
        // What annotations alone say counts last, and not at all if two of them say so.
        let mut early = all.filter(|pod| pod.early && in_range(pod));
        let last = |range: bool| {
            let claiming = claiming.clone().filter(|pod| in_range(pod) == range);
            claiming.max_by_key(|pod| since(Owner::Pod(pod.key.clone(), pod.uid.clone())))
        };
        if let Some(pod) = last(true) {
            return Who::Pod(pod);
        }
        let node = self.nodes.values().filter(|node| node_addresses(node).contains(&address));
        if let Some(node) = node.min_by_key(|node| (node.created, node.name.clone())) {
            return Who::Node(node);
        }
        let announced = early.next().filter(|_| early.next().is_none());
        announced.map(|pod| &**pod).or_else(|| last(false).map(|pod| &**pod)).map_or(Who::Nobody, Who::Pod)
    }

    /// What becomes of a packet between a Pod of this node and an address. `None`: what applies to the Pod is not known, and
    /// nothing passes.
    pub fn judge(
        &self,
        local: LocalId,
        direction: Direction,
        address: IpAddr,
        port: Option<(Protocol, u16)>,
    ) -> Option<Outcome> {
        let subject = self.locals.get(&local)?.object.as_deref()?;
        let (address, who) = (Some(address), self.who(address));
        self.judge_packet(&Packet { direction, subject, address, who, port })
    }

    /// The same for a Pod of any node.
    pub fn judge_pod(
        &self,
        subject: &Pod,
        direction: Direction,
        other: Other<'_>,
        port: Option<(Protocol, u16)>,
    ) -> Option<Outcome> {
        let (address, who) = match other {
            Other::Pod(pod, family) => {
                let address = pod.addresses.iter().find(|address| Family::of(**address) == family);
                (address.copied(), Who::Pod(pod))
            }
            Other::Address(address) => (Some(address), Who::Nobody),
        };
        self.judge_packet(&Packet { direction, subject, address, who, port })
    }

    /// The Pods that have addresses of their own.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values().filter(|pod| has_addresses(pod))
    }

    /// The namespaces of Pods that are not known.
    pub fn unknown_namespaces(&self) -> BTreeSet<&str> {
        let names = self.pods.values().filter_map(|pod| pod.key.namespace());
        names.filter(|name| !self.namespaces.contains_key(*name)).collect()
    }

    fn judge_packet(&self, packet: &Packet) -> Option<Outcome> {
        let cluster = self.cluster_policies_of(packet.subject)?;
        let namespace = self.namespaces.get(packet.subject.key.namespace().unwrap());
        let full = self.decide(packet, &cluster, |_| true);
        if full.allow {
            return Some(full);
        }
        // Without what is only asked it may pass.
        let strict = match namespace {
            Some(namespace) if namespace.audit => None,
            _ => Some(self.decide(packet, &cluster, |audit| !audit)).filter(|strict| !strict.allow),
        };
        Some(match strict {
            None => Outcome { allow: true, audit: true, ..full },
            Some(strict) => Outcome { reject: namespace.is_some_and(|namespace| namespace.reject), ..strict },
        })
    }

    /// In the order in which they are asked.
    fn cluster_policies_of(&self, subject: &Pod) -> Option<Vec<&ClusterNetworkPolicy>> {
        let mut all = Vec::new();
        for policy in self.cluster_policies.values() {
            let empty = policy.ingress.is_empty() && policy.egress.is_empty();
            if !empty
                && policy.pods.selects(&subject.labels)
                && self.selects_namespace(&policy.namespaces, subject)?
            {
                all.push(&**policy);
            }
        }
        all.sort_by_key(|policy| (policy.priority, policy.key.clone()));
        Some(all)
    }

    /// Whether a selector selects a Pod's namespace. Of one that is not known only the name is.
    fn selects_namespace(&self, selector: &LabelSelector, pod: &Pod) -> Option<bool> {
        let name = pod.key.namespace().unwrap();
        if let Some(namespace) = self.namespaces.get(name) {
            return Some(selector.selects(&namespace.labels));
        }
        let labels = Labels::from_iter([("kubernetes.io/metadata.name", name)]);
        let (by_name, others): (Vec<Requirement>, Vec<_>) = selector
            .0
            .iter()
            .cloned()
            .partition(|requirement| &*requirement.key == "kubernetes.io/metadata.name");
        if !by_name.into_iter().all(|one| LabelSelector([one].into()).selects(&labels)) {
            return Some(false);
        }
        others.is_empty().then_some(true)
    }

    fn decide(
        &self,
        packet: &Packet,
        cluster: &[&ClusterNetworkPolicy],
        asked: impl Fn(bool) -> bool,
    ) -> Outcome {
        let cluster: Vec<_> = cluster.iter().copied().filter(|policy| asked(policy.audit)).collect();
        if let Some(outcome) = self.tier(packet, &cluster, Tier::Admin) {
            return outcome;
        }
        let own = self.policies.values().filter(|policy| {
            policy.key.namespace() == packet.subject.key.namespace()
                && policy.pods.selects(&packet.subject.labels)
                && asked(policy.audit)
        });
        let isolating: Vec<_> =
            own.filter_map(|policy| Some((policy, rules(policy, packet.direction)?))).collect();
        let outcome = |allow, policies, rule| Outcome {
            allow,
            audit: false,
            reject: false,
            origin: Origin::NetworkPolicy,
            policies,
            rule,
        };
        for (policy, rules) in &isolating {
            for (index, rule) in rules.iter().enumerate() {
                if self.matches(packet, rule, policy.key.namespace().unwrap()) {
                    return outcome(true, vec![policy.key.clone()], Some(index as u32));
                }
            }
        }
        if !isolating.is_empty() {
            return outcome(false, isolating.iter().map(|(policy, _)| policy.key.clone()).collect(), None);
        }
        if let Some(outcome) = self.tier(packet, &cluster, Tier::Baseline) {
            return outcome;
        }
        Outcome { origin: Origin::Nothing, ..outcome(true, Vec::new(), None) }
    }

    fn tier(&self, packet: &Packet, policies: &[&ClusterNetworkPolicy], tier: Tier) -> Option<Outcome> {
        for policy in policies.iter().filter(|policy| policy.tier == tier) {
            let rules = match packet.direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            for (index, rule) in rules.iter().enumerate() {
                let Some(action) = self.acts(packet, rule) else { continue };
                if action == Action::Pass {
                    return None;
                }
                return Some(Outcome {
                    allow: action == Action::Accept,
                    audit: false,
                    reject: false,
                    origin: if tier == Tier::Admin { Origin::Admin } else { Origin::Baseline },
                    policies: vec![policy.key.clone()],
                    rule: Some(index as u32),
                });
            }
        }
        None
    }

    /// What a rule does with a packet.
    fn acts(&self, packet: &Packet, rule: &ClusterRule) -> Option<Action> {
        let restrictive = rule.action != Action::Accept;
        if restrictive && (rule.peers.is_empty() || rule.peers.contains(&ClusterPeer::Unknown)) {
            return Some(Action::Deny);
        }
        let peer = rule.peers.iter().any(|peer| match peer {
            ClusterPeer::Pods { namespaces, pods } => self.selects_peer(packet, namespaces, pods),
            ClusterPeer::Networks(blocks) => blocks.iter().any(|block| packet.is_in(block)),
            ClusterPeer::Nodes(selector) => {
                matches!(packet.who, Who::Node(node) if selector.selects(&node.labels))
            }
            ClusterPeer::Unknown => false,
        });
        if !peer {
            return None;
        }
        let Some(ports) = &rule.ports else { return Some(rule.action) };
        if restrictive && (ports.is_empty() || ports.contains(&ClusterPort::Unknown)) {
            return Some(Action::Deny);
        }
        let port = ports.iter().any(|port| match port {
            ClusterPort::Of(protocol, ports) => self.has_port(packet, Some(*protocol), ports),
            ClusterPort::Named(name) => self.has_port(packet, None, &Ports::Named(name.clone())),
            ClusterPort::Unknown => false,
        });
        port.then_some(rule.action)
    }

    fn matches(&self, packet: &Packet, rule: &Rule, namespace: &str) -> bool {
        let peer = rule.peers.as_ref().is_none_or(|peers| {
            peers.iter().any(|peer| match peer {
                Peer::Pods { namespaces: Some(namespaces), pods } => {
                    self.selects_peer(packet, namespaces, pods)
                }
                Peer::Pods { namespaces: None, pods } => match packet.who {
                    Who::Pod(pod) => pod.key.namespace() == Some(namespace) && pods.selects(&pod.labels),
                    _ => false,
                },
                Peer::Block { cidr, except } => {
                    packet.is_in(cidr) && !except.iter().any(|except| packet.is_in(except))
                }
            })
        });
        let port = rule.ports.as_ref().is_none_or(|ports| {
            ports.iter().any(|port| self.has_port(packet, Some(port.protocol), &port.ports))
        });
        peer && port
    }

    fn selects_peer(&self, packet: &Packet, namespaces: &LabelSelector, pods: &LabelSelector) -> bool {
        let Who::Pod(pod) = packet.who else { return false };
        pods.selects(&pod.labels) && self.selects_namespace(namespaces, pod) == Some(true)
    }

    fn has_port(&self, packet: &Packet, protocol: Option<Protocol>, ports: &Ports) -> bool {
        let Some((of, number)) = packet.port else { return false };
        if protocol.is_some_and(|protocol| protocol != of) {
            return false;
        }
        match ports {
            Ports::All => true,
            Ports::Range(first, last) => (*first..=*last).contains(&number),
            Ports::Named(name) => {
                let destination = match (packet.direction, packet.who) {
                    (Direction::Ingress, _) => packet.subject,
                    (Direction::Egress, Who::Pod(pod)) => pod,
                    (Direction::Egress, _) => return false,
                };
                let mut named = destination.ports.iter().filter(|port| port.name == *name);
                named.any(|port| (port.protocol, port.port) == (of, number))
            }
        }
    }
}

fn rules(policy: &NetworkPolicy, direction: Direction) -> Option<&[Rule]> {
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
}

fn belongs(local: &LocalPod, object: &Pod) -> bool {
    let uid = local.uid.is_none() || object.uid.is_none() || local.uid == object.uid;
    local.key == object.key && uid && !object.host_network
}

fn has_addresses(pod: &Pod) -> bool {
    !pod.host_network && !pod.ended
}

/// What a node's status says, and podCIDR + 2.
fn node_addresses(node: &Node) -> Vec<IpAddr> {
    let pod_side = node.pod_cidrs.iter().map(|cidr| match cidr.network() {
        IpAddr::V4(first) => IpAddr::from((u32::from(first) + 2).to_be_bytes()),
        IpAddr::V6(first) => IpAddr::from((u128::from(first) + 2).to_be_bytes()),
    });
    node.internal_ips.iter().chain(&node.other_ips).copied().chain(pod_side).collect()
}
