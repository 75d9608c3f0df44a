//! Whether the ranges of Pods' and Services' addresses overlap others.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fault::Fault;
use super::question::Question;
use crate::address;
use crate::error::Result;
use crate::link::Link;
use crate::netlink::Netlink;

/// Which of these ranges hold addresses of the node's own network: that address itself, or a network that the
/// interface which holds it is connected to. Such a network takes its part of the range away. A range that is a
/// part of a larger network is no harm, since its own route is the more specific one. `None`: none does.
///
/// # Errors
/// The kernel does not answer.
pub fn overlaps(ranges: &[IpNet], tunnel_address: IpAddr) -> Result<Option<(IpNet, String)>> {
    let mut netlink = Netlink::here()?;
    let own: Vec<(u32, IpNet)> = address::list(&mut netlink)?;
    let uplink = own.iter().find(|(_, net)| net.addr() == tunnel_address).map(|(ifindex, _)| *ifindex);
    let connected = own.iter().filter(|(ifindex, _)| Some(*ifindex) == uplink).map(|(_, net)| net.trunc());
    let mut own = [IpNet::from(tunnel_address)].into_iter().chain(connected);
    Ok(own.find_map(|network| {
        let range = ranges.iter().find(|range| range.contains(&network))?;
        let is_address = network.addr() == tunnel_address;
        let what = if is_address { "address" } else { "network" };
        let network = if is_address { network.addr().to_string() } else { network.to_string() };
        Some((*range, format!("the node's own {what} {network}")))
    }))
}

/// Addresses and connected networks of other interfaces: left by another Pod network, or a network of their own.
pub(super) fn faults(netlink: &mut Netlink, question: &Question, links: &[Link]) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let ranges: Vec<_> = question.cluster_cidrs.iter().chain(&question.service_cidrs).collect();
    for (ifindex, net) in address::list(netlink)? {
        let Some(link) = links.iter().find(|link| link.ifindex == ifindex) else { continue };
        let holds = |range: &&&IpNet| range.contains(&net.trunc()) || range.contains(&net.addr());
        let Some(range) = ranges.iter().find(holds).filter(|_| link.name != question.inside) else {
            continue;
        };
        // Who answers for a Service on the node itself has its address: kube-proxy in IPVS mode, NodeLocal DNSCache.
        let is_one = net.prefix_len() == net.max_prefix_len();
        if is_one && question.service_cidrs.contains(range) {
            continue;
        }
        let name = &link.name;
        faults.push(Fault {
            what: "overlap",
            object: name.clone(),
            problem: format!(
                "its address {net} overlaps {range}, where Pods and Services have their addresses from: those that \
                 are in both are not reached"
            ),
            remedy: if is_left_over(name) {
                format!("another Pod network left it: ip link delete {name}, if nothing uses it any more")
            } else {
                format!("give {name} another address (ip address del {net} dev {name}), or the cluster another CIDR")
            },
        });
    }
    for (node, address) in &question.peers {
        if let Some(range) = ranges.iter().find(|range| range.contains(address)) {
            faults.push(Fault {
                what: "overlap",
                object: format!("Node {node}"),
                problem: format!(
                    "its address {address} is in {range}, where Pods and Services have their addresses from: packets \
                     to it go astray"
                ),
                remedy: "give the cluster a CIDR apart from its nodes' network".into(),
            });
        }
    }
    Ok(faults)
}

/// What other Pod networks call their interfaces: flannel and k3s, Calico, Cilium, kube-router, Weave.
pub(super) fn is_left_over(name: &str) -> bool {
    let names = ["cni0", "flannel", "vxlan.calico", "tunl0", "cilium_", "kube-bridge", "weave", "cbr0"];
    names.iter().any(|known| name.starts_with(known))
}
