//! Loopback addresses of this node at an interface. What its processes send to a port at 127.0.0.1 or ::1 may be translated
//! and leave by an interface. The answers come in there, are translated back before they are routed, and are then for a
//! loopback address: without more the kernel takes that for a forgery.
//!
//! IPv4 has a setting for it, route_localnet. IPv6 has none: there the kernel takes a loopback address only by an interface
//! that has a local route to it. A packet that has such an address on the wire is dropped before anything is translated back
//! over IPv6; over IPv4 it is not, and nobody may be able to send one there.

use std::net::Ipv6Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::Result;
use crate::family::Family;
use crate::link;
use crate::netlink::{Netlink, Request};
use crate::route::PROTOCOL;
use crate::sysctl;

/// RT_TABLE_LOCAL.
const LOCAL_TABLE: u8 = 255;

/// The route's metric: what the node sends to ::1 goes by the loopback interface, whose route has 0.
const METRIC: u32 = 4096;

/// The setting of an interface for IPv4.
fn setting(ifname: &str) -> String {
    format!("ipv4/conf/{ifname}/route_localnet")
}

/// Has an interface accept what is translated back to a loopback address of this node.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn accept(ifname: &str, families: &[Family]) -> Result<()> {
    let mut netlink = Netlink::here()?;
    for family in families {
        match family {
            Family::V4 => sysctl::set(&setting(ifname), "1")?,
            Family::V6 => {
                let ifindex = link::require(&mut netlink, ifname)?.ifindex;
                let added = netlink.request(Request {
                    what: format!("let answers to ::1 in by {ifname}"),
                    message: RouteNetlinkMessage::NewRoute(route(ifindex)),
                    flags: NLM_F_CREATE | NLM_F_EXCL,
                });
                match added {
                    Err(error) if error.is_exists() => {}
                    other => other?,
                }
            }
        }
    }
    Ok(())
}

/// Whether the interface does, in all of these families.
///
/// # Errors
/// The kernel does not tell.
pub fn is_accepted(ifname: &str, families: &[Family]) -> Result<bool> {
    let mut netlink = Netlink::here()?;
    let Some(link) = netlink.find(ifname)? else { return Ok(false) };
    for family in families {
        let accepted = match family {
            Family::V4 => sysctl::is(&setting(ifname), "1"),
            Family::V6 => {
                let mut all = RouteMessage::default();
                all.header.address_family = AddressFamily::Inet6;
                all.header.table = LOCAL_TABLE;
                let routes = netlink.dump("list IPv6 routes", &RouteNetlinkMessage::GetRoute(all))?;
                routes.iter().any(|route| is_ours(route, link.ifindex))
            }
        };
        if !accepted {
            return Ok(false);
        }
    }
    Ok(true)
}

fn route(ifindex: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = 128;
    message.header.table = LOCAL_TABLE;
    message.header.protocol = PROTOCOL;
    message.header.kind = RouteType::Local;
    message.header.scope = RouteScope::Universe;
    message.attributes = vec![
        RouteAttribute::Destination(Ipv6Addr::LOCALHOST.into()),
        RouteAttribute::Oif(ifindex),
        RouteAttribute::Priority(METRIC),
    ];
    message
}

fn is_ours(route: &RouteNetlinkMessage, ifindex: u32) -> bool {
    let RouteNetlinkMessage::NewRoute(route) = route else { return false };
    let to = RouteAttribute::Destination(Ipv6Addr::LOCALHOST.into());
    route.header.kind == RouteType::Local
        && route.attributes.contains(&to)
        && route.attributes.contains(&RouteAttribute::Oif(ifindex))
}
