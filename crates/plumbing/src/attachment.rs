//! The two rows of one table: a Pod's attachment to the network and the node's own.
//!
//! | | Pod | Node |
//! |---|---|---|
//! | namespace of the inner end | the runtime's | the host's |
//! | inner and outer name | eth0, mido... | midokube-node, midokube-mido |
//! | addresses | IPAM | second of the podCIDR |
//! | routes via the gateway | everything | the cluster's CIDRs |

mod differences;
mod repair;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use std::os::fd::{AsFd, AsRawFd};

use crate::link::{self, DEAD_GROUP, DEAD_NAME, Link};
use crate::{Error, NetNs, Netlink, Result, Route, address, route, sysctl, tc};

pub use differences::{Difference, Part, check};
pub use repair::{repair, repair_outer, set_inner_mtu};

/// A veth pair whose outer end leads into the network.
#[derive(Debug)]
pub struct Attachment<'a> {
    /// Where the inner end lives; `None`: in this thread's own namespace, like the outer end.
    pub netns: Option<&'a NetNs>,
    /// The inner end's name.
    pub inner: String,
    /// The inner end's MAC address.
    pub inner_mac: [u8; 6],
    /// The outer end's name.
    pub outer: String,
    /// The outer end's MAC address: what the inner side sees as its gateway's.
    pub outer_mac: [u8; 6],
    /// The outer end's alias: whose it is.
    pub alias: String,
    /// Of both ends, in bytes.
    pub mtu: u32,
    /// The inner end's addresses.
    pub addresses: Vec<IpNet>,
    /// The gateway of each family.
    pub gateways: Vec<IpAddr>,
    /// Routes through a gateway.
    pub routes: Vec<Route>,
    /// Whether the inner namespace forwards packets; `None`: as it is.
    pub forwarding: Option<bool>,
    /// Whether an outer end of this name, which somebody left, gives way.
    pub replace_stale: bool,
}

/// The numbers of a pair's ends, each in its own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The outer end's.
    pub outer_ifindex: u32,
    /// The inner end's.
    pub inner_ifindex: u32,
}

/// Makes the pair. The outer end is in the datapath's block and still down: nothing passes before
/// [`set_up`].
///
/// # Errors
/// The step that failed; nothing is left of the pair then. [`Error::is_exists`] if the inner name is taken.
pub fn attach(attachment: &Attachment<'_>) -> Result<Attached> {
    let mut host = Netlink::here()?;
    if attachment.replace_stale
        && let Some(stale) = link::find(&mut host, &attachment.outer)?
    {
        link::ignore_missing(host.request(link::delete(stale.ifindex, &stale.name)))?;
    }
    host.request(pair(attachment)).map_err(|error| explain_exists(error, &mut host, attachment))?;
    let made = configure(&mut host, attachment);
    if made.is_err() {
        let left = link::find(&mut host, &attachment.outer);
        if let Ok(Some(outer)) = left {
            let _ = host.request(link::delete(outer.ifindex, &outer.name));
        }
    }
    made
}

/// Which of the two names is the one that exists?
fn explain_exists(error: Error, host: &mut Netlink, attachment: &Attachment<'_>) -> Error {
    if !error.is_exists() {
        return error;
    }
    let (name, place) = match link::find(host, &attachment.outer) {
        Ok(Some(_)) => (&attachment.outer, "on the node"),
        _ => (&attachment.inner, "in the namespace"),
    };
    let exists = std::io::Error::from_raw_os_error(libc::EEXIST);
    Error::new(format!("create interface {name}, which exists {place} already"), exists)
}

/// One message for both ends, the inner one born where it is to live: moving it there costs an RCU wait.
fn pair(attachment: &Attachment<'_>) -> crate::netlink::Request {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(attachment.inner.clone()),
        LinkAttribute::Address(attachment.inner_mac.to_vec()),
        LinkAttribute::Mtu(attachment.mtu),
    ];
    if let Some(netns) = attachment.netns {
        peer.attributes.push(LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()));
    }
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    let attributes = vec![
        LinkAttribute::Address(attachment.outer_mac.to_vec()),
        LinkAttribute::Mtu(attachment.mtu),
        LinkAttribute::LinkInfo(info),
    ];
    link::create(&attachment.outer, attributes)
}

fn configure(host: &mut Netlink, attachment: &Attachment<'_>) -> Result<Attached> {
    let outer = number(&attachment.outer)?;
    let alias = [LinkAttribute::IfAlias(attachment.alias.clone()), link::no_link_local()];
    host.requests(vec![
        link::change(outer, &format!("name the owner of {}", attachment.outer), alias),
        tc::join_block(outer, &attachment.outer),
    ])?;

    let visit = || {
        settings(attachment)?;
        Ok((number(&attachment.inner)?, Netlink::here()?))
    };
    let (index, mut inside) = match attachment.netns {
        Some(netns) => netns.run(visit)??,
        None => visit()?,
    };
    let name = attachment.inner.as_str();
    let mut requests = vec![link::switch(index, true, &format!("set {name} up"), [])];
    requests.extend(attachment.addresses.iter().map(|net| address::add(index, name, *net)));
    requests.extend(attachment.gateways.iter().map(|gateway| route::add_neighbour(index, name, *gateway)));
    let routes: BTreeSet<Route> = attachment.routes.iter().copied().collect();
    requests.extend(routes.into_iter().map(|route| route::add(index, name, route)));
    inside.requests(requests)?;
    Ok(Attached { outer_ifindex: outer, inner_ifindex: index })
}

/// Of the inner end, before it is up.
fn settings(attachment: &Attachment<'_>) -> Result<()> {
    let has = |v4: bool| attachment.addresses.iter().any(|net| net.addr().is_ipv4() == v4);
    if has(false) {
        let interface = format!("ipv6/conf/{}", attachment.inner);
        sysctl::set(&format!("{interface}/disable_ipv6"), "0")?;
        sysctl::set(&format!("{interface}/accept_dad"), "0")?;
        sysctl::set(&format!("{interface}/accept_ra"), "0")?;
    }
    if let Some(forwarding) = attachment.forwarding {
        let value = if forwarding { "1" } else { "0" };
        if has(true) {
            sysctl::set("ipv4/ip_forward", value)?;
        }
        if has(false) {
            sysctl::set("ipv6/conf/all/forwarding", value)?;
        }
    }
    Ok(())
}

fn need(netlink: &mut Netlink, name: &str) -> Result<Link> {
    link::find(netlink, name)?.ok_or_else(|| missing(name))
}

fn number(name: &str) -> Result<u32> {
    link::index(name)?.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    Error::other(format!("find interface {name}"), "there is none")
}

/// The numbers of an existing pair's ends.
///
/// # Errors
/// One of them does not exist.
pub fn find(attachment: &Attachment<'_>) -> Result<Attached> {
    let outer = need(&mut Netlink::here()?, &attachment.outer)?;
    let inner = need(&mut inside(attachment)?, &attachment.inner)?;
    Ok(Attached { outer_ifindex: outer.ifindex, inner_ifindex: inner.ifindex })
}

fn inside(attachment: &Attachment<'_>) -> Result<Netlink> {
    match attachment.netns {
        Some(netns) => Netlink::inside(netns),
        None => Netlink::here(),
    }
}

/// Sets the outer end up: from here on packets pass.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn set_up(outer: &str) -> Result<()> {
    Netlink::here()?.request(link::switch(number(outer)?, true, &format!("set {outer} up"), []))
}

/// Takes a pair out of use without waiting for anything: when this returns nothing passes, and both names
/// are free. What is left is deleted by [`crate::reap_dead`], or with the inner end's namespace. What does
/// not exist is success.
///
/// # Errors
/// The kernel refuses.
pub fn detach(outer: &str, inner: Option<(&NetNs, &str)>) -> Result<()> {
    let mut host = Netlink::here()?;
    // Without the outer end there is no inner one either: what has its name is somebody else's.
    let Some(link) = link::find(&mut host, outer)? else { return Ok(()) };
    // The inner end first: if this ends half-way, the outer one still says whose the pair is.
    if let Some((netns, name)) = inner {
        let mut inside = Netlink::inside(netns)?;
        if let Some(end) = link::find(&mut inside, name)?
            && (end.peer, link.peer) == (link.ifindex, end.ifindex)
        {
            let bury = [LinkAttribute::IfName(DEAD_NAME.into())];
            let request = link::switch(end.ifindex, false, &format!("take {name} away"), bury);
            link::ignore_missing(inside.request(request))?;
        }
    }
    let bury = [LinkAttribute::Group(DEAD_GROUP), LinkAttribute::IfName(DEAD_NAME.into())];
    link::ignore_missing(host.request(link::switch(link.ifindex, false, &format!("take {outer} away"), bury)))
}

/// Deletes an interface, and its peer with it, and waits until it is gone. None of that name is success.
///
/// # Errors
/// The kernel refuses.
pub fn remove(name: &str) -> Result<()> {
    let mut host = Netlink::here()?;
    match link::find(&mut host, name)? {
        Some(link) => link::ignore_missing(host.request(link::delete(link.ifindex, name))),
        None => Ok(()),
    }
}
