//! Addresses of links.

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::Result;
use crate::link;
use crate::netlink::{Netlink, Request};

pub(crate) fn family(address: std::net::IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Gives a link an address. No route comes with it: everything goes through the gateway. No duplicate
/// address detection: there is no other host on the link, and it would cost a second.
pub(crate) fn add(ifindex: u32, ifname: &str, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = ifindex;
    let flags = AddressFlags::Noprefixroute | AddressFlags::Nodad;
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
        AddressAttribute::Flags(flags),
    ];
    Request {
        what: format!("give {ifname} the address {address}"),
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Deletes an address of a link.
pub(crate) fn delete(ifindex: u32, ifname: &str, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = ifindex;
    message.attributes = vec![AddressAttribute::Local(address.addr())];
    Request {
        what: format!("delete the address {address} of {ifname}"),
        message: RouteNetlinkMessage::DelAddress(message),
        flags: 0,
    }
}

/// Every address of this thread's namespace, with its link's ifindex.
///
/// # Errors
/// The kernel does not answer.
pub fn addresses() -> Result<Vec<(u32, IpNet)>> {
    list(&mut Netlink::here()?)
}

/// Every address of the socket's namespace, with its link's ifindex.
pub(crate) fn list(netlink: &mut Netlink) -> Result<Vec<(u32, IpNet)>> {
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    Ok(netlink.dump("list addresses", &all)?.into_iter().filter_map(read).collect())
}

fn read(message: RouteNetlinkMessage) -> Option<(u32, IpNet)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // IPv4 has the link's own address in IFA_LOCAL, IPv6 in IFA_ADDRESS alone.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    Some((message.header.index, IpNet::new(address, message.header.prefix_len).ok()?))
}

/// Deletes all addresses of an interface but these, and returns those. Link-local addresses stay.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn delete_other_addresses(ifname: &str, keep: &[IpNet]) -> Result<Vec<IpNet>> {
    let mut netlink = Netlink::here()?;
    let index = link::require(&mut netlink, ifname)?.ifindex;
    let of_link = |address: &IpNet| matches!(address, IpNet::V6(v6) if v6.addr().is_unicast_link_local());
    let mut others = list(&mut netlink)?;
    others.retain(|(owner, address)| *owner == index && !keep.contains(address) && !of_link(address));
    let others: Vec<IpNet> = others.into_iter().map(|(_, address)| address).collect();
    netlink.requests(others.iter().map(|address| delete(index, ifname, *address)).collect())?;
    Ok(others)
}
