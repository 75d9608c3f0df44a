//! The messages that make a pair.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};

use super::pair::VethPair;
use crate::link::request;
use crate::netlink::Request;
use crate::netns::NetNs;

/// One message for both sides. The container side is created in the container's namespace: moving it there costs an
/// RCU wait.
pub(super) fn create(pair: &VethPair, netns: Option<&NetNs>) -> Request {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(pair.ifname.clone()),
        LinkAttribute::Address(pair.mac.to_vec()),
        LinkAttribute::Mtu(pair.mtu),
    ];
    peer.attributes.extend(one_queue());
    if let Some(netns) = netns {
        peer.attributes.push(LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()));
    }
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
    let mut attributes = vec![
        LinkAttribute::Address(pair.host_mac.to_vec()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::LinkInfo(info),
    ];
    attributes.extend(one_queue());
    request::create(&pair.host_ifname, attributes)
}

/// A veth uses one queue. By default the kernel creates one for every CPU and then removes the others, which waits
/// for RCU.
fn one_queue() -> [LinkAttribute; 2] {
    [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]
}

/// Sets the container side up, and its forwarding off if that is wanted.
pub(super) fn set_up(pair: &VethPair, ifindex: u32) -> Request {
    let mut attributes = Vec::new();
    if pair.forwarding == Some(false) {
        attributes.push(request::no_forwarding());
    }
    request::switch(ifindex, true, &format!("set {} up", pair.ifname), attributes)
}
