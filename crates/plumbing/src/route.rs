//! Kernel routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use crate::address::family;
use crate::netlink::Request;
use crate::{Netlink, Result};

/// Whose our routes are (`ip route` shows `proto 109`): no daemon takes them for its own or flushes them.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(109);

/// A route through a gateway on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// Through whom.
    pub via: IpAddr,
}

/// The route to a neighbour on the link.
pub(crate) fn add_neighbour(ifindex: u32, ifname: &str, neighbour: IpAddr) -> Request {
    let message = message(ifindex, IpNet::from(neighbour), None);
    request(format!("route {neighbour} to {ifname}"), message)
}

pub(crate) fn add(ifindex: u32, ifname: &str, route: Route) -> Request {
    let message = message(ifindex, route.dst, Some(route.via));
    request(format!("route {} via {} on {ifname}", route.dst, route.via), message)
}

/// Makes a route ours that somebody made lead elsewhere.
pub(crate) fn replacing(request: Request) -> Request {
    Request { flags: NLM_F_CREATE | NLM_F_REPLACE, ..request }
}

fn request(what: String, message: RouteMessage) -> Request {
    Request { what, message: RouteNetlinkMessage::NewRoute(message), flags: NLM_F_CREATE | NLM_F_EXCL }
}

fn message(ifindex: u32, dst: IpNet, via: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(dst.addr());
    message.header.destination_prefix_length = dst.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.attributes.push(RouteAttribute::Oif(ifindex));
    if dst.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(dst.network().into()));
    }
    if let Some(via) = via {
        message.attributes.push(RouteAttribute::Gateway(via.into()));
    }
    message
}

/// The main table's routes out of a link: where to, and through whom.
pub(crate) fn list(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<(IpNet, Option<IpAddr>)>> {
    let all = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let messages = netlink.dump("list routes", &all)?;
    Ok(messages.into_iter().filter_map(|message| read(message, ifindex)).collect())
}

fn read(message: RouteNetlinkMessage, ifindex: u32) -> Option<(IpNet, Option<IpAddr>)> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    if route.header.table != RouteHeader::RT_TABLE_MAIN
        || !route.attributes.contains(&RouteAttribute::Oif(ifindex))
    {
        return None;
    }
    let unspecified: IpAddr = match route.header.address_family {
        netlink_packet_route::AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let (mut dst, mut via) = (unspecified, None);
    for attribute in route.attributes {
        match attribute {
            RouteAttribute::Destination(address) => dst = ip(&address)?,
            RouteAttribute::Gateway(address) => via = Some(ip(&address)?),
            _ => {}
        }
    }
    Some((IpNet::new(dst, route.header.destination_prefix_length).ok()?, via))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
