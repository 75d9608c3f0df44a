//! Repairing a pair: as little as is wrong, so that connections through it live on.

use netlink_packet_route::link::LinkAttribute;

use super::find::inside;
use super::pair::{self, VethPair};
use crate::error::{Error, Result};
use crate::link::{self, Link, request};
use crate::netlink::{Netlink, Request};
use crate::netns::NetNs;
use crate::route::KernelRoute;
use crate::{address, route, sysctl, tc};

/// Makes an existing pair, whose container side is in `netns` (`None`: in this thread's namespace), what it should
/// be: the settings of both sides, the block, missing addresses and routes. Others are left alone.
///
/// # Errors
/// One side does not exist, so that the pair has to be created again; or the kernel refuses.
pub fn repair(netns: Option<&NetNs>, pair: &VethPair) -> Result<()> {
    let mut host = Netlink::here()?;
    let host_side = link::require(&mut host, &pair.host_ifname)?;
    let mut inside = inside(netns)?;
    let container_side = link::require(&mut inside, &pair.ifname)?;
    let settings = pair::settings(pair);
    match netns {
        Some(netns) => netns.run(|| sysctl::set_all(&settings))??,
        None => sysctl::set_all(&settings)?,
    }
    inside.requests(changes(&container_side, pair.mac, pair.mtu, None))?;
    // Only now: a link that was down has lost its IPv6 addresses and all its routes.
    let (index, name) = (container_side.ifindex, pair.ifname.as_str());
    let has = address::list(&mut inside)?;
    let missing = pair.addresses.iter().filter(|net| !has.contains(&(index, **net)));
    inside.requests(missing.map(|net| address::add(index, name, *net)).collect())?;
    let has = route::list(&mut inside, index)?;
    let is_missing = |wanted: &&KernelRoute| !has.iter().any(|route| route.satisfies(wanted));
    let missing = pair::all_routes(pair);
    let missing = missing.iter().filter(is_missing).map(|route| route::add(index, name, route));
    inside.requests(missing.map(route::replacing).collect())?;

    host.requests(changes(&host_side, pair.host_mac, pair.mtu, Some(&pair.alias)))?;
    if pair.in_block { tc::join(&mut host, &host_side) } else { Ok(()) }
}

/// What the host side of a Pod's veth pair should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSide {
    /// Its ifindex, which never changes.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its alias; `None`: it is left as it is.
    pub alias: Option<String>,
    /// Whether it is in the datapath's block and in no bridge; if not, both are left as they are.
    pub in_block: bool,
}

/// Makes the host side of a Pod's pair what it should be: up, with this name, alias and MAC address, and if it is so wanted in
/// the block and in no bridge. Its MTU is set by [`set_mtus`](super::set_mtus), since it must not be smaller than the
/// container side's.
///
/// # Errors
/// There is no such interface, another one has its name, or the kernel refuses.
pub fn repair_host_side(wanted: &HostSide) -> Result<()> {
    let mut host = Netlink::here()?;
    let HostSide { ifindex, name, mac, alias, in_block } = wanted;
    let what = format!("find interface {ifindex}, which was {name}");
    let mut link = link::get(&mut host, *ifindex)?.ok_or_else(|| Error::other(what, "there is none"))?;
    // In the block before it is up: nothing passes the datapath by.
    if *in_block {
        tc::join(&mut host, &link)?;
    }
    if *in_block && link.master != 0 {
        let leave = request::change(
            *ifindex,
            &format!("take {name} out of interface {}", link.master),
            [LinkAttribute::Controller(0)],
        );
        host.request(leave)?;
    }
    if link.name != *name {
        link.up &= link::rename(&mut host, &link, name)?;
        link.name.clone_from(name);
    }
    host.requests(changes(&link, *mac, link.mtu, alias.as_deref()))
}

/// The changes that one side needs.
fn changes(link: &Link, mac: [u8; 6], mtu: u32, alias: Option<&str>) -> Vec<Request> {
    let (index, name) = (link.ifindex, link.name.as_str());
    let mut requests = Vec::new();
    let mut change = |what: &str, attribute| {
        requests.push(request::change(index, &format!("set the {what} of {name}"), [attribute]));
    };
    if link.mac != mac {
        change("MAC address", LinkAttribute::Address(mac.to_vec()));
    }
    if link.mtu != mtu {
        change("MTU", LinkAttribute::Mtu(mtu));
    }
    if let Some(alias) = alias.filter(|alias| *alias != link.alias) {
        change("alias", LinkAttribute::IfAlias(alias.to_owned()));
    }
    if !link.up {
        requests.push(request::switch(index, true, &format!("set {name} up"), []));
    }
    requests
}
