//! What carries the tunnels: the interfaces that the kernel's routes to other nodes lead out of. They need not be
//! the one that holds the node's own address, which may be on `lo`.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteType,
};

use crate::address::family;
use crate::error::{Error, Result};
use crate::fib::is_refusal;
use crate::netlink::Netlink;
use crate::{address, link};

/// An interface that carries tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub ifname: String,
    /// Its ifindex.
    pub ifindex: u32,
    /// In bytes.
    pub mtu: u32,
    /// Whether its frames have Ethernet headers.
    pub ethernet: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
}

/// Where the kernel's routes send what is for another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The ifindexes, ascending; several if the route has several next hops.
    pub ifindexes: Vec<u32>,
    /// The route's own MTU in bytes, if it has one (`ip route add ... mtu`).
    pub mtu: Option<u32>,
}

/// The interface of this namespace that holds an address.
///
/// # Errors
/// None does, or the kernel does not tell.
pub fn holder(local: IpAddr) -> Result<Uplink> {
    let mut netlink = Netlink::here()?;
    let what = || format!("find the interface with the address {local}");
    let holder = address::list(&mut netlink)?.into_iter().find(|(_, net)| net.addr() == local);
    let (ifindex, _) = holder.ok_or_else(|| Error::other(what(), "no interface has it"))?;
    uplink(&mut netlink, ifindex)?.ok_or_else(|| Error::other(what(), "it has just gone"))
}

/// The interface with this ifindex, if there is one.
///
/// # Errors
/// The kernel does not answer.
pub fn uplink(netlink: &mut Netlink, ifindex: u32) -> Result<Option<Uplink>> {
    let link = link::get(netlink, ifindex)?;
    Ok(link.map(|link| Uplink {
        ifname: link.name,
        ifindex,
        mtu: link.mtu,
        ethernet: link.ethernet,
        loopback: link.loopback,
    }))
}

/// Where packets from a node's own address to another node's go; `None` if no route leads there. What the kernel
/// learned of the path's MTU is left out: it is forgotten again.
///
/// # Errors
/// The kernel does not answer.
pub fn path(netlink: &mut Netlink, from: IpAddr, to: IpAddr) -> Result<Option<Path>> {
    let bits = if to.is_ipv4() { 32 } else { 128 };
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(to),
        destination_prefix_length: bits,
        source_prefix_length: bits,
        // The route itself, with all of its next hops, and not what became of it for one packet.
        flags: RouteFlags::FibMatch,
        ..message.header
    };
    message.attributes = vec![RouteAttribute::Destination(to.into()), RouteAttribute::Source(from.into())];
    let what = format!("look up the route from {from} to {to}");
    let message = match netlink.get(&what, RouteNetlinkMessage::GetRoute(message)) {
        Ok(RouteNetlinkMessage::NewRoute(message)) => message,
        Ok(_) => return Ok(None),
        Err(error) if is_refusal(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    // One of this node's own addresses, or a route that refuses.
    if message.header.kind != RouteType::Unicast {
        return Ok(None);
    }
    let mut path = Path { ifindexes: Vec::new(), mtu: None };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => path.ifindexes.push(ifindex),
            RouteAttribute::MultiPath(hops) => {
                path.ifindexes.extend(hops.into_iter().map(|hop| hop.interface_index));
            }
            RouteAttribute::Metrics(metrics) => {
                path.mtu = metrics.into_iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    path.ifindexes.sort_unstable();
    path.ifindexes.dedup();
    Ok((!path.ifindexes.is_empty()).then_some(path))
}
