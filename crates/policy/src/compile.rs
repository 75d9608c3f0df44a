//! From one side of a policy to terms and ports.

use std::sync::Arc;

use ipnet::IpNet;
use objects::{Action, ClusterPeer, ClusterPort, ClusterRule, PolicyPort, Ports, Protocol, Rule};

use crate::hash::Set;
use crate::numbered::Numbered;
use crate::paint::{Reach, Span};
use crate::prefix::Prefix;
use crate::side::{self, Rules, Side};
use crate::tables::{Direction, RuleId, RuleName, SetId};
use crate::term::{Peer, PodPeer, PortName, Spaces, TermId, TermKey};
use crate::terms::Terms;

/// One side of a policy.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    /// The rules that can match anything.
    pub(crate) rules: Box<[CompiledRule]>,
    /// The places of those that match everybody.
    pub(crate) everybody: Box<[usize]>,
    /// What the others ask, and who asks it.
    terms: Box<[(TermId, usize)]>,
    /// The sets that it is part of.
    pub(crate) sets: Set<SetId>,
    /// Seen from the Pod.
    pub(crate) direction: Direction,
}

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRule {
    pub(crate) id: RuleId,
    pub(crate) action: Action,
    /// By number.
    pub(crate) reach: Reach,
    /// By name, looked up at the Pod that the policy applies to.
    pub(crate) names: Box<[PortName]>,
}

/// A rule as either kind of policy has it, in the same words.
#[derive(Debug)]
struct Plain {
    action: Action,
    /// `None`: everybody.
    peers: Option<Vec<Peer>>,
    reach: Reach,
    names: Vec<PortName>,
    name: Arc<str>,
}

impl Compiled {
    /// Compiles a side: its terms and its rules' names are in use until [`Self::dispose`].
    pub(crate) fn new(side: &Side, terms: &mut Terms, names: &mut Numbered<RuleName>) -> Self {
        let policies: Arc<[_]> = [side.policy.clone()].into();
        let namespace = side.policy.namespace().unwrap_or_default();
        let plain: Vec<Plain> = match side.rules() {
            Rules::Network(rules) => rules.iter().map(|rule| network(rule, namespace)).collect(),
            Rules::Cluster(rules) => rules.iter().map(cluster).collect(),
        };
        let mut compiled = Parts::default();
        for (index, rule) in plain.into_iter().enumerate() {
            if rule.matches_nothing() {
                continue;
            }
            let id = names.acquire(RuleName {
                origin: side.origin,
                direction: side.direction,
                policies: Arc::clone(&policies),
                rule: u32::try_from(index).ok(),
                name: Arc::clone(&rule.name),
            });
            compiled.add(rule, RuleId(id), side, terms);
        }
        let Parts { rules, everybody, terms } = compiled;
        Self {
            rules: rules.into(),
            everybody: everybody.into(),
            terms: terms.into(),
            sets: Set::default(),
            direction: side.direction,
        }
    }

    /// Its terms and rules' names are not in use any more.
    pub(crate) fn dispose(self, side: &Side, terms: &mut Terms, names: &mut Numbered<RuleName>) {
        for (term, rule) in self.terms {
            terms.release(term, (side.id, rule));
        }
        for rule in self.rules {
            names.release(rule.id.0);
        }
    }

    /// What it asks, and the places of the rules that do.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (TermId, usize)> {
        self.terms.iter().copied()
    }
}

#[derive(Debug, Default)]
struct Parts {
    rules: Vec<CompiledRule>,
    everybody: Vec<usize>,
    terms: Vec<(TermId, usize)>,
}

impl Parts {
    fn add(&mut self, rule: Plain, id: RuleId, side: &Side, terms: &mut Terms) {
        let place = self.rules.len();
        let Plain { action, peers, reach, names, .. } = rule;
        let at_subject = side.direction == Direction::Ingress;
        let by_number = reach != Reach::Spans(Box::default());
        if by_number || at_subject {
            match &peers {
                None => self.everybody.push(place),
                Some(peers) => self.ask(terms, peers.clone(), None, (side, place)),
            }
        }
        if !at_subject {
            let peers = peers.unwrap_or_else(|| vec![Peer::Pods(PodPeer::anybody())]);
            for name in &names {
                self.ask(terms, peers.clone(), Some(name.clone()), (side, place));
            }
        }
        let names = if at_subject { names.into() } else { Box::default() };
        self.rules.push(CompiledRule { id, action, reach, names });
    }

    fn ask(&mut self, terms: &mut Terms, peers: Vec<Peer>, port: Option<PortName>, user: (&Side, usize)) {
        let (side, place) = user;
        let term = terms.acquire(TermKey { peers: peers.into(), port }, (side.id, place));
        self.terms.push((term, place));
    }
}

impl Plain {
    fn matches_nothing(&self) -> bool {
        let nobody = self.peers.as_ref().is_some_and(Vec::is_empty);
        nobody || (self.names.is_empty() && self.reach == Reach::Spans(Box::default()))
    }
}

fn network(rule: &Rule, namespace: &str) -> Plain {
    let peers =
        rule.peers.as_ref().map(|peers| sorted(peers.iter().map(|peer| network_peer(peer, namespace))));
    let (reach, names) = match &rule.ports {
        None => (Reach::All, Vec::new()),
        Some(ports) => {
            let ports = ports.iter().map(|PolicyPort { protocol, ports }| match ports {
                Ports::Named(name) => Err(PortName { name: Arc::clone(name), protocol: Some(*protocol) }),
                ports => Ok(span(*protocol, ports)),
            });
            reach_of(ports)
        }
    };
    Plain { action: Action::Accept, peers, reach, names, name: Arc::default() }
}

fn network_peer(peer: &objects::Peer, namespace: &str) -> Peer {
    match peer {
        objects::Peer::Pods { namespaces, pods } => {
            let spaces = match namespaces {
                None => Spaces::Named(namespace.into()),
                Some(selector) => selected(selector),
            };
            Peer::Pods(PodPeer { spaces, pods: pods.clone() })
        }
        objects::Peer::Block { cidr, except } => block(*cidr, except),
    }
}

fn cluster(rule: &ClusterRule) -> Plain {
    let name = Arc::clone(&rule.name);
    if side::denies_all(rule) {
        return Plain { action: Action::Deny, peers: None, reach: Reach::All, names: Vec::new(), name };
    }
    let peers = Some(sorted(rule.peers.iter().flat_map(cluster_peers)));
    let ports = rule.ports.as_deref();
    let unknown = |port: &_| matches!(port, ClusterPort::Unknown);
    let every_port = ports.is_some_and(|ports| ports.is_empty() || ports.iter().any(unknown));
    if every_port && rule.action != Action::Accept {
        return Plain { action: Action::Deny, peers, reach: Reach::All, names: Vec::new(), name };
    }
    let (reach, names) = match ports {
        None => (Reach::All, Vec::new()),
        Some(ports) => reach_of(ports.iter().filter_map(|port| match port {
            ClusterPort::Of(protocol, Ports::Named(name)) => {
                Some(Err(PortName { name: Arc::clone(name), protocol: Some(*protocol) }))
            }
            ClusterPort::Of(protocol, ports) => Some(Ok(span(*protocol, ports))),
            ClusterPort::Named(name) => Some(Err(PortName { name: Arc::clone(name), protocol: None })),
            ClusterPort::Unknown => None,
        })),
    };
    Plain { action: rule.action, peers, reach, names, name }
}

fn cluster_peers(peer: &ClusterPeer) -> Vec<Peer> {
    match peer {
        ClusterPeer::Pods { namespaces, pods } => {
            vec![Peer::Pods(PodPeer { spaces: selected(namespaces), pods: pods.clone() })]
        }
        ClusterPeer::Networks(blocks) => blocks.iter().map(|cidr| block(*cidr, &[])).collect(),
        ClusterPeer::Nodes(selector) => vec![Peer::Nodes(selector.clone())],
        ClusterPeer::Unknown => Vec::new(),
    }
}

/// Without requirements it selects every namespace, known or not.
fn selected(selector: &objects::LabelSelector) -> Spaces {
    if selector.0.is_empty() { Spaces::Any } else { Spaces::Selected(selector.clone()) }
}

fn sorted(peers: impl Iterator<Item = Peer>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = peers.collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

fn block(cidr: IpNet, except: &[IpNet]) -> Peer {
    let block = Prefix::of(cidr);
    let mut inside: Vec<Prefix> = except
        .iter()
        .map(|except| Prefix::of(*except))
        // One around the block cuts out all of it.
        .map(|except| if except.contains(&block) { block } else { except })
        .filter(|except| block.contains(except))
        .collect();
    inside.sort_unstable();
    // One that is inside another comes somewhere after it, with nothing in between but what is inside as well.
    inside.dedup_by(|next, before| before.contains(next));
    Peer::Block { block, except: inside.into() }
}

fn span(protocol: Protocol, ports: &Ports) -> Option<Span> {
    match *ports {
        Ports::All => Some(Span { protocol, first: 0, last: u16::MAX }),
        Ports::Range(first, last) => (first <= last).then_some(Span { protocol, first, last }),
        Ports::Named(_) => None,
    }
}

fn reach_of(ports: impl Iterator<Item = Result<Option<Span>, PortName>>) -> (Reach, Vec<PortName>) {
    let (mut spans, mut names) = (Vec::new(), Vec::new());
    for port in ports {
        match port {
            Ok(span) => spans.extend(span),
            Err(name) => names.push(name),
        }
    }
    (Reach::Spans(spans.into()), names)
}
