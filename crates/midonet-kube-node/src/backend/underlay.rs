//! What carries the tunnels of this node, and how large a Pod's packet it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use model::{Diff, Problem};
use plumbing::Netlink;
use plumbing::underlay::{self, Path, Uplink};

/// RFC 8200, section 5: every link that carries IPv6 takes packets of this size.
const LEAST_MTU_OF_IPV6: u32 = 1280;

/// RFC 791, section 3.2: what every host takes.
const LEAST_MTU: u32 = 576;

/// What a link is taken to carry before a route leads out of any.
const USUAL_MTU: u32 = 1500;

/// So many tunnels are asked about at once: a change of a route seldom concerns one alone, and whatever the kernel
/// routes elsewhere still arrives.
pub(super) const TUNNELS: usize = 8;

/// The tunnels to other nodes, and where the kernel routes them.
#[derive(Debug, Default)]
pub struct Tunnels(BTreeMap<IpAddr, Tunnel>);

/// A tunnel to one address.
#[derive(Debug)]
struct Tunnel {
    /// Where it ends here.
    own: IpAddr,
    /// Where it leads: `Some(None)` is nowhere, `None` not known yet.
    path: Option<Option<Path>>,
}

/// The interfaces that the routes to the other nodes lead out of; while there is no other node, the one that holds
/// this node's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// The interfaces, by ifindex.
    pub uplinks: Vec<Uplink>,
    /// The largest packet of a Pod that fits into a tunnel, in bytes.
    pub mtu: u32,
}

impl Tunnels {
    /// Takes in what changed.
    pub fn change(&mut self, Diff { upserts, removals }: Diff<IpAddr, IpAddr>) {
        for (end, own) in upserts {
            self.0.insert(end, Tunnel { own, path: None });
        }
        for end in removals {
            self.0.remove(&end);
        }
    }

    /// Forgets where the tunnels lead.
    pub fn forget(&mut self) {
        self.0.values_mut().for_each(|tunnel| tunnel.path = None);
    }

    /// Asks the kernel where those tunnels lead that are not known yet, and what carries all of them.
    ///
    /// # Errors
    /// No interface holds this node's tunnel address, or the kernel does not tell.
    pub fn ask(&mut self, tunnel_address: IpAddr, has_ipv6: bool) -> Result<Underlay> {
        let holder = underlay::holder(tunnel_address).with_context(|| {
            format!("no interface holds this node's tunnel address {tunnel_address}; correct the Node's InternalIP")
        })?;
        let mut netlink = Netlink::here()?;
        for (end, tunnel) in self.0.iter_mut().filter(|(_, tunnel)| tunnel.path.is_none()) {
            tunnel.path = Some(underlay::path(&mut netlink, tunnel.own, *end)?);
        }
        let ifindexes: BTreeSet<u32> =
            self.paths().flat_map(|(_, path)| path.ifindexes.iter().copied()).collect();
        let mut uplinks = Vec::new();
        for ifindex in ifindexes {
            // Nobody else is behind the loopback interface.
            uplinks.extend(underlay::uplink(&mut netlink, ifindex)?.filter(|uplink| !uplink.loopback));
        }
        if uplinks.is_empty() {
            uplinks.push(if holder.loopback {
                Uplink { mtu: holder.mtu.min(USUAL_MTU), ..holder }
            } else {
                holder
            });
        }
        let all: Vec<u32> = self.paths().filter_map(|(end, path)| carried(end, path, &uplinks)).collect();
        let alone =
            || uplinks.iter().map(|uplink| uplink.mtu.saturating_sub(tunnel_overhead(tunnel_address))).min();
        let mtu = pods_mtu(&all, has_ipv6).or_else(alone).unwrap_or(0);
        Ok(Underlay { uplinks, mtu })
    }

    /// The other end of each tunnel that leads anywhere, and its path.
    fn paths(&self) -> impl Iterator<Item = (IpAddr, &Path)> {
        self.0.iter().filter_map(|(end, tunnel)| Some((*end, tunnel.path.as_ref()?.as_ref()?)))
    }

    /// What is wrong with single tunnels: no route leads along, or not even the smallest packets fit that Pods have to be
    /// able to send.
    pub fn problems(&self, underlay: &Underlay, has_ipv6: bool) -> Vec<Problem> {
        let unrouted = self.0.iter().filter(|(_, tunnel)| tunnel.path == Some(None)).map(|(end, tunnel)| {
            let own = tunnel.own;
            let problem =
                format!("no route leads from {own} to it: the Pods of the node there are not reached");
            let remedy = "see `ip route get`, and whether an interface of this node holds its own address";
            Problem::new("route", format!("tunnel to {end}"), problem, remedy)
        });
        let carried =
            self.paths().filter_map(|(end, path)| Some((end, carried(end, path, &underlay.uplinks)?)));
        let narrow = carried.filter(|(_, mtu)| *mtu < least(has_ipv6)).map(|(end, mtu)| {
            let problem = format!(
                "the path to the node there carries packets of {mtu} bytes in a tunnel: larger ones are lost"
            );
            let remedy = "raise the MTU of the route and the interface that lead there";
            Problem::new("mtu", format!("tunnel to {end}"), problem, remedy)
        });
        unrouted.chain(narrow).collect()
    }

    /// What has changed since the kernel was asked; `None` if nothing has. Of the tunnels, so many are asked about, from
    /// the `turn`th on.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn difference(&self, underlay: &Underlay, turn: usize, count: usize) -> Result<Option<String>> {
        let mut netlink = Netlink::here()?;
        for before in &underlay.uplinks {
            let now = underlay::uplink(&mut netlink, before.ifindex)?;
            // That of a loopback interface is none of a link.
            if !before.loopback && now.as_ref() != Some(before) {
                let now =
                    now.map_or("gone".into(), |now| format!("{} with an MTU of {}", now.ifname, now.mtu));
                return Ok(Some(format!("{} with an MTU of {} is now {now}", before.ifname, before.mtu)));
            }
        }
        let start = turn.checked_rem(self.0.len()).unwrap_or(0);
        for (end, tunnel) in self.0.iter().cycle().skip(start).take(count.min(self.0.len())) {
            if let Some(before) = &tunnel.path
                && underlay::path(&mut netlink, tunnel.own, *end)? != *before
            {
                return Ok(Some(format!("the route from {} to {end} is another", tunnel.own)));
            }
        }
        Ok(None)
    }
}

impl Underlay {
    /// The names of the interfaces.
    pub fn names(&self) -> String {
        self.uplinks.iter().map(|uplink| uplink.ifname.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether frames of all interfaces have Ethernet headers.
    pub fn is_ethernet(&self) -> bool {
        self.uplinks.iter().all(|uplink| uplink.ethernet)
    }
}

/// What a tunnel adds to a packet, in bytes: outer IP header, UDP, VXLAN and the inner Ethernet header (RFC 7348,
/// section 5).
fn tunnel_overhead(end: IpAddr) -> u32 {
    match end {
        IpAddr::V4(_) => 20 + 8 + 8 + 14,
        IpAddr::V6(_) => 40 + 8 + 8 + 14,
    }
}

/// The largest packet of a Pod that a path carries in a tunnel, in bytes; `None` if it leads out of no uplink.
fn carried(end: IpAddr, path: &Path, uplinks: &[Uplink]) -> Option<u32> {
    let links = uplinks.iter().filter(|uplink| path.ifindexes.contains(&uplink.ifindex));
    let link = links.map(|uplink| uplink.mtu).min()?;
    Some(path.mtu.map_or(link, |mtu| mtu.min(link)).saturating_sub(tunnel_overhead(end)))
}

/// The least packet that Pods have to be able to send, in bytes.
fn least(has_ipv6: bool) -> u32 {
    if has_ipv6 { LEAST_MTU_OF_IPV6 } else { LEAST_MTU }
}

/// The Pods' MTU: what every path carries, but for those that carry too little for Pods at all. One such path harms
/// no others; if all are like that, the largest.
fn pods_mtu(paths: &[u32], has_ipv6: bool) -> Option<u32> {
    let enough = paths.iter().copied().filter(|mtu| *mtu >= least(has_ipv6)).min();
    enough.or_else(|| paths.iter().copied().max())
}

/// What is wrong with the Pods' MTU on this underlay, and the remedy: packets above the path's would be lost, and IPv6
/// needs 1280 (RFC 8200, section 5). `setting` is --mtu.
pub fn mtu_problem(underlay: &Underlay, has_ipv6: bool, setting: Option<u32>) -> Option<(String, String)> {
    let (names, mtu, least) = (underlay.names(), underlay.mtu, least(has_ipv6));
    let carries = format!("the uplink {names} carries packets of {mtu} bytes in a tunnel");
    match setting {
        Some(setting) if setting > mtu => Some((
            format!("--mtu {setting} is too large: {carries}"),
            format!("leave --mtu out or set it to at most {mtu}, or raise the uplink's MTU"),
        )),
        _ if mtu < least => Some((
            format!("Pods would have an MTU below the least of {least}: {carries}"),
            if has_ipv6 {
                format!(
                    "raise the MTU of {names} by {}, or give Pods IPv4 alone: leave the IPv6 CIDR out of --cluster-cidr \
                     and of the controller manager's, and the Nodes' podCIDRs",
                    least.saturating_sub(mtu)
                )
            } else {
                format!("raise the MTU of {names} by {}", least.saturating_sub(mtu))
            },
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
