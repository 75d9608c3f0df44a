//! Addresses and CIDRs that two nodes or Pods have.

use std::collections::BTreeMap;

use super::super::cluster::Cluster;
use super::super::finding::Finding;

pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    [pod_cidrs(cluster), tunnel_addresses(cluster), pods(cluster)].into_iter().flatten().collect()
}

/// Two nodes whose podCIDRs overlap.
fn pod_cidrs(cluster: &Cluster) -> Vec<Finding> {
    let cidrs =
        cluster.facts().flat_map(|facts| facts.pod_cidrs.iter().map(|cidr| (cidr, facts.node.as_str())));
    let mut ranges: Vec<(Range, &str, &str)> =
        cidrs.filter_map(|(cidr, node)| Some((Range::read(cidr)?, cidr.as_str(), node))).collect();
    ranges.sort_unstable_by_key(|(range, _, node)| (range.is_v4, range.first, range.last, *node));
    let mut findings = Vec::new();
    // The one that reaches farthest of those before.
    let mut before: Option<(Range, &str, &str)> = None;
    for (range, cidr, node) in ranges {
        match before {
            Some((other, other_cidr, other_node)) if other.overlaps(range) => {
                if other_node != node {
                    let problem = format!(
                        "{node} has {cidr}, and {other_node} has {other_cidr}: packets for Pods of one go to the other"
                    );
                    findings.push(
                        Finding::error("duplicate_cidr", format!("podCIDR {cidr}"), problem)
                            .remedy("delete the Node object of one and let it join again, with a podCIDR of its own")
                            .of([node, other_node]),
                    );
                }
                if range.last > other.last {
                    before = Some((range, cidr, node));
                }
            }
            _ => before = Some((range, cidr, node)),
        }
    }
    findings
}

fn tunnel_addresses(cluster: &Cluster) -> Vec<Finding> {
    let all =
        cluster.facts().filter_map(|facts| Some((facts.tunnel_address.as_deref()?, facts.node.as_str())));
    shared(all)
        .map(|(address, nodes)| {
            Finding::error(
                "duplicate_address",
                address,
                format!("{} have it as the end of tunnels", nodes.join(" and ")),
            )
            .remedy("give each node an InternalIP of its own (the kubelet's --node-ip)")
            .of(nodes)
        })
        .collect()
}

fn pods(cluster: &Cluster) -> Vec<Finding> {
    let of_facts = |facts: &'_ super::super::facts::Facts| -> Vec<(String, String)> {
        let addresses = facts.pods.iter().flat_map(|pod| {
            pod.addresses.iter().map(|address| (address.clone(), format!("{} on {}", pod.pod, facts.node)))
        });
        addresses.collect()
    };
    let all: Vec<(String, String)> = cluster.facts().flat_map(of_facts).collect();
    shared(all.iter().map(|(address, pod)| (address.as_str(), pod.as_str())))
        .map(|(address, pods)| {
            let nodes: Vec<&str> =
                pods.iter().filter_map(|pod| pod.rsplit_once(" on ")).map(|(_, node)| node).collect();
            let problem = format!("the Pods {} have it", pods.join(" and "));
            Finding::error("duplicate_address", address, problem).remedy("delete one of the Pods").of(nodes)
        })
        .collect()
}

/// What has several owners.
fn shared<'a>(
    all: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (&'a str, Vec<&'a str>)> {
    let mut owners = BTreeMap::<&str, Vec<&str>>::new();
    all.for_each(|(what, owner)| owners.entry(what).or_default().push(owner));
    owners.into_iter().filter(|(_, owners)| owners.len() > 1)
}

/// The addresses of a CIDR.
#[derive(Debug, Clone, Copy)]
struct Range {
    is_v4: bool,
    first: u128,
    last: u128,
}

impl Range {
    fn read(cidr: &str) -> Option<Self> {
        let (address, length) = cidr.split_once('/')?;
        let address: std::net::IpAddr = address.parse().ok()?;
        let (bits, number) = match address {
            std::net::IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
            std::net::IpAddr::V6(v6) => (128, v6.to_bits()),
        };
        let host = u32::checked_sub(bits, length.parse().ok()?)?;
        let mask = 1_u128.checked_shl(host).map_or(u128::MAX, |one| one - 1);
        Some(Self { is_v4: address.is_ipv4(), first: number & !mask, last: number | mask })
    }

    fn overlaps(self, other: Self) -> bool {
        self.is_v4 == other.is_v4 && self.first <= other.last && other.first <= self.last
    }
}
