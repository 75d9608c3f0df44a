//! Links: what there is, and the messages that make and change them.

use netlink_packet_core::{DefaultNla, Emitable as _, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};

use crate::netlink::Request;
use crate::{Netlink, Result, sysctl};

/// The link group of interfaces that only wait to be deleted (`ip link show group 7021`).
pub const DEAD_GROUP: u32 = 7021;

/// IFLA_INET_CONF (linux/if_link.h).
const INET_CONF: u16 = 1;

/// IPV4_DEVCONF_FORWARDING (linux/ip.h).
const DEVCONF_FORWARDING: u16 = 1;

/// The link group of the interfaces that are being deleted now.
const REAP_GROUP: u32 = 7022;

/// The name that a dead interface gets whose own is needed; the kernel puts a number in.
pub(crate) const DEAD_NAME: &str = "midodead%d";

/// RFC 8200, section 5: on an interface with a smaller MTU the kernel has no IPv6.
const LEAST_MTU_OF_IPV6: u32 = 1280;

/// What the name of each of our interfaces begins with: nobody else's is deleted, whatever its group.
const PREFIX: &str = "mido";

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its number in its namespace.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Whether its frames have Ethernet headers.
    pub ethernet: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
    /// Its MAC address; zero if it has none.
    pub mac: [u8; 6],
    /// In bytes.
    pub mtu: u32,
    /// Its alias (`ip link set DEV alias TEXT`); empty if it has none.
    pub alias: String,
    /// Its group.
    pub group: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Of a veth: its other end's number, in the namespace where that is; 0 for others.
    pub peer: u32,
    /// The number that this namespace has for that other one; `None` if it is the same.
    pub peer_netns: Option<i32>,
    /// The number of the bridge, bond or VRF that it is part of; 0 if it is of none.
    pub master: u32,
    /// Whether it is made by software alone (IFLA_INFO_KIND): a veth, a bridge, a tunnel.
    pub is_virtual: bool,
    /// Whether it is a VRF: a routing domain of its own.
    pub vrf: bool,
    /// What passed it.
    pub stats: Stats,
}

/// What passed an interface, from the interface's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

impl Link {
    /// Whether these two are one pair, seen from the namespaces of both.
    pub fn is_other_end_of(&self, other: &Self) -> bool {
        (self.peer, other.peer) == (other.ifindex, self.ifindex)
    }

    /// Whether it only waits to be deleted, though it may still have the name and the alias of a Pod's.
    pub fn is_dead(&self) -> bool {
        matches!(self.group, DEAD_GROUP | REAP_GROUP)
    }

    fn read(message: LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            loopback: message.header.flags.contains(LinkFlags::Loopback),
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(mac) => link.mac = mac.try_into().unwrap_or_default(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::Link(peer) => link.peer = peer,
                LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(id),
                LinkAttribute::Controller(master) => link.master = master,
                LinkAttribute::LinkInfo(infos) => {
                    link.vrf = infos.contains(&LinkInfo::Kind(InfoKind::Vrf));
                    link.is_virtual = infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
                }
                LinkAttribute::Stats64(stats) => {
                    link.stats = Stats {
                        rx_packets: stats.rx_packets,
                        rx_bytes: stats.rx_bytes,
                        tx_packets: stats.tx_packets,
                        tx_bytes: stats.tx_bytes,
                    };
                }
                _ => {}
            }
        }
        link
    }
}

/// The interfaces of this thread's namespace, without their statistics.
///
/// # Errors
/// The kernel does not tell.
pub fn list_ports() -> Result<Vec<Link>> {
    list(&mut Netlink::here()?)
}

/// The other ends of veth pairs, as far as they still exist, in the order of `links`. No namespace is
/// entered: the kernel answers for another one by its number (IFLA_TARGET_NETNSID).
///
/// # Errors
/// The kernel does not tell.
pub fn peers<'a>(links: impl IntoIterator<Item = &'a Link>) -> Result<Vec<Option<Link>>> {
    let mut netlink = Netlink::here()?;
    links.into_iter().map(|link| peer(&mut netlink, link)).collect()
}

fn peer(netlink: &mut Netlink, link: &Link) -> Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.header.index = link.peer;
    message.attributes.extend(link.peer_netns.map(LinkAttribute::IfNetnsId));
    match netlink
        .get(&format!("look at the other end of {}", link.name), RouteNetlinkMessage::GetLink(message))
    {
        Ok(RouteNetlinkMessage::NewLink(other)) => Ok(Some(Link::read(other))),
        Ok(_) => Ok(None),
        Err(error) if error.is_missing() || error.is(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The interface of that name in this thread's namespace, if there is one; without its statistics.
///
/// # Errors
/// The kernel does not tell.
pub fn find_port(name: &str) -> Result<Option<Link>> {
    Netlink::here()?.find(name)
}

pub(crate) fn list(netlink: &mut Netlink) -> Result<Vec<Link>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let messages = netlink.dump("list interfaces", &RouteNetlinkMessage::GetLink(message))?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::read(link)),
            _ => None,
        })
        .collect())
}

/// The interface of that number, without its statistics.
pub(crate) fn get(netlink: &mut Netlink, ifindex: u32) -> Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    one(netlink, &format!("look up interface {ifindex}"), message)
}

impl Netlink {
    /// The interface of that name in the socket's namespace, if there is one; without its statistics.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        one(self, &format!("look up interface {name}"), message)
    }
}

fn one(netlink: &mut Netlink, what: &str, mut message: LinkMessage) -> Result<Option<Link>> {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match netlink.get(what, RouteNetlinkMessage::GetLink(message)) {
        Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(Link::read(link))),
        Ok(_) => Ok(None),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes at most `most` dead interfaces of this thread's namespace, all in one go: the kernel waits for
/// RCU once for all of them, and holds its lock for as long as that takes. Returns how many they were.
///
/// # Errors
/// The kernel refuses.
pub fn reap_dead(most: usize) -> Result<usize> {
    let mut netlink = Netlink::here()?;
    let dead: Vec<Link> = list(&mut netlink)?
        .into_iter()
        .filter(|link| link.is_dead() && link.name.starts_with(PREFIX))
        .take(most)
        .collect();
    if dead.is_empty() {
        return Ok(0);
    }
    let moves = dead.iter().filter(|link| link.group == DEAD_GROUP).map(|link| {
        change(
            link.ifindex,
            &format!("mark interface {} for deletion", link.name),
            [LinkAttribute::Group(REAP_GROUP)],
        )
    });
    // One that vanishes meanwhile (its namespace ended) is what was wanted.
    ignore_missing(netlink.requests(moves.collect()))?;
    let mut group = LinkMessage::default();
    group.attributes.push(LinkAttribute::Group(REAP_GROUP));
    ignore_missing(netlink.request(Request {
        what: "delete dead interfaces".into(),
        message: RouteNetlinkMessage::DelLink(group),
        flags: 0,
    }))?;
    Ok(dead.len())
}

pub(crate) fn ignore_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}

/// Makes a new link of these attributes.
pub(crate) fn create(name: &str, attributes: Vec<LinkAttribute>) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    Request {
        what: format!("create interface {name}"),
        message: RouteNetlinkMessage::NewLink(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Changes a link's attributes.
pub(crate) fn change(
    ifindex: u32,
    what: &str,
    attributes: impl IntoIterator<Item = LinkAttribute>,
) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes = attributes.into_iter().collect();
    Request { what: what.to_owned(), message: RouteNetlinkMessage::SetLink(message), flags: 0 }
}

/// Sets a link up or down, and changes attributes in the same go.
pub(crate) fn switch(
    ifindex: u32,
    up: bool,
    what: &str,
    attributes: impl IntoIterator<Item = LinkAttribute>,
) -> Request {
    let mut request = change(ifindex, what, attributes);
    if let RouteNetlinkMessage::SetLink(message) = &mut request.message {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    request
}

pub(crate) fn delete(ifindex: u32, name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    Request {
        what: format!("delete interface {name}"),
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
    }
}

/// Packets for others that come in here are not forwarded over IPv4, whatever the namespace's setting was when
/// the link was made. Without a look into /proc/sys, which takes long on a node with many Pods.
pub(crate) fn no_forwarding() -> LinkAttribute {
    let value = DefaultNla::new(DEVCONF_FORWARDING, 0u32.to_ne_bytes().to_vec());
    let mut nested = vec![0; value.buffer_len()];
    value.emit(&mut nested);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::Other(DefaultNla::new(
        INET_CONF, nested,
    ))])])
}

/// No IPv6 address of its own: on an interface that only leads into the network it would answer for the
/// node, and its router solicitations would be noise. Nothing is needed, nor possible, where the kernel has no IPv6:
/// nowhere, or on this interface, whose MTU is too small for it.
pub(crate) fn no_link_local(mtu: u32) -> Option<LinkAttribute> {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    (mtu >= LEAST_MTU_OF_IPV6 && sysctl::has_ipv6())
        .then(|| LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]))
}
