//! The whole computation at once, as plainly as it can be written: what a [`Model`](crate::Model) must come to, however its
//! objects came.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use naming::annotation;
use objects::Node;

use crate::facts::{Facts, is_host, overlap, tunnel};
use crate::local::local;
use crate::validate::{CORRECT_ADDRESS, CORRECT_CIDR, NODE_ADDRESSES};
use crate::{Local, NotYet, Peer, Problem, Ranges, RouteTarget};

pub(super) struct All {
    pub(super) local: Local,
    pub(super) peers: BTreeMap<String, Peer>,
    pub(super) routes: BTreeMap<IpNet, RouteTarget>,
    pub(super) nodes: BTreeMap<IpAddr, Option<IpAddr>>,
    pub(super) problems: Vec<Problem>,
}

struct Named {
    name: String,
    facts: Facts,
}

pub(super) fn desired<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    me: &str,
    ranges: &Ranges,
) -> Result<All, NotYet> {
    let named = |node: &Node| Named { name: node.name.to_string(), facts: Facts::from(node) };
    let all: Vec<Named> = nodes.into_iter().map(named).collect();
    let (mine, mut others): (Vec<_>, Vec<_>) = all.iter().partition(|node| node.name == me);
    let mine = mine.first().ok_or_else(|| NotYet::NoNode(me.to_owned()))?;
    let local = local(me, &mine.facts, ranges)?;
    let mut routes: BTreeMap<IpNet, RouteTarget> =
        ranges.cluster.iter().map(|cidr| (cidr.trunc(), RouteTarget::Unreachable)).collect();
    routes.extend(local.pod_cidrs.iter().map(|cidr| (cidr.trunc(), RouteTarget::Local)));

    // On every node the same Node gets a podCIDR that several have: the one that had it first.
    others.sort_by(|a, b| (a.facts.created, &a.name).cmp(&(b.facts.created, &b.name)));
    let mut validator = Validator::new(mine, &local, ranges, &others);
    let mut peers = BTreeMap::new();
    let mut nodes: BTreeMap<IpAddr, Option<IpAddr>> = mine
        .facts
        .addresses()
        .filter(|address| validator.accepts(mine, *address))
        .take(NODE_ADDRESSES)
        .map(|address| (address, None))
        .collect();
    for node in others {
        if node.facts.pod_cidrs.is_empty() {
            continue; // nothing to reach there yet: normal while a node joins
        }
        let Some((own_address, tunnel_address)) = validator.tunnel(node) else { continue };
        let pod_cidrs: Vec<IpNet> =
            node.facts.pod_cidrs.iter().copied().filter(|cidr| validator.takes(node, *cidr)).collect();
        routes.extend(pod_cidrs.iter().map(|cidr| (cidr.trunc(), RouteTarget::Tunnel(tunnel_address))));
        let accepted =
            node.facts.addresses().filter(|address| validator.accepts(node, *address)).take(NODE_ADDRESSES);
        nodes.extend(accepted.map(|address| (address, Some(tunnel_address))));
        peers.insert(node.name.clone(), Peer { pod_cidrs, tunnel_address, own_address });
    }
    Ok(All { local, peers, routes, nodes, problems: validator.problems })
}

/// Validates the other nodes, one after the other: what one was given the next cannot have.
struct Validator<'a> {
    ranges: &'a Ranges,
    mine: &'a Named,
    own: Vec<IpAddr>,
    taken: Taken<'a>,
    /// The nodes' own addresses, in order.
    nodes: BTreeMap<IpAddr, &'a str>,
    tunnels: HashMap<IpAddr, &'a str>,
    accepted: HashMap<IpAddr, &'a str>,
    problems: Vec<Problem>,
}

impl<'a> Validator<'a> {
    fn new(mine: &'a Named, local: &Local, ranges: &'a Ranges, others: &[&'a Named]) -> Self {
        let mut taken = Taken::default();
        for cidr in &local.pod_cidrs {
            taken.insert(*cidr, &mine.name);
        }
        let own = mine.facts.internal_ips.iter().copied().chain([local.tunnel_address]).collect();
        let nodes = others.iter().copied().chain([mine]);
        let nodes = nodes
            .flat_map(|node| node.facts.internal_ips.iter().map(|address| (*address, node.name.as_str())));
        let nodes = nodes.collect();
        let (tunnels, accepted, problems) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { ranges, mine, own, taken, nodes, tunnels, accepted, problems }
    }

    /// Where the tunnel to a node ends here and there; `None` if there is none, and then none of its Pods is reached.
    fn tunnel(&mut self, node: &'a Named) -> Option<(IpAddr, IpAddr)> {
        self.validate_annotation(node);
        let Some((own, address)) = tunnel(&self.mine.facts, &node.facts) else {
            let problem = "it is left out, its Pods are not reached: it has no InternalIP of a family that this node has, too";
            self.refuse_tunnel(node, problem.to_owned(), "run its kubelet with a --node-ip of that family");
            return None;
        };
        let within = |ranges: &[IpNet]| ranges.iter().copied().find(|range| range.contains(&address));
        let wrong = if self.own.contains(&address) {
            format!("its tunnel address {address} is this node's own")
        } else if let Some(range) = within(&self.ranges.cluster) {
            format!("its tunnel address {address} lies in the Pods' addresses {range}")
        } else if let Some(range) = within(&self.ranges.service) {
            format!("its tunnel address {address} lies in the Services' addresses {range}")
        } else {
            if let Some(other) = self.tunnels.insert(address, &node.name) {
                let problem = format!(
                    "its tunnel address {address} is that of Node {other}, too: one of them is wrong"
                );
                self.refuse_tunnel(node, problem, CORRECT_ADDRESS);
            }
            return Some((own, address));
        };
        self.refuse_tunnel(
            node,
            format!("{wrong}: it is left out, its Pods are not reached"),
            CORRECT_ADDRESS,
        );
        None
    }

    /// Whether an address is accepted as a node's own: what Pods, Services and other nodes have is not.
    fn accepts(&mut self, node: &'a Named, address: IpAddr) -> bool {
        if [&self.ranges.cluster, &self.ranges.service]
            .into_iter()
            .flatten()
            .any(|range| range.contains(&address))
        {
            return false;
        }
        match self.accepted.get(&address) {
            None => {
                self.accepted.insert(address, &node.name);
                true
            }
            Some(owner) => {
                // Of a tunnel's end that is told already.
                if !self.tunnels.contains_key(&address) {
                    let problem =
                        format!("its address {address} is not accepted from it: Node {owner} has it, too");
                    self.refuse_tunnel(node, problem, CORRECT_ADDRESS);
                }
                false
            }
        }
    }

    fn refuse_tunnel(&mut self, node: &Named, problem: String, remedy: &str) {
        self.problems.push(Problem::new("tunnel_address", format!("Node {}", node.name), problem, remedy));
    }

    fn validate_annotation(&mut self, node: &Named) {
        let key = annotation::TUNNEL_ENDPOINT_IP;
        let Some(text) = &node.facts.annotation else { return };
        let problem = match text.parse::<IpAddr>() {
            Ok(address) if is_host(address) => return,
            Ok(_) => format!("its annotation {key}={text} is ignored: that is no address of one host"),
            Err(_) => format!("its annotation {key}={text:?} is ignored: that is no IP address"),
        };
        self.refuse_tunnel(node, problem, "correct or remove the annotation");
    }

    /// Whether a node is given its podCIDR.
    fn takes(&mut self, node: &'a Named, cidr: IpNet) -> bool {
        let wrong = if !self.ranges.cluster.iter().any(|cluster| cluster.contains(&cidr)) {
            "lies outside --cluster-cidr".to_owned()
        } else if let Some(service) = self.ranges.service.iter().find(|service| overlap(service, &cidr)) {
            format!("overlaps the Services' addresses {service}")
        } else if let Some((other, owner)) = self.taken.overlapping(cidr) {
            format!("overlaps {other} of Node {owner}")
        } else if let Some((address, owner)) = self.nodes.range(cidr.network()..=cidr.broadcast()).next() {
            format!("holds the address {address} of Node {owner}")
        } else {
            self.taken.insert(cidr, &node.name);
            return true;
        };
        let problem = format!("its podCIDR {cidr} is left out, its Pods are not reached there: it {wrong}");
        self.problems.push(Problem::new("pod_cidr", format!("Node {}", node.name), problem, CORRECT_CIDR));
        false
    }
}

/// podCIDRs that nodes have, none of which overlaps another.
#[derive(Default)]
struct Taken<'a>(BTreeMap<IpAddr, (IpNet, &'a str)>);

impl<'a> Taken<'a> {
    fn insert(&mut self, cidr: IpNet, owner: &'a str) {
        self.0.insert(cidr.network(), (cidr, owner));
    }

    /// One that overlaps. Since they do not overlap each other, it is the last one that begins before the end.
    fn overlapping(&self, cidr: IpNet) -> Option<(IpNet, &'a str)> {
        let (_, before) = self.0.range(..=cidr.broadcast()).next_back()?;
        Some(*before).filter(|(other, _)| overlap(other, &cidr))
    }
}
