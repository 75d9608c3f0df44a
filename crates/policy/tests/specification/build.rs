//! Objects in few words, and a judge that is asked for single verdicts.

use std::net::IpAddr;
use std::sync::Arc;

use objects::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, ClusterRule, Key, LabelSelector, NamedPort,
    Namespace, NetworkPolicy, Node, Operator, Peer, Pod, PolicyPort, Ports, Protocol, Requirement, Rule,
    Tier,
};
use policy::{Direction, Judge, LocalId, LocalPod, Verdict};

pub(crate) use objects::Protocol::{Tcp, Udp};
pub(crate) use policy::Direction::{Egress, Ingress};

/// `a=b,c=d`
pub(crate) fn labels(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(key, value)| (key.into(), value.into())).collect()
}

/// `a=b,c=d`
pub(crate) fn select(text: &str) -> LabelSelector {
    let mut all: Vec<Requirement> = labels(text)
        .into_iter()
        .map(|(key, value)| Requirement {
            key: key.into(),
            operator: Operator::In([Arc::from(value)].into()),
        })
        .collect();
    all.sort();
    LabelSelector(all.into())
}

fn key(text: &str) -> Key {
    match text.split_once('/') {
        Some((namespace, name)) => Key::namespaced(namespace, name),
        None => Key::new(text),
    }
}

pub(crate) fn pod(name: &str, with: &str, address: &str) -> Pod {
    Pod {
        key: key(name),
        uid: Some(format!("uid of {name}").into()),
        labels: labels(with).into_iter().collect(),
        node: None,
        addresses: address
            .split(',')
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap())
            .collect(),
        early: false,
        host_network: false,
        ended: false,
        ports: Box::default(),
    }
}

pub(crate) fn ports(all: &[(&str, Protocol, u16)]) -> Box<[NamedPort]> {
    let port = |(name, protocol, port): &(&str, Protocol, u16)| NamedPort {
        name: (*name).into(),
        protocol: *protocol,
        port: *port,
    };
    all.iter().map(port).collect()
}

pub(crate) fn namespace(name: &str, with: &str) -> Namespace {
    let mut all = labels(with);
    all.push(("kubernetes.io/metadata.name".into(), name.into()));
    Namespace {
        key: Key::new(name),
        uid: None,
        labels: all.into_iter().collect(),
        reject: false,
        audit: false,
        defects: Box::default(),
    }
}

pub(crate) fn node(name: &str, with: &str, addresses: &[&str], cidrs: &[&str]) -> Node {
    Node {
        name: name.into(),
        uid: None,
        created: None,
        pod_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        internal_ips: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        other_ips: Vec::new(),
        labels: labels(with).into_iter().collect(),
        zone: None,
        annotations: std::collections::BTreeMap::new(),
        leaving: false,
    }
}

pub(crate) fn policy(name: &str, pods: &str) -> NetworkPolicy {
    NetworkPolicy {
        key: key(name),
        uid: None,
        generation: 1,
        pods: select(pods),
        ingress: None,
        egress: None,
        audit: false,
        defects: Box::default(),
    }
}

pub(crate) fn rule(peers: &[Peer], ports: &[PolicyPort]) -> Rule {
    Rule {
        peers: (!peers.is_empty()).then(|| peers.into()),
        ports: (!ports.is_empty()).then(|| ports.into()),
    }
}

pub(crate) fn own(pods: &str) -> Peer {
    Peer::Pods { namespaces: None, pods: select(pods) }
}

pub(crate) fn peers(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods { namespaces: Some(select(namespaces)), pods: select(pods) }
}

pub(crate) fn block(cidr: &str, except: &[&str]) -> Peer {
    let except = except.iter().map(|except| except.parse().unwrap()).collect();
    Peer::Block { cidr: cidr.parse().unwrap(), except }
}

pub(crate) fn port(protocol: Protocol, ports: Ports) -> PolicyPort {
    PolicyPort { protocol, ports }
}

pub(crate) fn number(number: u16) -> Ports {
    Ports::Range(number, number)
}

pub(crate) fn named(name: &str) -> Ports {
    Ports::Named(name.into())
}

pub(crate) fn cluster_policy(name: &str, tier: Tier, priority: u16) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy {
        key: key(name),
        uid: None,
        generation: 1,
        tier,
        priority,
        namespaces: LabelSelector::default(),
        pods: LabelSelector::default(),
        ingress: Box::default(),
        egress: Box::default(),
        audit: false,
        defects: Box::default(),
    }
}

pub(crate) fn cluster_rule(
    action: Action,
    peers: &[ClusterPeer],
    ports: Option<&[ClusterPort]>,
) -> ClusterRule {
    ClusterRule { name: "".into(), action, peers: peers.into(), ports: ports.map(Into::into) }
}

pub(crate) fn cluster_peers(namespaces: &str, pods: &str) -> ClusterPeer {
    ClusterPeer::Pods { namespaces: select(namespaces), pods: select(pods) }
}

pub(crate) fn networks(all: &[&str]) -> ClusterPeer {
    ClusterPeer::Networks(all.iter().map(|cidr| cidr.parse().unwrap()).collect())
}

/// A judge, with the Pod `a/subject` (10.0.0.1, fd00::1, `app=subject`) as the port 1 of this node, and namespaces a and b
/// (`team=a`, `team=b`).
pub(crate) struct Case {
    pub(crate) judge: Judge,
}

pub(crate) const SUBJECT: LocalId = LocalId(1);

pub(crate) fn local(name: &str, address: &str) -> LocalPod {
    let pod = pod(name, "", address);
    LocalPod { key: pod.key, uid: pod.uid, addresses: pod.addresses }
}

impl Case {
    pub(crate) fn new() -> Self {
        let mut case = Self { judge: Judge::new(0) };
        case.namespace(namespace("a", "team=a")).namespace(namespace("b", "team=b"));
        case.pod(pod("a/subject", "app=subject", "10.0.0.1,fd00::1"));
        case.judge.set_local(SUBJECT, local("a/subject", "10.0.0.1,fd00::1"));
        case
    }

    pub(crate) fn namespace(&mut self, namespace: Namespace) -> &mut Self {
        self.judge.upsert_namespace(Arc::new(namespace));
        self
    }

    pub(crate) fn pod(&mut self, pod: Pod) -> &mut Self {
        self.judge.upsert_pod(Arc::new(pod));
        self
    }

    pub(crate) fn node(&mut self, node: Node) -> &mut Self {
        self.judge.upsert_node(Arc::new(node));
        self
    }

    pub(crate) fn policy(&mut self, policy: NetworkPolicy) -> &mut Self {
        self.judge.upsert_policy(Arc::new(policy));
        self
    }

    pub(crate) fn cluster(&mut self, policy: ClusterNetworkPolicy) -> &mut Self {
        self.judge.upsert_cluster_policy(Arc::new(policy));
        self
    }

    pub(crate) fn verdict(
        &mut self,
        direction: Direction,
        peer: &str,
        port: Option<(Protocol, u16)>,
    ) -> Verdict {
        self.verdict_of(SUBJECT, direction, peer, port)
    }

    pub(crate) fn verdict_of(
        &mut self,
        local: LocalId,
        direction: Direction,
        peer: &str,
        port: Option<(Protocol, u16)>,
    ) -> Verdict {
        self.judge.update();
        let class = self.judge.class_of(peer.parse::<IpAddr>().unwrap());
        self.judge.verdict(self.judge.set_of(local).unwrap(), direction, class, port)
    }

    /// Which of these peers pass.
    pub(crate) fn passing<'a>(
        &mut self,
        direction: Direction,
        port: (Protocol, u16),
        peers: &[&'a str],
    ) -> Vec<&'a str> {
        let mut passing = peers.to_vec();
        passing.retain(|peer| self.verdict(direction, peer, Some(port)).allow);
        passing
    }

    /// Which of these ports pass.
    pub(crate) fn ports(&mut self, direction: Direction, peer: &str, ports: &[(Protocol, u16)]) -> Vec<u16> {
        let mut passing = ports.to_vec();
        passing.retain(|port| self.verdict(direction, peer, Some(*port)).allow);
        passing.into_iter().map(|(_, port)| port).collect()
    }

    /// What decided: the policies and the rule's index.
    pub(crate) fn decided(&mut self, direction: Direction, peer: &str, port: u16) -> String {
        let verdict = self.verdict(direction, peer, Some((Tcp, port)));
        let rule = self.judge.rule(verdict.rule);
        let told = match (verdict.allow, verdict.audit) {
            (true, false) => "allow",
            (true, true) => "audit",
            (false, _) => "deny",
        };
        match rule {
            None => format!("{told} by nothing"),
            Some(rule) => {
                let policies: Vec<String> = rule.policies.iter().map(ToString::to_string).collect();
                let index = rule.rule.map(|index| format!(" {index}")).unwrap_or_default();
                format!("{told} by {}{index}", policies.join("+"))
            }
        }
    }
}
