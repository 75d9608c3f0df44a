//! What the agent tells the datapath, in the agent's words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::layout;
use crate::limits::{Limits, Shaper};
use crate::policy;
use crate::records::Recording;

/// Where the datapath keeps its state, and how much of it there may be.
#[derive(Clone, Debug)]
pub struct Options {
    /// A directory on a BPF file system, such as `/sys/fs/bpf/midonet-kube`. It is created.
    pub pin_dir: PathBuf,
    /// How many ports (Pods, and the node itself) there may be: `--max-pods`.
    pub max_endpoints: u32,
    /// How many routes (two per node and family are plenty) there may be: `--max-nodes`.
    pub max_routes: u32,
    /// How many connections are tracked at most: `--max-connections`. `None`: as many as the node's memory allows.
    pub max_connections: Option<u32>,
    /// How many ports of Services there may be, each counted for each protocol and family: `--max-services`.
    pub max_services: u32,
    /// How many backends there may be in the lists of all Services together: `--max-backends`.
    pub max_backends: u32,
    /// How many entries the tables of policy can have.
    pub policy: policy::Sizes,
    /// How many rows the table of drops has at most: `--max-drops`. One sender may add a sixteenth of them at once, and four a
    /// second.
    pub max_drops: u32,
    /// What is recorded of connections; `None`: nothing (`--flows off`).
    pub recording: Option<Recording>,
    /// The kernel's id of the program in the shared block, if there is one. Should its maps be pinned nowhere any
    /// more, they are found by it.
    pub at_work: Option<u32>,
}

/// What this node is in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The gateway's address, podCIDR + 1: one of each family that the node has.
    pub gateways: Vec<IpAddr>,
    /// The MAC of the host side of every veth pair, for which the network answers ARP and NDP.
    pub gateway_mac: [u8; 6],
    /// The MAC to which packets inside the tunnel are addressed: that of `midokube-vxlan` everywhere.
    pub overlay_mac: [u8; 6],
    /// The interface index of `midokube-node`.
    pub node_ifindex: u32,
    /// The MAC of `midokube-node`.
    pub node_mac: [u8; 6],
    /// The interface index of `midokube-mido`.
    pub mido_ifindex: u32,
    /// The interface index of `midokube-vxlan`.
    pub overlay_ifindex: u32,
    /// The VXLAN network identifier, below 2^24.
    pub vni: u32,
    /// The largest IP packet, in bytes, that fits into the tunnel without fragments.
    pub overlay_mtu: u32,
    /// The UDP port of the tunnels, on every node.
    pub tunnel_port: u16,
    /// Where what limited Pods send has to queue; `None` while there is no such Pod.
    pub shaper: Option<Shaper>,
    /// This node's end of tunnels over IPv4. Their packets have it as their source.
    pub tunnel_address4: Option<Ipv4Addr>,
    /// The same over IPv6.
    pub tunnel_address6: Option<Ipv6Addr>,
    /// Whether the programs write and remove the VXLAN headers of tunnels over IPv4 themselves. Otherwise the device
    /// does that.
    pub direct: bool,
    /// The source of what is sent to hosts outside of the cluster in the place of others, over IPv4: the address of this
    /// node by which the others know it.
    pub node_address4: Option<Ipv4Addr>,
    /// The same over IPv6.
    pub node_address6: Option<Ipv6Addr>,
    /// The ports that a translated source gets, from first to last. No NodePort and no ephemeral port of the node may be
    /// among them.
    pub source_ports: RangeInclusive<u16>,
    /// Whether Services are served here, and not by another proxy.
    pub services: bool,
}

impl TryFrom<&NodeConfig> for layout::Config {
    type Error = Error;

    fn try_from(config: &NodeConfig) -> Result<Self> {
        let invalid = Error::Config;
        let one = |v4: bool| -> Result<layout::Address> {
            let mut family = config.gateways.iter().filter(|gateway| gateway.is_ipv4() == v4);
            match (family.next(), family.next()) {
                (Some(one), None) => Ok((*one).into()),
                (None, _) => Ok(layout::Address::default()),
                (Some(one), Some(two)) => Err(invalid(format!(
                    "two gateways of one family, {one} and {two}; a node has one podCIDR of each"
                ))),
            }
        };
        let (gateway4, gateway6) = (one(true)?, one(false)?);
        if config.gateways.is_empty() {
            return Err(invalid("no gateway: the node has no podCIDR".to_owned()));
        }
        if let Some(gateway) = config.gateways.iter().find(|gateway| !is_unicast(**gateway)) {
            return Err(invalid(format!("gateway {gateway} is not a unicast address")));
        }
        for (name, ifindex) in [
            ("midokube-node", config.node_ifindex),
            ("midokube-mido", config.mido_ifindex),
            ("midokube-vxlan", config.overlay_ifindex),
        ] {
            if ifindex == 0 {
                return Err(invalid(format!("{name} has no interface index")));
            }
        }
        for (name, mac) in
            [("gateway", config.gateway_mac), ("overlay", config.overlay_mac), ("node", config.node_mac)]
        {
            if !is_unicast_mac(mac) {
                return Err(invalid(format!("the {name}'s MAC is zero or multicast")));
            }
        }
        if config.vni >= 1 << 24 {
            return Err(invalid(format!("VNI {} does not fit into 24 bits", config.vni)));
        }
        let smallest = if gateway6 == layout::Address::default() { 576 } else { 1280 };
        if !(smallest..=65_535).contains(&config.overlay_mtu) {
            return Err(invalid(format!(
                "overlay MTU {} is not between {smallest} and 65535: the underlay's MTU is too small",
                config.overlay_mtu
            )));
        }
        if config.shaper.is_some_and(|shaper| shaper.entry == 0 || shaper.exit == 0) {
            return Err(invalid("an end of the shaper has no interface index".to_owned()));
        }
        if config.tunnel_port == 0 {
            return Err(invalid("the tunnels have no UDP port".to_owned()));
        }
        let ends = [config.tunnel_address4.map(IpAddr::from), config.tunnel_address6.map(IpAddr::from)];
        if let Some(address) = ends.into_iter().flatten().find(|address| !is_unicast(*address)) {
            return Err(invalid(format!("the tunnels' own end {address} is not a unicast address")));
        }
        if config.direct && config.tunnel_address4.is_none() {
            return Err(invalid("tunnels over IPv4 have no own end".to_owned()));
        }
        let of_node = [config.node_address4.map(IpAddr::from), config.node_address6.map(IpAddr::from)];
        if let Some(address) = of_node.into_iter().flatten().find(|address| !is_unicast(*address)) {
            return Err(invalid(format!("the node's address {address} is not a unicast address")));
        }
        let (first_port, last_port) = (*config.source_ports.start(), *config.source_ports.end());
        if first_port == 0 || first_port > last_port {
            return Err(invalid(format!("no source ports: {first_port} to {last_port}")));
        }
        Ok(Self {
            gateway4,
            gateway6,
            gateway_mac: config.gateway_mac,
            overlay_mac: config.overlay_mac,
            node_mac: config.node_mac,
            pad: [0; 2],
            node_ifindex: config.node_ifindex,
            mido_ifindex: config.mido_ifindex,
            overlay_ifindex: config.overlay_ifindex,
            vni: config.vni,
            overlay_mtu: config.overlay_mtu,
            tunnel_address4: config.tunnel_address4.map_or([0; 4], |address| address.octets()),
            tunnel_port: config.tunnel_port.to_be_bytes(),
            direct: config.direct.into(),
            pad2: 0,
            shaper_ifindex: config.shaper.map_or(0, |shaper| shaper.entry),
            shaped_ifindex: config.shaper.map_or(0, |shaper| shaper.exit),
            tunnel_address6: config
                .tunnel_address6
                .map_or_else(layout::Address::default, |address| IpAddr::from(address).into()),
            node_address4: of_node[0].map_or_else(layout::Address::default, Into::into),
            node_address6: of_node[1].map_or_else(layout::Address::default, Into::into),
            first_port,
            last_port,
            services: config.services.into(),
            policy_generation: 0,
            policy_last: 0,
        })
    }
}

/// Who is at the other end of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A Pod: its sources are checked, and it is delivered to in its own namespace.
    Pod,
    /// A Pod with an address outside this node's podCIDRs, which changed since the Pod was made. It reaches the node,
    /// this node's Pods and the outside; where another node has the range now, that node's Pods are found there.
    Outside,
    /// The node itself, through `midokube-mido`.
    Node,
}

/// Something with addresses behind an interface of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The interface where its packets come in: the host side of a Pod's veth pair, or `midokube-mido`.
    pub ifindex: u32,
    /// Its own MAC, that of the container side.
    pub mac: [u8; 6],
    /// Its addresses: at least one, at most four.
    pub addresses: Vec<IpAddr>,
    /// Pod or node.
    pub role: Role,
    /// How fast it may be.
    pub limits: Limits,
    /// The set of policy that it gets. One that is not in force yet is [`CLOSED`](policy::CLOSED) until it is.
    pub set: u32,
}

impl TryFrom<&Port> for layout::Port {
    type Error = Error;

    fn try_from(port: &Port) -> Result<Self> {
        let invalid = |reason: String| Err(Error::Port { ifindex: port.ifindex, reason });
        if port.ifindex == 0 {
            return invalid("an interface index is never 0".to_owned());
        }
        if !is_unicast_mac(port.mac) {
            return invalid("its MAC is zero or multicast".to_owned());
        }
        if port.addresses.is_empty() {
            return invalid("it has no address".to_owned());
        }
        if let Some(address) = port.addresses.iter().find(|address| !is_unicast(**address)) {
            return invalid(format!("{address} is not an address that a Pod can have"));
        }
        let mut addresses = [layout::Address::default(); layout::PORT_ADDRESSES];
        let mut count = 0;
        for address in port.addresses.iter().map(|address| layout::Address::from(*address)) {
            if addresses.iter().take(count).any(|other| *other == address) {
                continue;
            }
            let Some(slot) = addresses.get_mut(count) else {
                return invalid(format!(
                    "it has {} addresses, and {} are supported",
                    port.addresses.len(),
                    layout::PORT_ADDRESSES
                ));
            };
            *slot = address;
            count += 1;
        }
        if let Some(reason) = port.limits.wrong() {
            return invalid(reason.to_owned());
        }
        let role = match port.role {
            Role::Pod => layout::ROLE_POD,
            Role::Outside => layout::ROLE_OUTSIDE,
            Role::Node => layout::ROLE_NODE,
        };
        let count = u32::try_from(count).unwrap_or_default();
        Ok(Self { role, count, mac: port.mac, pad: [0; 2], addresses })
    }
}

impl layout::Port {
    /// The addresses in use.
    pub(crate) fn addresses(&self) -> &[layout::Address] {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        self.addresses.get(..count).unwrap_or(&self.addresses)
    }

    /// The same port without one of its addresses.
    pub(crate) fn without(&self, address: layout::Address) -> Self {
        let mut less = Self { count: 0, addresses: Default::default(), ..*self };
        let kept = self.addresses().iter().filter(|other| **other != address);
        for (slot, other) in less.addresses.iter_mut().zip(kept) {
            *slot = *other;
            less.count += 1;
        }
        less
    }

    /// What stands at each of its addresses.
    pub(crate) fn endpoint(&self, ifindex: u32, limit: layout::Limit, sets: [u32; 2]) -> layout::Endpoint {
        let recorded = if self.role == layout::ROLE_OUTSIDE { layout::RECORDED } else { 0 };
        layout::Endpoint { ifindex, role: self.role, mac: self.mac, limited: limit.flags() | recorded, sets }
    }

    /// The port as the agent knows it.
    pub(crate) fn to_port(self, ifindex: u32, limit: layout::Limit, set: u32) -> Result<Port> {
        let role = match self.role {
            layout::ROLE_POD => Role::Pod,
            layout::ROLE_OUTSIDE => Role::Outside,
            layout::ROLE_NODE => Role::Node,
            role => {
                return Err(Error::Foreign {
                    map: "ports",
                    value: format!("role {role} of interface {ifindex}"),
                });
            }
        };
        let addresses = self.addresses().iter().map(|address| (*address).into()).collect();
        Ok(Port { ifindex, mac: self.mac, addresses, role, limits: limit.into(), set })
    }
}

/// Where a prefix of the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Another node's podCIDR: the address of that node on the underlay.
    Tunnel(IpAddr),
    /// This node's podCIDR: who is not bound here does not exist.
    Local,
    /// A part of the cluster that no node serves.
    Unreachable,
    /// Where Services have their addresses: what is none there does not exist.
    Services,
    /// Where another proxy's Services have theirs: packets go there as if there was no route. Policy judges what a Pod sends
    /// there when the node's stack sends it on to an endpoint.
    Proxied,
}

impl From<Route> for layout::Route {
    fn from(route: Route) -> Self {
        let (kind, tunnel) = match route {
            Route::Tunnel(address) => (layout::ROUTE_TUNNEL, address.into()),
            Route::Local => (layout::ROUTE_LOCAL, layout::Address::default()),
            Route::Unreachable => (layout::ROUTE_UNREACHABLE, layout::Address::default()),
            Route::Services => (layout::ROUTE_SERVICES, layout::Address::default()),
            Route::Proxied => (layout::ROUTE_PROXIED, layout::Address::default()),
        };
        Self { kind, tunnel }
    }
}

impl TryFrom<layout::Route> for Route {
    /// What the value is that no route has.
    type Error = String;

    fn try_from(route: layout::Route) -> Result<Self, String> {
        match route.kind {
            layout::ROUTE_TUNNEL => Ok(Self::Tunnel(route.tunnel.into())),
            layout::ROUTE_LOCAL => Ok(Self::Local),
            layout::ROUTE_UNREACHABLE => Ok(Self::Unreachable),
            layout::ROUTE_SERVICES => Ok(Self::Services),
            layout::ROUTE_PROXIED => Ok(Self::Proxied),
            kind => Err(format!("kind {kind}")),
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, or is answered.
    Forward,
    /// It is lost: somebody sent what this network does not carry, or something is wrong.
    Drop,
    /// It is lost as well, but every healthy host sends such packets and nobody misses them: multicast
    /// and the chatter of IPv6 neighbours.
    Ignore,
}

impl Fate {
    /// A word for it; in metrics and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Drop => "drop",
            Self::Ignore => "ignore",
        }
    }
}

/// How many packets ended under one reason since the datapath was first set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// A word for it, such as `overlay_out`; in metrics and on the command line.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// What became of the packets.
    pub fate: Fate,
    /// Packets; one that the kernel will cut into segments counts once.
    pub packets: u64,
    /// Bytes, with the Ethernet header.
    pub bytes: u64,
}

/// Whether an address can be that of one host.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    let broadcast =
        matches!(address, IpAddr::V4(v4) if v4.octets().first().is_none_or(|top| *top == 0 || *top >= 224));
    !(broadcast || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

fn is_unicast_mac(mac: [u8; 6]) -> bool {
    mac != [0; 6] && mac.first().is_some_and(|first| first & 1 == 0)
}

#[cfg(test)]
mod tests;
