//! The underlay's own links, which no product has: a bridge, plain veth pairs between two machines,
//! addresses with their prefix routes, default routes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use netlink_sys::constants::NETLINK_ROUTE;
use plumbing::{Family, NetNs, sysctl};

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Sets the loopback interface of this thread's namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    Ok(plumbing::link::set_up("lo")?)
}

/// Makes a namespace a router.
pub(crate) fn forwarding(netns: &NetNs) -> Result<()> {
    let families = [Some(Family::V4), sysctl::has_ipv6().then_some(Family::V6)];
    let families: Vec<_> = families.into_iter().flatten().collect();
    netns.run(|| sysctl::enable_forwarding(&families))??;
    Ok(())
}

/// Makes a bridge.
pub(crate) fn bridge(netns: &NetNs, name: &str) -> Result<()> {
    let info = vec![LinkInfo::Kind(InfoKind::Bridge)];
    let message = link(0, vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)]);
    ask(netns, RouteNetlinkMessage::NewLink(message), CREATE)
        .with_context(|| format!("cannot make bridge {name}"))
}

/// Makes a veth pair with an end in each of two namespaces, both born there.
pub(crate) fn connect(near: &NetNs, near_name: &str, far: &NetNs, far_name: &str) -> Result<()> {
    let fd = far.as_fd().as_raw_fd();
    let peer = link(0, vec![LinkAttribute::IfName(far_name.to_owned()), LinkAttribute::NetNsFd(fd)]);
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    let message = link(0, vec![LinkAttribute::IfName(near_name.to_owned()), LinkAttribute::LinkInfo(info)]);
    ask(near, RouteNetlinkMessage::NewLink(message), CREATE)
        .with_context(|| format!("cannot make link {near_name}"))
}

/// Makes a link a port of a bridge and sets it up.
pub(crate) fn enslave(netns: &NetNs, name: &str, bridge: &str) -> Result<()> {
    let controller = LinkAttribute::Controller(index(netns, bridge)?);
    let message = up(link(index(netns, name)?, vec![controller]));
    ask(netns, RouteNetlinkMessage::SetLink(message), 0)
        .with_context(|| format!("cannot add {name} to {bridge}"))
}

/// Sets a link up, with addresses and default gateways.
pub(crate) fn configure(netns: &NetNs, name: &str, nets: &[IpNet], gateways: &[IpAddr]) -> Result<()> {
    // A router asks for neighbours from its link-local address, which detection would hold back for a
    // second or two: the first packets to the outside would be lost.
    if sysctl::has_ipv6() {
        netns.run(|| sysctl::set(&format!("ipv6/conf/{name}/accept_dad"), "0"))??;
    }
    let index = index(netns, name)?;
    ask(netns, RouteNetlinkMessage::SetLink(up(link(index, Vec::new()))), 0)
        .with_context(|| format!("cannot set {name} up"))?;
    for net in nets {
        ask(netns, RouteNetlinkMessage::NewAddress(address(index, *net)), CREATE)
            .with_context(|| format!("cannot give {name} the address {net}"))?;
    }
    for gateway in gateways {
        ask(netns, RouteNetlinkMessage::NewRoute(default_route(index, *gateway)), CREATE)
            .with_context(|| format!("cannot route by default via {gateway} on {name}"))?;
    }
    Ok(())
}

fn index(netns: &NetNs, name: &str) -> Result<u32> {
    let found = netns.run(|| plumbing::link::find(name))??;
    Ok(found.with_context(|| format!("there is no interface {name}"))?.ifindex)
}

fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn up(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.index = index;
    // Addresses are known to be unique here; detection would take a second.
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    message
}

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let via = match gateway {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    message.attributes = vec![RouteAttribute::Oif(index), RouteAttribute::Gateway(via)];
    message
}

/// One request, one answer, on a socket of its own in the namespace.
fn ask(netns: &NetNs, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    let socket = netns.run(|| Socket::new(NETLINK_ROUTE))??;
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
        NetlinkPayload::Error(error) if error.raw_code() == 0 => Ok(()),
        NetlinkPayload::Error(error) => Err(io::Error::from_raw_os_error(-error.raw_code()).into()),
        _ => anyhow::bail!("the kernel's answer is neither an acknowledgement nor an error"),
    }
}
