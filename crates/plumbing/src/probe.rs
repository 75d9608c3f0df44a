//! What the kernel does with Pods' packets, asked of the kernel itself and not inferred from what was once set up:
//! whether they are forwarded, where addresses lead, and whether ranges of addresses overlap. Everything that is
//! found is named with its remedy; nothing is changed here.

mod firewall;
mod forwarding;
mod overlap;
mod packet;
mod routes;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::{Family, Link, Netlink, Result, link, route};

pub use firewall::filters_tunnels;
pub use forwarding::{WrongSetting, wrong_settings};
pub use overlap::overlaps;

/// Every kind of fault.
pub const KINDS: [&str; 13] = [
    "accept_ra",
    "disable_ipv6",
    "foreign_route",
    "forward_dropped",
    "forwarding",
    "input_dropped",
    "not_forwarded",
    "overlap",
    "peer_route",
    "rp_filter",
    "tunnel_dropped",
    "tunnel_past_firewall",
    "vrf",
];

/// What there is to ask about on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The node's own interface towards Pods. It need not be there yet.
    pub inside: String,
    /// Where all Pods' addresses are from.
    pub cluster_cidrs: Vec<IpNet>,
    /// Where Services' addresses are from.
    pub service_cidrs: Vec<IpNet>,
    /// The node's own address in each of its podCIDRs, with the podCIDR's prefix length.
    pub node_addresses: Vec<IpNet>,
    /// The underlay address that tunnels to this node end at.
    pub tunnel_address: IpAddr,
    /// The UDP port of tunnels.
    pub tunnel_port: u16,
    /// Whether tunnels' packets pass the node's network stack by.
    pub direct: bool,
    /// Other nodes: their names, and the underlay addresses that tunnels to them end at.
    pub peers: Vec<(String, IpAddr)>,
}

/// Something that keeps packets from where they should go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// What kind of thing it is: one of [`KINDS`].
    pub what: &'static str,
    /// Which one.
    pub object: String,
    /// What is wrong with it, and what that does to Pods.
    pub problem: String,
    /// What helps.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.object, self.problem, self.remedy)
    }
}

/// Asks the kernel again and again. What costs much is asked again only when it changed.
#[derive(Debug, Default)]
pub struct Probe {
    firewall: firewall::Firewall,
}

impl Probe {
    /// Everything that is wrong, in the namespace of this thread; in the same order each time.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn look(&mut self, question: &Question) -> Result<Vec<Fault>> {
        let mut netlink = Netlink::here()?;
        let links = link::list(&mut netlink)?;
        let mut faults = Vec::new();
        let Question { inside, tunnel_address, peers, .. } = question;
        let uplinks = uplinks(&mut netlink, inside, *tunnel_address, peers, &question.families(), &links)?;
        let routes = route::all(&mut netlink)?;
        faults.extend(forwarding::look(question, &uplinks, &links, &routes));
        faults.extend(routes::look(&mut netlink, question, &links, &uplinks, &routes));
        faults.extend(self.firewall.look(question, &links, &uplinks)?);
        faults.extend(overlap::look(&mut netlink, question, &links)?);
        faults.sort();
        faults.dedup();
        Ok(faults)
    }
}

/// An interface by which packets leave the node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Uplink {
    link: Link,
    /// Whose packets to the outside leave here.
    families: Vec<Family>,
    /// Whether tunnels' packets leave here.
    tunnels: bool,
}

/// So many nodes are looked up to find where tunnels leave.
const MOST_PEERS: usize = 16;

/// Where the default routes and those to other nodes lead out of. Without other nodes it is the interface that holds the
/// tunnels' address that counts.
fn uplinks(
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
        if let Ok(found) = route::lookup(netlink, outside(*family), None) {
            note(found.ifindex, Some(*family));
        }
    }
    for (_, peer) in peers.iter().take(MOST_PEERS) {
        if let Ok(found) = route::lookup(netlink, *peer, None) {
            note(found.ifindex, None);
        }
    }
    if peers.is_empty() {
        let holders = crate::address::list(netlink)?.into_iter();
        for (ifindex, _) in holders.filter(|(_, net)| net.addr() == tunnel_address) {
            note(ifindex, None);
        }
    }
    Ok(uplinks)
}

/// An address of no node and no Pod (RFC 5737, RFC 3849): it stands for the outside.
fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(),
    }
}

impl Question {
    /// The families that Pods have.
    fn families(&self) -> Vec<Family> {
        let has = |family: &Family| self.node_addresses.iter().any(|net| Family::of(net.addr()) == *family);
        [Family::V4, Family::V6].into_iter().filter(has).collect()
    }

    /// The node's own address of a family.
    fn node_address(&self, family: Family) -> Option<IpAddr> {
        self.node_addresses.iter().map(IpNet::addr).find(|address| Family::of(*address) == family)
    }

    /// What a Pod's address may be: the next after the node's.
    fn pod_address(&self, family: Family) -> Option<IpAddr> {
        Some(match self.node_address(family)? {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
        })
    }
}
