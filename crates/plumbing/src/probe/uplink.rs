use std::net::IpAddr;

use super::question::outside;
use crate::error::Result;
use crate::family::Family;
use crate::link::Link;
use crate::netlink::Netlink;
use crate::{address, fib};

/// An interface by which packets leave the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uplink {
    pub(super) link: Link,
    /// Whose packets to the outside leave here.
    pub(super) families: Vec<Family>,
    /// Whether tunnels' packets leave here.
    pub(super) tunnels: bool,
}

/// The most peers that are looked up to find the uplinks of tunnels.
pub(super) const MOST_PEERS: usize = 16;

/// The interfaces of the default routes and of those to other nodes. Without other nodes it is the interface that
/// holds the tunnels' address that counts.
pub(super) fn uplinks(
    netlink: &mut Netlink,
    inside: &str,
    tunnel_address: IpAddr,
    peers: &[(String, IpAddr)],
    families: &[Family],
    links: &[Link],
) -> Result<Vec<Uplink>> {
    let mut uplinks: Vec<Uplink> = Vec::new();
    let mut note = |ifindex: u32, family: Option<Family>| {
        // The tunnels' address may be on the loopback interface: no packet leaves there.
        let leaves = |link: &&Link| link.ifindex == ifindex && link.name != inside && !link.loopback;
        let Some(link) = links.iter().find(leaves) else { return };
        let tunnels = family.is_none();
        match uplinks.iter_mut().find(|uplink| uplink.link.ifindex == ifindex) {
            Some(uplink) => {
                uplink.families.extend(family);
                uplink.tunnels |= tunnels;
            }
            None => {
                let families = family.into_iter().collect();
                uplinks.push(Uplink { link: link.clone(), families, tunnels });
            }
        }
    };
    for family in families {
        if let Ok(found) = fib::lookup(netlink, outside(*family), None) {
            note(found.ifindex, Some(*family));
        }
    }
    for (_, peer) in peers.iter().take(MOST_PEERS) {
        if let Ok(found) = fib::lookup(netlink, *peer, None) {
            note(found.ifindex, None);
        }
    }
    if peers.is_empty() {
        let holders = address::list(netlink)?.into_iter();
        for (ifindex, _) in holders.filter(|(_, net)| net.addr() == tunnel_address) {
            note(ifindex, None);
        }
    }
    Ok(uplinks)
}
