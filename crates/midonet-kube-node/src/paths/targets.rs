//! Whom to probe: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::Peer;
use naming::subnet;

/// So many other nodes are probed at most: each of them answers so many others at the same time.
pub const LIMIT: usize = 16;

/// Another node's addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub node: String,
    /// What no Pod has of its podCIDR: its datapath answers that.
    pub(super) unused: IpAddr,
    /// Its gateway, in whose name it does.
    gateway: IpAddr,
    /// Its own.
    pub(super) node_address: IpAddr,
}

impl Target {
    /// The addresses of a node with this podCIDR; `None` if it is too small for them.
    pub(super) fn new(node: &str, pod_cidr: IpNet) -> Option<Self> {
        Some(Self {
            node: node.to_owned(),
            unused: pod_cidr.addr(),
            gateway: subnet::gateway(pod_cidr).ok()?,
            node_address: subnet::node(pod_cidr).ok()?,
        })
    }

    /// That of its addresses, as programs get it.
    pub fn family(&self) -> &'static str {
        if self.unused.is_ipv4() { "ipv4" } else { "ipv6" }
    }

    /// Whether an address is one of them.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        [self.unused, self.gateway, self.node_address].contains(&address)
    }
}

/// The targets in the family of this node's address: `limit` of the nodes that follow this one by name, the first one after
/// the last one, so that all nodes together probe all of them, and each is probed by as many.
pub fn targets(
    own_name: &str,
    own_address: IpAddr,
    peers: &BTreeMap<Arc<str>, Peer>,
    limit: usize,
) -> Vec<Target> {
    let after = peers.iter().filter(|(name, _)| ***name > *own_name);
    let before = peers.iter().filter(|(name, _)| ***name < *own_name);
    let chosen = after.chain(before).take(limit);
    chosen
        .filter_map(|(name, peer)| {
            let of_family = |cidr: &&IpNet| cidr.addr().is_ipv4() == own_address.is_ipv4();
            Target::new(name, *peer.pod_cidrs.iter().find(of_family)?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(names: &[&str]) -> BTreeMap<Arc<str>, Peer> {
        let peer = |number: usize| Peer {
            pod_cidrs: vec![format!("10.244.{number}.0/24").parse().unwrap()],
            tunnel_address: [192, 0, 2, 1].into(),
            own_address: [192, 0, 2, 2].into(),
        };
        names.iter().enumerate().map(|(number, name)| ((*name).into(), peer(number))).collect()
    }

    fn chosen(own: &str, names: &[&str], limit: usize) -> Vec<String> {
        let all = targets(own, [10, 244, 9, 2].into(), &peers(names), limit);
        all.into_iter().map(|target| target.node).collect()
    }

    #[test]
    fn those_that_follow_are_probed_and_each_node_by_as_many() {
        assert_eq!(chosen("b", &["a", "c", "d"], 2), ["c", "d"]);
        assert_eq!(chosen("d", &["a", "b", "c"], 2), ["a", "b"]);
        let names = ["a", "b", "c", "d", "e"];
        let mut probed = BTreeMap::<String, usize>::new();
        for own in names {
            let others: Vec<_> = names.into_iter().filter(|name| *name != own).collect();
            chosen(own, &others, 3).into_iter().for_each(|node| *probed.entry(node).or_default() += 1);
        }
        assert!(probed.len() == 5 && probed.values().all(|count| *count == 3), "{probed:?}");
    }

    #[test]
    fn a_node_without_addresses_of_the_family_is_left_out() {
        let all = targets("z", std::net::Ipv6Addr::LOCALHOST.into(), &peers(&["a"]), 9);
        assert_eq!(all, []);
        let mut few = peers(&["a"]);
        few.values_mut().for_each(|peer| peer.pod_cidrs = vec!["10.244.0.0/31".parse().unwrap()]);
        assert_eq!(targets("z", [10, 0, 0, 1].into(), &few, 9), []);
    }
}
