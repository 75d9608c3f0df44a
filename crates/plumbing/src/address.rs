//! Addresses of links.

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::Request;
use crate::{Netlink, Result};

pub(crate) fn family(address: std::net::IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Gives a link an address. No route comes with it: everything goes through the gateway. No duplicate
/// address detection: nobody else on the link could answer, and it would cost a second.
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

/// Takes an address away from a link.
pub(crate) fn delete(ifindex: u32, ifname: &str, address: IpNet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = ifindex;
    message.attributes = vec![AddressAttribute::Local(address.addr())];
    Request {
        what: format!("take the address {address} away from {ifname}"),
        message: RouteNetlinkMessage::DelAddress(message),
        flags: 0,
    }
}

/// Every address of the namespace, with its link's number.
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
