//! What stands in the maps, byte for byte: `bpf/layout.h` in Rust.
//!
//! Addresses have 16 bytes, IPv4 as `::ffff:a.b.c.d`, in network order; numbers are the host's.

mod address;
pub(crate) mod connections;
pub(crate) mod drops;
pub(crate) mod follow;
pub(crate) mod policy;
pub(crate) mod records;
pub(crate) mod services;

use std::net::IpAddr;

use bytemuck::{Pod, Zeroable};
use ipnet::IpNet;

pub(crate) use address::Address;

/// `struct config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Config {
    pub(crate) gateway4: Address,
    pub(crate) gateway6: Address,
    pub(crate) gateway_mac: [u8; 6],
    pub(crate) overlay_mac: [u8; 6],
    pub(crate) node_mac: [u8; 6],
    pub(crate) pad: [u8; 2],
    pub(crate) node_ifindex: u32,
    pub(crate) mido_ifindex: u32,
    pub(crate) overlay_ifindex: u32,
    pub(crate) vni: u32,
    pub(crate) overlay_mtu: u32,
    pub(crate) tunnel_address4: [u8; 4],
    pub(crate) tunnel_port: [u8; 2],
    pub(crate) direct: u8,
    pub(crate) pad2: u8,
    pub(crate) shaper_ifindex: u32,
    pub(crate) shaped_ifindex: u32,
    pub(crate) tunnel_address6: Address,
    pub(crate) node_address4: Address,
    pub(crate) node_address6: Address,
    pub(crate) first_port: u16,
    pub(crate) last_port: u16,
    pub(crate) services: u32,
    pub(crate) policy_generation: u32,
    pub(crate) policy_last: u32,
}

impl Config {
    /// Bytes of version 1, whose last member was `tunnel_address6`.
    pub(crate) const SIZE_1: usize = std::mem::offset_of!(Self, node_address4);
    /// Bytes of version 2, whose last member was `services`.
    pub(crate) const SIZE_2: usize = std::mem::offset_of!(Self, policy_generation);

    /// Whether the network itself answers for an address.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        let address = Address::from(address);
        address != Address::default() && (address == self.gateway4 || address == self.gateway6)
    }
}

/// `ROLE_POD`.
pub(crate) const ROLE_POD: u32 = 1;
/// `ROLE_NODE`.
pub(crate) const ROLE_NODE: u32 = 2;

/// `ROLE_OUTSIDE`.
pub(crate) const ROLE_OUTSIDE: u32 = 3;

/// `LIMITED_INGRESS`.
pub(crate) const LIMITED_INGRESS: u16 = 1;
/// `LIMITED_EGRESS`.
pub(crate) const LIMITED_EGRESS: u16 = 2;
/// `RECORDED`.
pub(crate) const RECORDED: u16 = 4;

/// `struct endpoint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Endpoint {
    pub(crate) ifindex: u32,
    pub(crate) role: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) limited: u16,
    pub(crate) sets: [u32; 2],
}

impl Endpoint {
    /// Bytes of version 1, whose last member was `limited`.
    pub(crate) const SIZE_1: usize = std::mem::offset_of!(Self, sets);

    /// The set of policy in a column.
    pub(crate) fn set(&self, column: usize) -> u32 {
        let [first, second] = self.sets;
        if column == 0 { first } else { second }
    }
}

/// `PORT_ADDRESSES`: how many addresses a port can have.
pub(crate) const PORT_ADDRESSES: usize = 4;

/// `struct port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Port {
    pub(crate) role: u32,
    pub(crate) count: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) pad: [u8; 2],
    pub(crate) addresses: [Address; PORT_ADDRESSES],
}

/// `struct limit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Limit {
    pub(crate) ingress_rate: u64,
    pub(crate) ingress_burst: u64,
    pub(crate) egress_rate: u64,
    pub(crate) egress_burst: u64,
    pub(crate) class: u32,
    pub(crate) pad: u32,
}

/// `struct route_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct RouteKey {
    pub(crate) prefix_length: u32,
    pub(crate) address: Address,
}

/// The key of a prefix.
pub(crate) fn route_key(prefix: IpNet) -> RouteKey {
    let length = match prefix {
        IpNet::V4(v4) => Address::MAPPED_PREFIX + v4.prefix_len(),
        IpNet::V6(v6) => v6.prefix_len(),
    };
    RouteKey { prefix_length: u32::from(length), address: prefix.network().into() }
}

/// The prefix of a key; `None` if its length is none that this family can have.
pub(crate) fn route_prefix(key: &RouteKey) -> Option<IpNet> {
    let address = IpAddr::from(key.address);
    let length = u8::try_from(key.prefix_length).ok()?;
    let length = if address.is_ipv4() { length.checked_sub(Address::MAPPED_PREFIX)? } else { length };
    IpNet::new(address, length).ok()
}

/// `ROUTE_TUNNEL`.
pub(crate) const ROUTE_TUNNEL: u32 = 1;
/// `ROUTE_LOCAL`.
pub(crate) const ROUTE_LOCAL: u32 = 2;
/// `ROUTE_UNREACHABLE`.
pub(crate) const ROUTE_UNREACHABLE: u32 = 3;
/// `ROUTE_SERVICES`.
pub(crate) const ROUTE_SERVICES: u32 = 4;
/// `ROUTE_PROXIED`.
pub(crate) const ROUTE_PROXIED: u32 = 5;

/// `struct route`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Route {
    pub(crate) kind: u32,
    pub(crate) tunnel: Address,
}

/// `struct counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Counter {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// `struct flow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Flow {
    pub(crate) lower: Address,
    pub(crate) upper: Address,
    pub(crate) lower_port: [u8; 2],
    pub(crate) upper_port: [u8; 2],
    pub(crate) protocol: u8,
    pub(crate) pad: [u8; 3],
}

/// `FLOWS_MAX`.
pub(crate) const FLOWS_MAX: u32 = 65_536;

/// `FLOW_VIA_NODE`.
#[cfg(test)]
pub(crate) const FLOW_VIA_NODE: u32 = 0;
/// `FLOW_FROM_NODE`.
#[cfg(test)]
pub(crate) const FLOW_FROM_NODE: u32 = 1;
/// `FLOW_OUTSIDE`.
#[cfg(test)]
pub(crate) const FLOW_OUTSIDE: u32 = 2;
/// `FLOW_HOST_BACKEND`.
#[cfg(test)]
pub(crate) const FLOW_HOST_BACKEND: u32 = 3;
/// `FLOW_DIRECT`.
#[cfg(test)]
pub(crate) const FLOW_DIRECT: u32 = 4;

/// `struct answers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Answers {
    pub(crate) due: u64,
    pub(crate) due_too_big: u64,
}

/// `ANSWERS_MAX`.
pub(crate) const ANSWERS_MAX: u32 = 4096;

/// `REASONS_MAX`.
pub(crate) const REASONS_MAX: u32 = 128;

#[cfg(test)]
mod tests;
