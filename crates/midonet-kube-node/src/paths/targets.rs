//! Whom to probe: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::Peer;
use naming::subnet;

/// So many other nodes are probed at most: each of them answers so many others at the same time.
pub const LIMIT: usize = 16;

/// Another node in one family of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub node: String,
    /// Its own address of its podCIDR.
    pub(super) address: IpAddr,
}

impl Target {
    /// A node with this podCIDR; `None` if it is too small for an address of the node.
    pub(super) fn new(node: &str, pod_cidr: IpNet) -> Option<Self> {
        Some(Self { node: node.to_owned(), address: subnet::node(pod_cidr).ok()? })
    }

    /// That of its address, as programs get it.
    pub fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}

/// The other nodes in the family of this node's address: those that follow this one by name, the first one after the last
/// one. If each node probes as many of its first ones, each is probed by as many.
pub fn targets(own_name: &str, own_address: IpAddr, peers: &BTreeMap<Arc<str>, Peer>) -> Vec<Target> {
    let after = peers.iter().filter(|(name, _)| ***name > *own_name);
    let before = peers.iter().filter(|(name, _)| ***name < *own_name);
    after
        .chain(before)
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
        let all = targets(own, [10, 244, 9, 2].into(), &peers(names));
        all.into_iter().take(limit).map(|target| target.node).collect()
    }

    #[test]
    fn those_that_follow_are_first_and_each_node_is_so_for_as_many() {
        assert_eq!(chosen("b", &["a", "c", "d"], 2), ["c", "d"]);
        assert_eq!(chosen("d", &["a", "b", "c"], 9), ["a", "b", "c"]);
        let names = ["a", "b", "c", "d", "e"];
        let mut probed = BTreeMap::<String, usize>::new();
        for own in names {
            let others: Vec<_> = names.into_iter().filter(|name| *name != own).collect();
            chosen(own, &others, 3).into_iter().for_each(|node| *probed.entry(node).or_default() += 1);
        }
        assert!(probed.len() == 5 && probed.values().all(|count| *count == 3), "{probed:?}");
    }

    #[test]
    fn a_node_without_an_address_of_the_family_is_left_out() {
        let all = targets("z", std::net::Ipv6Addr::LOCALHOST.into(), &peers(&["a"]));
        assert_eq!(all, []);
        let mut few = peers(&["a"]);
        few.values_mut().for_each(|peer| peer.pod_cidrs = vec!["10.244.0.0/31".parse().unwrap()]);
        assert_eq!(targets("z", [10, 0, 0, 1].into(), &few), []);
    }
}
