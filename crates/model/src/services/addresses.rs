//! Which addresses a Service can have: one that says something wrong takes nothing from nodes and Pods.

use std::net::IpAddr;

use ipnet::IpNet;
use objects::Service;

use crate::Ranges;
use crate::table::Table;

/// The addresses of nodes, as [`Desired`](crate::Desired) has them.
pub(crate) type Nodes = Table<IpAddr, Option<IpAddr>>;

/// Why no Service can have an address.
pub(crate) fn fault(address: IpAddr, ranges: &Ranges, nodes: &Nodes) -> Option<String> {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is_of_no_host = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    if is_of_no_host {
        Some("it is no address of one host".into())
    } else if address.is_loopback() {
        Some("it is a loopback address".into())
    } else if is_link_local {
        Some("it is a link-local address".into())
    } else if address.is_multicast() {
        Some("it is a multicast address".into())
    } else if let Some(cluster) = ranges.cluster.iter().find(|cluster| cluster.contains(&address)) {
        Some(format!("it lies in the Pods' addresses {cluster}"))
    } else if nodes.contains_key(&address) {
        Some("it is the address of a Node".into())
    } else {
        None
    }
}

/// From where a Service's load balancer is reached in a family; `None`: from everywhere.
///
/// As kube-proxy has it, ranges of the other family alone are none. If one of them holds this node's address, what comes
/// from the load balancer's own addresses is let in, too: that is the node's own traffic to it.
pub(crate) fn source_ranges(
    service: &Service,
    is_ipv4: bool,
    node_address: Option<IpAddr>,
) -> Option<Box<[IpNet]>> {
    let of_family = service.source_ranges.iter().copied().filter(|range| range.addr().is_ipv4() == is_ipv4);
    let mut ranges: Vec<IpNet> = of_family.collect();
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        return None;
    }
    if ranges.is_empty() && !service.has_unreadable_range {
        return None;
    }
    if node_address.is_some_and(|node| ranges.iter().any(|range| range.contains(&node))) {
        let own = service.load_balancer_ips.iter().copied().filter(|address| address.is_ipv4() == is_ipv4);
        ranges.extend(own.map(IpNet::from));
    }
    ranges.sort_unstable();
    ranges.dedup();
    Some(ranges.into())
}
