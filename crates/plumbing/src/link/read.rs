use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};

use crate::error::Result;
use crate::netlink::Netlink;

/// What the kernel calls the interface of a datapath (`dp_device_ops` in its `net/openvswitch/vport-internal_dev.c`).
const OVS: &str = "openvswitch";

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its index in its namespace.
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
    /// Of a veth: its peer's ifindex, in the namespace of the peer; 0 for others.
    pub peer: u32,
    /// This namespace's id of the peer's namespace (nsid); `None` if it is the same.
    pub peer_netns: Option<i32>,
    /// The ifindex of the bridge, bond or VRF that it is part of; 0 if it is of none.
    pub master: u32,
    /// Whether it is made by software alone (IFLA_INFO_KIND): a veth, a bridge, a tunnel.
    pub is_virtual: bool,
    /// Whether it is a VRF: a routing domain of its own.
    pub vrf: bool,
    /// Whether it stands for a datapath of the kernel's Open vSwitch: the master of the interfaces that are its ports.
    pub ovs_datapath: bool,
    /// Its traffic counters.
    pub stats: Stats,
}

/// An interface's traffic counters.
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
    /// Whether these two are one veth pair, seen from the namespaces of both.
    pub fn is_peer_of(&self, other: &Self) -> bool {
        (self.peer, other.peer) == (other.ifindex, self.ifindex)
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
                    link.ovs_datapath = infos.contains(&LinkInfo::Kind(InfoKind::Other(OVS.to_owned())));
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
/// The kernel does not answer.
pub fn list() -> Result<Vec<Link>> {
    list_in(&mut Netlink::here()?)
}

/// The peers of veth interfaces, as far as they still exist, in the order of `links`. No namespace is
/// entered: the kernel answers for another one by its id (IFLA_TARGET_NETNSID).
///
/// # Errors
/// The kernel does not answer.
pub fn peers<'a>(links: impl IntoIterator<Item = &'a Link>) -> Result<Vec<Option<Link>>> {
    let mut netlink = Netlink::here()?;
    links.into_iter().map(|link| peer(&mut netlink, link)).collect()
}

fn peer(netlink: &mut Netlink, link: &Link) -> Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.header.index = link.peer;
    message.attributes.extend(link.peer_netns.map(LinkAttribute::IfNetnsId));
    match netlink.get(&format!("look up the peer of {}", link.name), RouteNetlinkMessage::GetLink(message)) {
        Ok(RouteNetlinkMessage::NewLink(other)) => Ok(Some(Link::read(other))),
        Ok(_) => Ok(None),
        Err(error) if error.is_missing() || error.is(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The interface of that name in this thread's namespace, if there is one; without its statistics.
///
/// # Errors
/// The kernel does not answer.
pub fn find(name: &str) -> Result<Option<Link>> {
    Netlink::here()?.find(name)
}

pub(crate) fn list_in(netlink: &mut Netlink) -> Result<Vec<Link>> {
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

/// The interface with this ifindex, without its statistics.
pub(crate) fn get(netlink: &mut Netlink, ifindex: u32) -> Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    one(netlink, &format!("look up interface {ifindex}"), message)
}

impl Netlink {
    /// The interface of that name in the socket's namespace, if there is one; without its statistics.
    ///
    /// # Errors
    /// The kernel does not answer.
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
