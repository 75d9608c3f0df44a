//! The flow-based VXLAN device: one for all tunnels, for which the datapath sets the tunnel of each packet.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};

use crate::error::{Error, Result};
use crate::link::request;
use crate::netlink::Netlink;

/// Creates or repairs the device, and returns its ifindex. One of another kind or with another port is replaced; one
/// that fits stays, with the programs that are attached to it.
///
/// # Errors
/// The kernel refuses; most often another device has the UDP port.
pub fn ensure(name: &str, mac: [u8; 6], mtu: u32, port: u16) -> Result<u32> {
    let mut netlink = Netlink::here()?;
    if let Some(existing) = netlink.find(name)?
        && !fits(&mut netlink, existing.ifindex, port)?
    {
        netlink.request(request::delete(existing.ifindex, name))?;
    }
    let device = match netlink.find(name)? {
        Some(device) => device,
        None => {
            let attributes = vec![
                LinkAttribute::Address(mac.to_vec()),
                LinkAttribute::Mtu(mtu),
                LinkAttribute::LinkInfo(info(port)),
            ];
            netlink.request(request::create(name, attributes))?;
            netlink.find(name)?.ok_or_else(|| Error::other(format!("create {name}"), "it has gone"))?
        }
    };
    let attributes = [LinkAttribute::Address(mac.to_vec()), LinkAttribute::Mtu(mtu)];
    let mut requests = vec![request::change(device.ifindex, &format!("set up {name}"), attributes)];
    // Behind the MTU, which decides whether the interface has IPv6.
    let what = format!("keep {name} without a link-local address");
    requests.extend(request::no_link_local(mtu).map(|mode| request::change(device.ifindex, &what, [mode])));
    requests.push(request::switch(device.ifindex, true, &format!("set {name} up"), []));
    netlink.requests(requests)?;
    Ok(device.ifindex)
}

/// Whether an interface is such a device with that UDP port.
///
/// # Errors
/// The kernel does not answer.
pub fn is(name: &str, port: u16) -> Result<bool> {
    let mut netlink = Netlink::here()?;
    match netlink.find(name)? {
        Some(device) => fits(&mut netlink, device.ifindex, port),
        None => Ok(false),
    }
}

/// Outer UDP checksums are left out (RFC 7348, section 5; RFC 6935 for IPv6): the inner packet has its own.
fn info(port: u16) -> Vec<LinkInfo> {
    let data = vec![
        InfoVxlan::CollectMetadata(true),
        InfoVxlan::Port(port),
        InfoVxlan::Learning(false),
        InfoVxlan::UDPCsum(false),
        InfoVxlan::UDPZeroCsumTX(true),
        InfoVxlan::UDPZeroCsumRX(true),
    ];
    vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]
}

fn fits(netlink: &mut Netlink, ifindex: u32, port: u16) -> Result<bool> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let answer = netlink.get("read the overlay device", RouteNetlinkMessage::GetLink(message))?;
    let RouteNetlinkMessage::NewLink(device) = answer else { return Ok(false) };
    let data = device.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.into_iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
            _ => None,
        }),
        _ => None,
    });
    Ok(data.is_some_and(|data| {
        let wanted = [InfoVxlan::CollectMetadata(true), InfoVxlan::Port(port), InfoVxlan::Learning(false)];
        wanted.iter().all(|one| data.contains(one))
    }))
}
