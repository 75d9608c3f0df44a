//! This node's own addresses, and the interfaces by which the outside may come to them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datapath::OwnAddress;
use ipnet::IpNet;
use model::{Local, Problem};
use naming::interface;
use plumbing::{Family, Link};

use crate::config::NodePortAddress;

/// Where the outside reaches this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outside {
    /// The interfaces that hold addresses of this node and whose frames have Ethernet headers, by ifindex, with their
    /// names.
    pub(super) interfaces: BTreeMap<u32, String>,
    /// The names of those without Ethernet headers: no program can be there, so no Service is served there.
    pub(super) without_ethernet: BTreeSet<String>,
    /// The addresses, and where NodePorts are served.
    pub(super) addresses: BTreeMap<IpAddr, OwnAddress>,
    /// How many others there are, which the datapath's table has no space for.
    pub(super) left_out: usize,
}

impl Outside {
    /// What of these interfaces and addresses is of this node and reached from elsewhere.
    pub(super) fn of(
        links: &[Link],
        addresses: &[(u32, IpNet)],
        local: &Local,
        node_ports: &[NodePortAddress],
    ) -> Self {
        let links: BTreeMap<u32, &Link> = links.iter().map(|link| (link.ifindex, link)).collect();
        let mut outside = Self::default();
        for (ifindex, address) in addresses {
            let address = address.addr();
            if !is_global(address) {
                continue;
            }
            let node_ports = serves(address, local, node_ports);
            outside.addresses.insert(address, OwnAddress { node_ports });
            let link = links.get(ifindex).filter(|link| !link.loopback && !is_ours(link));
            let Some(link) = link else { continue };
            if link.ethernet {
                outside.interfaces.insert(*ifindex, link.name.clone());
            } else {
                outside.without_ethernet.insert(link.name.clone());
            }
        }
        // Those in its podCIDRs, whether they are there yet or not, and whatever is selected.
        for own in &local.node_addresses {
            outside.addresses.insert(own.addr(), OwnAddress { node_ports: true });
        }
        outside.limit(datapath::MOST_ADDRESSES as usize);
        outside
    }

    /// Leaves out what is more than this, first of all where no NodePort is served.
    fn limit(&mut self, most: usize) {
        self.left_out = self.addresses.len().saturating_sub(most);
        let mut last: Vec<(bool, IpAddr)> =
            self.addresses.iter().map(|(address, own)| (own.node_ports, *address)).collect();
        last.sort_unstable();
        for (_, address) in last.into_iter().take(self.left_out) {
            self.addresses.remove(&address);
        }
    }

    /// What somebody has to do something about.
    pub(super) fn problem(&self, node: &str) -> Option<Problem> {
        let left_out = Some(self.left_out).filter(|count| *count > 0)?;
        let problem = format!(
            "it has {left_out} addresses more than the {} at which ports of Services and Pods are served: those are left out",
            datapath::MOST_ADDRESSES
        );
        let remedy = "remove addresses; `midonet-kube-node cleanup-kube-proxy` removes the interface kube-ipvs0, which has \
                      one for each Service";
        Some(Problem::new("service", format!("Node {node}"), problem, remedy))
    }
}

/// The families in which NodePorts are served at loopback addresses.
pub(super) fn loopback_families(node_ports: &[NodePortAddress]) -> Vec<Family> {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let serves = |address: &IpAddr| {
        node_ports.iter().any(|which| match which {
            NodePortAddress::Localhost | NodePortAddress::All => true,
            NodePortAddress::Primary => false,
            NodePortAddress::Cidr(cidr) => cidr.contains(address),
        })
    };
    loopback.into_iter().filter(serves).map(Family::of).collect()
}

/// Whether an address of this node is selected for NodePorts.
fn serves(address: IpAddr, local: &Local, node_ports: &[NodePortAddress]) -> bool {
    node_ports.iter().any(|which| match which {
        NodePortAddress::All => true,
        NodePortAddress::Localhost => false,
        NodePortAddress::Primary => local.tunnel_addresses.contains(&address),
        NodePortAddress::Cidr(cidr) => cidr.contains(&address),
    })
}

/// An address that somebody elsewhere can send to, and that the datapath takes: none of 0.0.0.0/8 and of 240.0.0.0/4.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            (1..224).contains(&first) && !v4.is_loopback() && !v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_unspecified() && !v6.is_unicast_link_local() && !v6.is_multicast()
        }
    }
}

/// This network's own interfaces: Pods' host sides among them.
fn is_ours(link: &Link) -> bool {
    let own = [interface::NODE, interface::MIDO, interface::OVERLAY, interface::SHAPER, interface::SHAPED];
    own.contains(&link.name.as_str()) || interface::is_pods(&link.name) || link.is_retired()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, ethernet: bool) -> Link {
        Link { ifindex, name: name.into(), ethernet, loopback: name == "lo", ..Link::default() }
    }

    fn local() -> Local {
        Local {
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd44:0:0:1::/64".parse().unwrap()],
            gateways: vec!["10.244.1.1".parse().unwrap(), "fd44:0:0:1::1".parse().unwrap()],
            node_addresses: vec!["10.244.1.2/24".parse().unwrap(), "fd44:0:0:1::2/64".parse().unwrap()],
            tunnel_address: "192.0.2.1".parse().unwrap(),
            tunnel_addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        }
    }

    fn outside(node_ports: &str) -> Outside {
        let links = [
            link(1, "lo", false),
            link(2, "eth0", true),
            link(3, "eth1.100", true),
            link(4, "wg0", false),
            link(5, interface::NODE, true),
            link(6, "eth2", true),
            link(7, "mido0123456789a", true),
            link(8, "br0", true),
        ];
        let addresses = [
            (1, "127.0.0.1/8"),
            (1, "::1/128"),
            (1, "198.51.100.1/32"),
            (2, "192.0.2.1/24"),
            (2, "192.0.2.7/24"),
            (2, "2001:db8::1/64"),
            (2, "fe80::1/64"),
            (2, "0.1.2.3/8"),
            (2, "240.0.0.1/24"),
            (3, "203.0.113.1/24"),
            (4, "10.9.0.1/24"),
            (5, "10.244.1.2/24"),
            (5, "fd44:0:0:1::2/64"),
            (6, "169.254.3.4/16"),
            (6, "fe80::6/64"),
            (8, "2001:db8:8::1/64"),
            (99, "203.0.113.99/24"),
        ];
        let addresses: Vec<_> =
            addresses.iter().map(|(ifindex, net)| (*ifindex, net.parse().unwrap())).collect();
        Outside::of(&links, &addresses, &local(), &selection(node_ports))
    }

    fn selection(node_ports: &str) -> Vec<NodePortAddress> {
        node_ports.split_terminator(',').map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn of_too_many_addresses_those_without_node_ports_are_left_out_first() {
        let mut outside = outside("192.0.2.0/24");
        assert_eq!((outside.left_out, outside.problem("a").is_none()), (0, true));
        outside.limit(5);
        let known: Vec<String> = outside.addresses.keys().map(IpAddr::to_string).collect();
        assert_eq!(known, ["10.244.1.2", "192.0.2.1", "192.0.2.7", "2001:db8:8::1", "fd44:0:0:1::2"]);
        assert!(outside.problem("a").unwrap().problem.contains("it has 5 addresses more"));
    }

    #[test]
    fn interfaces_are_those_that_hold_addresses_the_outside_can_send_to() {
        let outside = outside("primary");
        let names: Vec<&str> = outside.interfaces.values().map(String::as_str).collect();
        assert_eq!(names, ["eth0", "eth1.100", "br0"]);
        assert_eq!(outside.without_ethernet, ["wg0".to_owned()].into());
    }

    #[test]
    fn every_address_counts_and_node_ports_are_served_at_those_selected() {
        let all = [
            "10.9.0.1",
            "10.244.1.2",
            "192.0.2.1",
            "192.0.2.7",
            "198.51.100.1",
            "203.0.113.1",
            "203.0.113.99",
            "2001:db8::1",
            "2001:db8:8::1",
            "fd44:0:0:1::2",
        ];
        let always = ["10.244.1.2", "fd44:0:0:1::2"];
        for (selected, want) in [
            ("primary", &["192.0.2.1", "2001:db8::1"][..]),
            ("localhost", &[]),
            ("", &[]),
            ("all", &all),
            ("192.0.2.0/24", &["192.0.2.1", "192.0.2.7"]),
            ("192.0.2.7/32,2001:db8:8::/48", &["192.0.2.7", "2001:db8:8::1"]),
            ("primary,localhost,198.51.100.0/24", &["192.0.2.1", "198.51.100.1", "2001:db8::1"]),
            ("0.0.0.0/0", &all[..7]),
        ] {
            let outside = outside(selected);
            let known: BTreeSet<IpAddr> = outside.addresses.keys().copied().collect();
            assert_eq!(known, all.iter().map(|text| text.parse().unwrap()).collect(), "{selected}");
            let served = outside.addresses.iter().filter(|(_, own)| own.node_ports).map(|(ip, _)| *ip);
            let want = want.iter().chain(&always).map(|text| text.parse().unwrap());
            assert_eq!(served.collect::<BTreeSet<IpAddr>>(), want.collect(), "{selected}");
        }
    }

    #[test]
    fn loopback_addresses_are_served_if_they_are_selected() {
        for (selected, want) in [
            ("primary", &[][..]),
            ("", &[]),
            ("primary,localhost", &[Family::V4, Family::V6]),
            ("all", &[Family::V4, Family::V6]),
            ("127.0.0.0/8", &[Family::V4]),
            ("::1/128,192.0.2.0/24", &[Family::V6]),
            ("0.0.0.0/0,::/0", &[Family::V4, Family::V6]),
        ] {
            assert_eq!(loopback_families(&selection(selected)), want, "{selected}");
        }
    }
}
