//! What of other nodes' objects can be taken: a Node that says something wrong harms itself only.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use naming::annotation;
use objects::Node;

use super::{Local, Ranges, is_host, overlap, tunnel};
use crate::problems::Problem;

/// Judges the other nodes, one after the other: what one was given the next cannot have.
pub(super) struct Judge<'a> {
    ranges: Ranges<'a>,
    mine: &'a Node,
    own: Vec<IpAddr>,
    taken: Taken<'a>,
    /// The nodes' own addresses, in order.
    nodes: BTreeMap<IpAddr, &'a str>,
    tunnels: HashMap<IpAddr, &'a str>,
    accepted: HashMap<IpAddr, &'a str>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(mine: &'a Node, local: &Local, ranges: Ranges<'a>, others: &[&'a Node]) -> Self {
        let mut taken = Taken::default();
        for cidr in &local.pod_cidrs {
            taken.insert(*cidr, &mine.name);
        }
        let own = mine.internal_ips.iter().copied().chain([local.tunnel_address]).collect();
        let nodes = others.iter().copied().chain([mine]);
        let nodes =
            nodes.flat_map(|node| node.internal_ips.iter().map(|address| (*address, node.name.as_str())));
        let nodes = nodes.collect();
        let (tunnels, accepted, problems) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { ranges, mine, own, taken, nodes, tunnels, accepted, problems }
    }

    /// Where the tunnel to a node ends here and there; `None` if there is none, and then none of its Pods is reached.
    pub(super) fn tunnel(&mut self, node: &'a Node) -> Option<(IpAddr, IpAddr)> {
        self.look_at_annotation(node);
        let Some((own, address)) = tunnel(self.mine, node) else {
            let problem = "it is left out, its Pods are not reached: it has no InternalIP of a family that this node has, too";
            self.refuse_tunnel(node, problem.to_owned(), "run its kubelet with a --node-ip of that family");
            return None;
        };
        let within = |ranges: &[IpNet]| ranges.iter().copied().find(|range| range.contains(&address));
        let wrong = if self.own.contains(&address) {
            format!("its tunnel address {address} is this node's own")
        } else if let Some(range) = within(self.ranges.cluster) {
            format!("its tunnel address {address} lies in the Pods' addresses {range}")
        } else if let Some(range) = within(self.ranges.service) {
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
    pub(super) fn accepts(&mut self, node: &'a Node, address: IpAddr) -> bool {
        if [self.ranges.cluster, self.ranges.service]
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

    fn refuse_tunnel(&mut self, node: &Node, problem: String, remedy: &str) {
        self.problems.push(Problem::new("tunnel_address", format!("Node {}", node.name), problem, remedy));
    }

    fn look_at_annotation(&mut self, node: &Node) {
        let key = annotation::TUNNEL_ENDPOINT_IP;
        let Some(text) = node.annotations.get(key) else { return };
        let problem = match text.parse::<IpAddr>() {
            Ok(address) if is_host(address) => return,
            Ok(_) => format!("its annotation {key}={text} is ignored: that is no address of one host"),
            Err(_) => format!("its annotation {key}={text:?} is ignored: that is no IP address"),
        };
        self.refuse_tunnel(node, problem, "correct or remove the annotation");
    }

    /// Whether a node is given its podCIDR.
    pub(super) fn takes(&mut self, node: &'a Node, cidr: IpNet) -> bool {
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

const CORRECT_ADDRESS: &str = "correct its InternalIP (the kubelet's --node-ip) or its annotation";

const CORRECT_CIDR: &str =
    "see what gave it the podCIDR; delete the Node and restart its kubelet: it gets another one";

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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn cidr() -> impl Strategy<Value = IpNet> {
        let v4 = (0u32..256, 24u8..=32)
            .prop_map(|(low, length)| IpNet::new(Ipv4Addr::from(0x0a00_0000 | low).into(), length).unwrap());
        let v6 = (0u128..256, 120u8..=128)
            .prop_map(|(low, length)| IpNet::new(Ipv6Addr::from(low).into(), length).unwrap());
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn an_overlap_is_found_as_by_comparing_with_all(cidrs in proptest::collection::vec(cidr(), 1..40)) {
            let (mut taken, mut naive) = (Taken::default(), Vec::<IpNet>::new());
            for cidr in cidrs {
                let overlaps = naive.iter().any(|other| overlap(other, &cidr));
                prop_assert_eq!(taken.overlapping(cidr).is_some(), overlaps, "{} in {:?}", cidr, naive);
                if !overlaps {
                    taken.insert(cidr, "n");
                    naive.push(cidr);
                }
            }
        }
    }
}
