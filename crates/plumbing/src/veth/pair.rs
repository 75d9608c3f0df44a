use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::route::{self, KernelRoute};

/// What a veth pair should be. Its host side leads into the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethPair {
    /// The name of the container side.
    pub ifname: String,
    /// The MAC address of the container side.
    pub mac: [u8; 6],
    /// The name of the host side.
    pub host_ifname: String,
    /// The MAC address of the host side: for the container, its gateway's.
    pub host_mac: [u8; 6],
    /// The alias of the host side, which names the owner.
    pub alias: String,
    /// Of both sides, in bytes.
    pub mtu: u32,
    /// The addresses of the container side.
    pub addresses: Vec<IpNet>,
    /// The gateway of each family.
    pub gateways: Vec<IpAddr>,
    /// Routes out of the container side.
    pub routes: Vec<KernelRoute>,
    /// Whether the container's namespace forwards packets; `None`: it is left as it is.
    pub forwarding: Option<bool>,
    /// Whether an interface that has the name of the host side is deleted first.
    pub replace_stale: bool,
    /// Whether the host side is in the datapath's block.
    pub in_block: bool,
}

/// The ifindexes of a pair, each in its own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VethIndexes {
    /// Of the container side.
    pub ifindex: u32,
    /// Of the host side.
    pub host_ifindex: u32,
}

/// Every route of the container side: first those to the gateways, then those through them.
pub(super) fn all_routes(pair: &VethPair) -> Vec<KernelRoute> {
    let gateways: BTreeSet<IpAddr> = pair.gateways.iter().copied().collect();
    let routes: BTreeSet<KernelRoute> = pair.routes.iter().copied().collect();
    gateways.into_iter().map(route::to_neighbour).chain(routes).collect()
}

/// The container side's own settings, below /proc/sys/net, and their values.
pub(super) fn interface_settings(pair: &VethPair) -> Vec<(String, &'static str)> {
    if pair.addresses.iter().all(|net| net.addr().is_ipv4()) {
        return Vec::new();
    }
    let setting = |name: &str| (format!("ipv6/conf/{}/{name}", pair.ifname), "0");
    ["disable_ipv6", "accept_dad", "accept_ra"].map(setting).to_vec()
}

/// The settings of the container side and its namespace, before it is up.
pub(super) fn settings(pair: &VethPair) -> Vec<(String, &'static str)> {
    let mut settings = interface_settings(pair);
    let has = |v4: bool| pair.addresses.iter().any(|net| net.addr().is_ipv4() == v4);
    if let Some(forwarding) = pair.forwarding {
        let value = if forwarding { "1" } else { "0" };
        // The message that sets the container side up also switches its IPv4 forwarding off.
        if has(true) && forwarding {
            settings.push(("ipv4/ip_forward".into(), value));
        }
        if has(false) {
            settings.push(("ipv6/conf/all/forwarding".into(), value));
        }
    }
    settings
}
