//! The kernel's routes of all links and tables, and the one that it takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::address::family;
use crate::error::{Error, Result};
use crate::netlink::Netlink;
use crate::route::{PROTOCOL, ip};

/// A route, as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FibRoute {
    /// The destination.
    pub(crate) dst: IpNet,
    /// Its table.
    pub(crate) table: u32,
    /// The link that it leads out of; 0 if there is none.
    pub(crate) ifindex: u32,
    /// What happens to packets (rtm_type).
    pub(crate) kind: RouteType,
    /// Whether this project made it.
    pub(crate) is_own: bool,
    /// Who made it (rtm_protocol).
    pub(crate) protocol: RouteProtocol,
}

/// Every route of all tables.
pub(crate) fn all(netlink: &mut Netlink) -> Result<Vec<FibRoute>> {
    let messages = netlink.dump("list routes", &RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    Ok(messages.into_iter().filter_map(read).collect())
}

/// The route that the kernel takes to an address: for a packet of the node itself, or for one from a source by a
/// link.
///
/// # Errors
/// There is none (ENETUNREACH), it leads nowhere (EINVAL: blackhole, EHOSTUNREACH: unreachable or not forwarded,
/// EACCES: prohibited), or the packet's source does not fit the link (EXDEV: rp_filter).
pub(crate) fn lookup(netlink: &mut Netlink, to: IpAddr, from: Option<(IpAddr, u32)>) -> Result<FibRoute> {
    let mut message = RouteMessage::default();
    let bits = if to.is_ipv4() { 32 } else { 128 };
    message.header.address_family = family(to);
    message.header.destination_prefix_length = bits;
    message.header.flags = RouteFlags::FibMatch;
    if to.is_ipv4() {
        message.header.flags |= RouteFlags::LookupTable; // IPv6 tells the table anyway, and refuses to be asked
    }
    message.attributes.push(RouteAttribute::Destination(to.into()));
    let mut what = format!("look up the route to {to}");
    if let Some((source, ifindex)) = from {
        message.header.source_prefix_length = bits;
        message.attributes.push(RouteAttribute::Source(source.into()));
        message.attributes.push(RouteAttribute::Iif(ifindex));
        what = format!("{what} from {source}");
    }
    let answer = netlink.get(&what, RouteNetlinkMessage::GetRoute(message))?;
    read(answer).ok_or_else(|| Error::other(what, "the kernel's answer is no route"))
}

/// Whether the kernel has a route to an address that carries packets: for a packet of the node itself, or for one from a source
/// by a link. An address of the node itself has one.
///
/// # Errors
/// The kernel does not answer.
pub fn has_route(netlink: &mut Netlink, to: IpAddr, from: Option<(IpAddr, u32)>) -> Result<bool> {
    match lookup(netlink, to, from) {
        // An IPv6 route that carries nothing is an answer like others.
        Ok(route) => Ok(!refuses(route.kind)),
        Err(error) if is_refusal(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the kernel's answer to a look-up is that packets go nowhere.
pub(crate) fn is_refusal(error: &Error) -> bool {
    let errnos = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL, libc::EXDEV];
    errnos.iter().any(|errno| error.is(*errno))
}

/// Whether a route of this type takes packets and carries none.
fn refuses(kind: RouteType) -> bool {
    matches!(kind, RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw)
}

fn read(message: RouteNetlinkMessage) -> Option<FibRoute> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = message.header;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = FibRoute {
        dst: IpNet::new(unspecified, header.destination_prefix_length).ok()?,
        table: header.table.into(),
        ifindex: 0,
        kind: header.kind,
        is_own: header.protocol == PROTOCOL,
        protocol: header.protocol,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                route.dst = IpNet::new(ip(address)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Oif(ifindex) => route.ifindex = *ifindex,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::MultiPath(hops) if route.ifindex == 0 => {
                route.ifindex = hops.first().map_or(0, |hop| hop.interface_index);
            }
            _ => {}
        }
    }
    Some(route)
}
