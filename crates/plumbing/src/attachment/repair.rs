//! Putting back what somebody else took from a pair or changed of it: as little as is wrong, so that
//! connections through the pair live on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use netlink_packet_route::link::LinkAttribute;

use super::{Attachment, inside, need, routes, settings};
use crate::link::{self, Link};
use crate::netlink::Request;
use crate::{Error, NetNs, Netlink, Result, Route, address, route, sysctl, tc};

/// The name of an interface whose own somebody else needs.
const FREE_NAME: &str = "midofree%d";

/// Where container runtimes keep Pods' namespaces.
const NAMESPACES: &str = "/run/netns";

/// Makes an existing pair what it should be, in place: both ends' settings, the block, addresses and
/// routes that are missing. More than was asked for is left alone.
///
/// # Errors
/// An end does not exist: then the pair must be made anew. Or the kernel refuses.
pub fn repair(attachment: &Attachment<'_>) -> Result<()> {
    let mut host = Netlink::here()?;
    let outer = need(&mut host, &attachment.outer)?;
    let mut inside = inside(attachment)?;
    let inner = need(&mut inside, &attachment.inner)?;
    let settings = settings(attachment);
    match attachment.netns {
        Some(netns) => netns.run(|| sysctl::set_all(&settings))??,
        None => sysctl::set_all(&settings)?,
    }
    inside.requests(end(&inner, attachment.inner_mac, attachment.mtu, None))?;
    // Only now: a link that was down has lost its IPv6 addresses and all its routes.
    let (index, name) = (inner.ifindex, attachment.inner.as_str());
    let has = address::list(&mut inside)?;
    let missing = attachment.addresses.iter().filter(|net| !has.contains(&(index, **net)));
    inside.requests(missing.map(|net| address::add(index, name, *net)).collect())?;
    let has = route::list(&mut inside, index)?;
    let is_missing = |wanted: &&Route| !has.iter().any(|route| route.satisfies(wanted));
    let missing = routes(attachment);
    let missing = missing.iter().filter(is_missing).map(|route| route::add(index, name, route));
    inside.requests(missing.map(route::replacing).collect())?;

    host.requests(end(&outer, attachment.outer_mac, attachment.mtu, Some(&attachment.alias)))?;
    tc::join(&mut host, &outer)
}

/// Takes every address but these away from an interface, and returns what it took. What the kernel gave it for its link
/// alone stays.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn keep_addresses(ifname: &str, keep: &[IpNet]) -> Result<Vec<IpNet>> {
    let mut netlink = Netlink::here()?;
    let index = need(&mut netlink, ifname)?.ifindex;
    let of_link = |address: &IpNet| matches!(address, IpNet::V6(v6) if v6.addr().is_unicast_link_local());
    let mut others = address::list(&mut netlink)?;
    others.retain(|(owner, address)| *owner == index && !keep.contains(address) && !of_link(address));
    let others: Vec<IpNet> = others.into_iter().map(|(_, address)| address).collect();
    netlink.requests(others.iter().map(|address| address::delete(index, ifname, *address)).collect())?;
    Ok(others)
}

/// What the host side of a Pod's veth pair should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outer {
    /// Its number, which it keeps whatever else is changed.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its alias; `None`: as it is.
    pub alias: Option<String>,
}

/// Makes a Pod's outer end what it should be: up, with that name, alias and MAC address, in the block and in no bridge.
/// Its MTU follows [`set_mtus`], since it must not be smaller than the inner end's.
///
/// # Errors
/// There is no such interface, another one has its name, or the kernel refuses.
pub fn repair_outer(wanted: &Outer) -> Result<()> {
    let mut host = Netlink::here()?;
    let Outer { ifindex, name, mac, alias } = wanted;
    let what = format!("find interface {ifindex}, which was {name}");
    let mut outer =
        link::get(&mut host, *ifindex)?.ok_or_else(|| Error::other(what, "there is none of that number"))?;
    // In the block before it is up: nothing passes unjudged.
    tc::join(&mut host, &outer)?;
    if outer.master != 0 {
        let leave = link::change(
            *ifindex,
            &format!("take {name} out of interface {}", outer.master),
            [LinkAttribute::Controller(0)],
        );
        host.request(leave)?;
    }
    if outer.name != *name {
        outer.up &= rename(&mut host, &outer, name)?;
        outer.name.clone_from(name);
    }
    host.requests(end(&outer, *mac, outer.mtu, alias.as_deref()))
}

/// Gives an interface another name that is free, so that somebody else can have its own. The kernel puts a number in.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn free_name(ifindex: u32) -> Result<()> {
    let mut host = Netlink::here()?;
    let what = format!("find interface {ifindex}");
    let link =
        link::get(&mut host, ifindex)?.ok_or_else(|| Error::other(what, "there is none of that number"))?;
    rename(&mut host, &link, FREE_NAME).map(|_| ())
}

/// Whether it is still up: Linux before 6.2 renames no interface that is.
fn rename(host: &mut Netlink, link: &Link, name: &str) -> Result<bool> {
    let what = format!("give {} the name {name}", link.name);
    let request = || link::change(link.ifindex, &what, [LinkAttribute::IfName(name.to_owned())]);
    match host.request(request()) {
        Err(error) if error.is_busy() => {
            host.requests(vec![link::switch(link.ifindex, false, &what, []), request()])?;
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

fn end(link: &Link, mac: [u8; 6], mtu: u32, alias: Option<&str>) -> Vec<Request> {
    let (index, name) = (link.ifindex, link.name.as_str());
    let mut requests = Vec::new();
    let mut change = |what: &str, attribute| {
        requests.push(link::change(index, &format!("set the {what} of {name}"), [attribute]));
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
        requests.push(link::switch(index, true, &format!("set {name} up"), []));
    }
    requests
}

/// Gives both sides of Pods' veth pairs another MTU, each named by the ifindex of its host side and the MAC address of
/// its container side. Container sides are looked for where runtimes keep namespaces, and among the processes: each
/// namespace is entered once, until all are found. The result of a pair is `false` if its namespace is not there: then
/// both sides are left as they are. (The kernel takes IFLA_TARGET_NETNSID in a change of a link for a wish to move it.)
///
/// # Errors
/// The kernel does not list the host's links. What fails for one pair is that pair's result.
pub fn set_mtus(pairs: &[(u32, [u8; 6])], mtu: u32) -> Result<Vec<Result<bool>>> {
    let mut host = Netlink::here()?;
    let links = link::list(&mut host)?;
    let mut results: Vec<Result<bool>> = pairs.iter().map(|_| Ok(false)).collect();
    let mut left: BTreeMap<u32, (usize, &Link, [u8; 6])> = BTreeMap::new();
    for (place, (ifindex, mac)) in pairs.iter().enumerate() {
        if let Some(link) = links.iter().find(|link| link.ifindex == *ifindex) {
            left.insert(*ifindex, (place, link, *mac));
        }
    }
    let mut visited = BTreeSet::new();
    for path in namespaces() {
        if left.is_empty() {
            break;
        }
        let Ok(netns) = NetNs::open(&path) else { continue };
        if !netns.identity().is_ok_and(|identity| visited.insert(identity)) {
            continue;
        }
        let Ok(mut inside) = Netlink::inside(&netns) else { continue };
        for inner in link::list(&mut inside).unwrap_or_default() {
            let is_its =
                |(_, outer, mac): &(usize, &Link, [u8; 6])| inner.is_other_end_of(outer) && inner.mac == *mac;
            if left.get(&inner.peer).is_some_and(is_its)
                && let Some((place, outer, _)) = left.remove(&inner.peer)
                && let Some(result) = results.get_mut(place)
            {
                *result = set_mtu(&mut host, outer, &mut inside, &inner, mtu).map(|()| true);
            }
        }
    }
    Ok(results)
}

/// The sender's side never has the larger MTU: the other would drop what it sends.
fn set_mtu(host: &mut Netlink, outer: &Link, inside: &mut Netlink, inner: &Link, mtu: u32) -> Result<()> {
    let set = |link: &Link| {
        link::change(link.ifindex, &format!("set the MTU of {}", link.name), [LinkAttribute::Mtu(mtu)])
    };
    if mtu < outer.mtu {
        inside.request(set(inner))?;
        host.request(set(outer))
    } else {
        host.request(set(outer))?;
        inside.request(set(inner))
    }
}

fn namespaces() -> Vec<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let named: Vec<_> = entries(Path::new(NAMESPACES)).collect();
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let of_processes = entries(Path::new("/proc")).filter(is_process).map(|path| path.join("ns/net"));
    named.into_iter().chain(of_processes).collect()
}
