//! What of another Node can be taken: a Node that says something wrong harms itself only.

use std::net::IpAddr;

use ipnet::IpNet;
use naming::annotation;

use crate::claims::{Claimant, Claims, Rank};
use crate::facts::{Facts, is_host, overlap, tunnel};
use crate::problem::{POD_CIDR, TUNNEL_ADDRESS};
use crate::{Peer, Problem, Ranges};

/// How many addresses of a node are accepted, those before others where its tunnels can end: bounds the datapath's
/// table.
pub(crate) const NODE_ADDRESSES: usize = 4;

/// What a Node is validated against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) ranges: &'a Ranges,
    pub(crate) own_name: &'a str,
    pub(crate) own: &'a Facts,
    /// What nodes that come before it have, it cannot have.
    pub(crate) claims: &'a Claims,
}

/// What can be taken of a Node.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// `None`: none of its Pods is reached.
    pub(crate) peer: Option<Peer>,
    /// The addresses that are accepted as its own.
    pub(crate) addresses: Vec<IpAddr>,
    /// Why the rest is left out.
    pub(crate) problems: Vec<Problem>,
}

/// Validates a Node.
pub(crate) fn validate(context: Context<'_>, rank: &Rank, node: &Facts) -> Outcome {
    if node.pod_cidrs.is_empty() {
        return Outcome::default(); // nothing to reach there yet: normal while a node joins
    }
    let mut validator = Validator { context, rank, node, problems: Vec::new() };
    let ends = validator.tunnel();
    let Some((own_address, tunnel_address)) = ends else {
        return Outcome { problems: validator.problems, ..Outcome::default() };
    };
    let pod_cidrs = node.pod_cidrs.iter().copied().filter(|cidr| validator.gets(*cidr)).collect();
    let addresses = node.addresses().filter(|address| validator.has_address(*address, tunnel_address));
    let addresses = addresses.take(NODE_ADDRESSES).collect();
    let peer = Some(Peer { pod_cidrs, tunnel_address, own_address });
    Outcome { peer, addresses, problems: validator.problems }
}

struct Validator<'a> {
    context: Context<'a>,
    rank: &'a Rank,
    node: &'a Facts,
    problems: Vec<Problem>,
}

impl Validator<'_> {
    /// Where the tunnel to the node ends here and there; `None` if there is none.
    fn tunnel(&mut self) -> Option<(IpAddr, IpAddr)> {
        self.validate_annotation();
        let Context { ranges, own, claims, .. } = self.context;
        let Some((own_address, address)) = tunnel(own, self.node) else {
            let problem = "it is left out, its Pods are not reached: it has no InternalIP of a family that this node has, too";
            self.address_problem(problem.to_owned(), "run its kubelet with a --node-ip of that family");
            return None;
        };
        let within = |ranges: &[IpNet]| ranges.iter().copied().find(|range| range.contains(&address));
        // Its first end is what this node's own tunnels end at, whether or not it is an InternalIP.
        let wrong = if own.internal_ips.contains(&address) || own.ends().next() == Some(address) {
            format!("its tunnel address {address} is this node's own")
        } else if let Some(range) = within(&ranges.cluster) {
            format!("its tunnel address {address} lies in the Pods' addresses {range}")
        } else if let Some(range) = within(&ranges.service) {
            format!("its tunnel address {address} lies in the Services' addresses {range}")
        } else {
            let last = claims.addresses.before(address, self.rank).rev().find(|(_, used)| used.tunnel);
            if let Some((other, _)) = last {
                let other = self.name(other);
                let problem = format!(
                    "its tunnel address {address} is that of Node {other}, too: one of them is wrong"
                );
                self.address_problem(problem, CORRECT_ADDRESS);
            }
            return Some((own_address, address));
        };
        self.address_problem(format!("{wrong}: it is left out, its Pods are not reached"), CORRECT_ADDRESS);
        None
    }

    /// Whether an address is accepted as the node's own: what Pods, Services and other nodes have is not.
    fn has_address(&mut self, address: IpAddr, tunnel_address: IpAddr) -> bool {
        let Context { ranges, claims, .. } = self.context;
        if ranges.contain(address) {
            return false;
        }
        let mut before = claims.addresses.before(address, self.rank);
        let Some((owner, _)) = before.find(|(_, used)| used.accepted) else { return true };
        // Of a tunnel's end that is told already.
        let is_end = address == tunnel_address
            || claims.addresses.before(address, self.rank).any(|(_, used)| used.tunnel);
        if !is_end {
            let owner = self.name(owner);
            let problem = format!("its address {address} is not accepted from it: Node {owner} has it, too");
            self.address_problem(problem, CORRECT_ADDRESS);
        }
        false
    }

    fn validate_annotation(&mut self) {
        let key = annotation::TUNNEL_ENDPOINT_IP;
        let Some(text) = &self.node.annotation else { return };
        let problem = match text.parse::<IpAddr>() {
            Ok(address) if is_host(address) => return,
            Ok(_) => format!("its annotation {key}={text} is ignored: that is no address of one host"),
            Err(_) => format!("its annotation {key}={text:?} is ignored: that is no IP address"),
        };
        self.address_problem(problem, "correct or remove the annotation");
    }

    /// Whether the node gets a podCIDR.
    fn gets(&mut self, cidr: IpNet) -> bool {
        let Context { ranges, claims, .. } = self.context;
        let wrong = if !ranges.cluster.iter().any(|cluster| cluster.contains(&cidr)) {
            "lies outside --cluster-cidr".to_owned()
        } else if let Some(service) = ranges.service.iter().find(|service| overlap(service, &cidr)) {
            format!("overlaps the Services' addresses {service}")
        } else if let Some((other, owner)) = claims.prefixes.granted_before(cidr, self.rank) {
            format!("overlaps {other} of Node {}", self.name(owner))
        } else if let Some((address, owner)) = claims.addresses.internal_within(cidr) {
            format!("holds the address {address} of Node {}", self.name(owner))
        } else {
            return true;
        };
        let problem = format!("its podCIDR {cidr} is left out, its Pods are not reached there: it {wrong}");
        self.problem(POD_CIDR, problem, CORRECT_CIDR);
        false
    }

    fn address_problem(&mut self, problem: String, remedy: &str) {
        self.problem(TUNNEL_ADDRESS, problem, remedy);
    }

    fn problem(&mut self, what: &'static str, problem: String, remedy: &str) {
        self.problems.push(Problem::new(what, format!("Node {}", self.rank.name), problem, remedy));
    }

    fn name<'a>(&'a self, claimant: &'a Claimant) -> &'a str {
        claimant.as_ref().map_or(self.context.own_name, |rank| &rank.name)
    }
}

pub(crate) const CORRECT_ADDRESS: &str = "correct its InternalIP (the kubelet's --node-ip) or its annotation";

pub(crate) const CORRECT_CIDR: &str =
    "see what gave it the podCIDR; delete the Node and restart its kubelet: it gets another one";
