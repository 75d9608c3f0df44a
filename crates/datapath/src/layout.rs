//! What stands in the maps, byte for byte: `bpf/layout.h` in Rust.
//!
//! Addresses have 16 bytes, IPv4 as `::ffff:a.b.c.d`, in network order; numbers are the host's.

use std::net::{IpAddr, Ipv6Addr};

use aya::maps::MapType;
use bytemuck::{Pod, Zeroable};
use ipnet::IpNet;

/// An IP address of either family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Address {
    pub(crate) word: [[u8; 4]; 4],
}

impl Address {
    /// Bits of a mapped IPv4 address that come before the IPv4 address itself.
    const MAPPED_PREFIX: u8 = 96;
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self { word: bytemuck::cast(octets) }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(address.word)).to_canonical()
    }
}

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
}

impl Config {
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

/// `struct route_key`, as aya wants it.
pub(crate) type RouteKey = aya::maps::lpm_trie::Key<Address>;

/// The key of a prefix.
pub(crate) fn route_key(prefix: IpNet) -> RouteKey {
    let length = match prefix {
        IpNet::V4(v4) => Address::MAPPED_PREFIX + v4.prefix_len(),
        IpNet::V6(v6) => v6.prefix_len(),
    };
    RouteKey::new(u32::from(length), prefix.network().into())
}

/// The prefix of a key; `None` if its length is none that this family can have.
pub(crate) fn route_prefix(key: &RouteKey) -> Option<IpNet> {
    let address = IpAddr::from(key.data());
    let length = u8::try_from(key.prefix_len()).ok()?;
    let length = if address.is_ipv4() { length.checked_sub(Address::MAPPED_PREFIX)? } else { length };
    IpNet::new(address, length).ok()
}

/// `ROUTE_TUNNEL`.
pub(crate) const ROUTE_TUNNEL: u32 = 1;
/// `ROUTE_LOCAL`.
pub(crate) const ROUTE_LOCAL: u32 = 2;
/// `ROUTE_UNREACHABLE`.
pub(crate) const ROUTE_UNREACHABLE: u32 = 3;

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

/// `FLOW_ROOM`.
pub(crate) const FLOW_ROOM: u32 = 65_536;

/// `FLOW_VIA_NODE`.
#[cfg(test)]
pub(crate) const FLOW_VIA_NODE: u32 = 0;
/// `FLOW_FROM_NODE`.
#[cfg(test)]
pub(crate) const FLOW_FROM_NODE: u32 = 1;
/// `FLOW_OUTSIDE`.
#[cfg(test)]
pub(crate) const FLOW_OUTSIDE: u32 = 2;

/// `struct answers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Answers {
    pub(crate) due: u64,
    pub(crate) due_too_big: u64,
}

/// `ANSWERS_ROOM`.
pub(crate) const ANSWERS_ROOM: u32 = 4096;

/// The maps that only the programs write to, and that a change of the layout must not empty.
pub(crate) const WRITTEN_BY_PROGRAMS: [&str; 2] = ["flows", "flows_used"];

/// `REASON_ROOM`.
pub(crate) const REASON_ROOM: u32 = 128;

macro_rules! map_values {
    ($($type:ty),+) => {
        $(
            // SAFETY: bytemuck's Pod, derived above, proves that every bit pattern is valid and that no
            // byte is padding, which is all that aya asks.
            unsafe impl aya::Pod for $type {}
        )+
    };
}
map_values!(Address, Config, Endpoint, Port, Limit, Route, Counter);

/// A map takes memory entry by entry (`linux/bpf.h`).
const BPF_F_NO_PREALLOC: u32 = 1;

/// The shape of a map, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MapShape {
    pub(crate) name: &'static str,
    pub(crate) kind: MapType,
    pub(crate) key: usize,
    pub(crate) value: usize,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

/// How many entries the maps have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) ports: u32,
    pub(crate) endpoints: u32,
    pub(crate) routes: u32,
    /// Addresses of nodes.
    pub(crate) nodes: u32,
}

/// Every map, with these sizes.
pub(crate) fn map_shapes(sizes: &Sizes) -> [MapShape; 10] {
    fn shape<K, V>(name: &'static str, kind: MapType, max_entries: u32, flags: u32) -> MapShape {
        MapShape { name, kind, key: size_of::<K>(), value: size_of::<V>(), max_entries, flags }
    }
    let Sizes { ports, endpoints, routes, nodes } = *sizes;
    [
        shape::<u32, Config>("config", MapType::Array, 1, 0),
        shape::<Address, Endpoint>("endpoints", MapType::Hash, endpoints, 0),
        shape::<u32, Port>("ports", MapType::Hash, ports, 0),
        shape::<u32, Limit>("limits", MapType::Hash, ports, 0),
        shape::<RouteKey, Route>("routes", MapType::LpmTrie, routes, BPF_F_NO_PREALLOC),
        shape::<Address, Address>("nodes", MapType::Hash, nodes, BPF_F_NO_PREALLOC),
        shape::<Flow, u32>("flows", MapType::LruHash, FLOW_ROOM, 0),
        shape::<u32, u32>("flows_used", MapType::Array, 1, 0),
        shape::<u32, Answers>("answers", MapType::LruHash, ANSWERS_ROOM, 0),
        shape::<u32, Counter>("counters", MapType::PerCpuArray, REASON_ROOM, 0),
    ]
}

#[cfg(test)]
mod tests;
