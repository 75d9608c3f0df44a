use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::family::Family;

/// The node whose network is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The node's own interface towards Pods. It need not exist yet.
    pub inside: String,
    /// The ranges of Pods' addresses.
    pub cluster_cidrs: Vec<IpNet>,
    /// The ranges of Services' addresses.
    pub service_cidrs: Vec<IpNet>,
    /// The node's own address in each of its podCIDRs, with the podCIDR's prefix length.
    pub node_addresses: Vec<IpNet>,
    /// The underlay address of the tunnels to this node.
    pub tunnel_address: IpAddr,
    /// The UDP port of tunnels.
    pub tunnel_port: u16,
    /// Whether packets of tunnels bypass the node's network stack.
    pub direct: bool,
    /// Other nodes: their names, and the underlay addresses of their tunnels.
    pub peers: Vec<(String, IpAddr)>,
}

impl Question {
    /// The families that Pods have.
    pub(super) fn families(&self) -> Vec<Family> {
        let has = |family: &Family| self.node_addresses.iter().any(|net| Family::of(net.addr()) == *family);
        [Family::V4, Family::V6].into_iter().filter(has).collect()
    }

    /// The node's own address of a family.
    pub(super) fn node_address(&self, family: Family) -> Option<IpAddr> {
        self.node_addresses.iter().map(IpNet::addr).find(|address| Family::of(*address) == family)
    }

    /// A possible address of a Pod: the next after the node's.
    pub(super) fn pod_address(&self, family: Family) -> Option<IpAddr> {
        Some(match self.node_address(family)? {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
        })
    }
}

/// An address of no node and no Pod (RFC 5737, RFC 3849): it stands for the outside.
pub(super) fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(),
    }
}
