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
mod sides;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use std::os::fd::{AsFd, AsRawFd};

use crate::link::{self, Link};
use crate::{Error, NetNs, Netlink, Result, Route, route};

pub use differences::{Difference, Part, check};
pub use repair::{Outer, free_name, keep_addresses, repair, repair_outer, set_mtus};
pub use sides::Sides;

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
    /// Routes out of the inner end.
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
/// The step that failed; nothing is left of the pair then. [`Error::is_exists`] if a name is taken.
pub fn attach(attachment: &Attachment<'_>) -> Result<Attached> {
    let mut sides = Sides::open(attachment.netns)?;
    let made = sides.create(attachment)?;
    match sides.configure(attachment, made) {
        Ok(()) => Ok(made),
        Err(error) => {
            let _ = sides.host.request(link::delete(made.outer_ifindex, &attachment.outer));
            Err(error)
        }
    }
}

/// Which of the two names is the one that exists?
fn explain_exists(error: Error, host: &mut Netlink, attachment: &Attachment<'_>) -> Error {
    if !error.is_exists() {
        return error;
    }
    let (name, place) = match host.find(&attachment.outer) {
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
    peer.attributes.extend(one_queue());
    if let Some(netns) = attachment.netns {
        peer.attributes.push(LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()));
    }
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    let mut attributes = vec![
        LinkAttribute::Address(attachment.outer_mac.to_vec()),
        LinkAttribute::Mtu(attachment.mtu),
        LinkAttribute::LinkInfo(info),
    ];
    attributes.extend(one_queue());
    link::create(&attachment.outer, attributes)
}

/// A veth uses one queue, but unless told so it is made with one for every CPU, whose others are taken away
/// again, which waits for RCU.
fn one_queue() -> [LinkAttribute; 2] {
    [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]
}

/// Every route of the inner end: first those to the gateways, then those through them.
fn routes(attachment: &Attachment<'_>) -> Vec<Route> {
    let gateways: BTreeSet<IpAddr> = attachment.gateways.iter().copied().collect();
    let routes: BTreeSet<Route> = attachment.routes.iter().copied().collect();
    gateways.into_iter().map(route::to_neighbour).chain(routes).collect()
}

/// The inner end's own settings, below /proc/sys/net, and their values.
fn own_settings(attachment: &Attachment<'_>) -> Vec<(String, &'static str)> {
    if attachment.addresses.iter().all(|net| net.addr().is_ipv4()) {
        return Vec::new();
    }
    let setting = |name: &str| (format!("ipv6/conf/{}/{name}", attachment.inner), "0");
    ["disable_ipv6", "accept_dad", "accept_ra"].map(setting).to_vec()
}

/// Of the inner end and its namespace, before it is up.
fn settings(attachment: &Attachment<'_>) -> Vec<(String, &'static str)> {
    let mut settings = own_settings(attachment);
    let has = |v4: bool| attachment.addresses.iter().any(|net| net.addr().is_ipv4() == v4);
    if let Some(forwarding) = attachment.forwarding {
        let value = if forwarding { "1" } else { "0" };
        // A Pod's end that does not forward IPv4 is told so in the message that sets it up.
        if has(true) && forwarding {
            settings.push(("ipv4/ip_forward".into(), value));
        }
        if has(false) {
            settings.push(("ipv6/conf/all/forwarding".into(), value));
        }
    }
    settings
}

/// The inner end up, and forwarding nothing if it is so wanted.
fn set_inner_up(attachment: &Attachment<'_>, index: u32) -> crate::netlink::Request {
    let mut attributes = Vec::new();
    if attachment.forwarding == Some(false) {
        attributes.push(link::no_forwarding());
    }
    link::switch(index, true, &format!("set {} up", attachment.inner), attributes)
}

fn need(netlink: &mut Netlink, name: &str) -> Result<Link> {
    netlink.find(name)?.ok_or_else(|| Error::other(format!("find interface {name}"), "there is none"))
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
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
    let mut host = Netlink::here()?;
    let link = need(&mut host, outer)?;
    host.request(link::switch(link.ifindex, true, &format!("set {outer} up"), []))
}

/// Takes an outer end out of use by its number: no other that has its name by now. None is success.
///
/// # Errors
/// The kernel refuses.
pub fn bury(ifindex: u32, outer: &str) -> Result<()> {
    Sides::open(None)?.clear(&Link { ifindex, name: outer.to_owned(), ..Link::default() })
}

/// Deletes an interface by its number, and its peer with it, and waits until it is gone: no other that has its name
/// by now. None is success.
///
/// # Errors
/// The kernel refuses.
pub fn delete(ifindex: u32, name: &str) -> Result<()> {
    link::ignore_missing(Netlink::here()?.request(link::delete(ifindex, name)))
}

/// Deletes an interface, and its peer with it, and waits until it is gone. None of that name is success.
///
/// # Errors
/// The kernel refuses.
pub fn remove(name: &str) -> Result<()> {
    link::find_port(name)?.map_or(Ok(()), |link| delete(link.ifindex, name))
}
