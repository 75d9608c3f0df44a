use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use netlink_packet_route::link::LinkAttribute;

use crate::error::Result;
use crate::link::{self, Link, request};
use crate::netlink::Netlink;
use crate::netns::NetNs;

/// Where container runtimes keep Pods' namespaces.
const NAMESPACES: &str = "/run/netns";

/// Sets the MTU of both sides of Pods' pairs, each given by the ifindex of its host side and the MAC address of its
/// container side. Container sides are searched where runtimes keep namespaces, and among the processes: each
/// namespace is entered once, until all are found. The result of a pair is `false` if its namespace is not there:
/// then both sides are left as they are. (In a change of a link, the kernel takes IFLA_TARGET_NETNSID for a request
/// to move it.)
///
/// # Errors
/// The kernel does not list the host's links. What fails for one pair is that pair's result.
pub fn set_mtus(pairs: &[(u32, [u8; 6])], mtu: u32) -> Result<Vec<Result<bool>>> {
    let mut host = Netlink::here()?;
    let links = link::list_in(&mut host)?;
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
        for link in link::list_in(&mut inside).unwrap_or_default() {
            let is_peer = |(_, host_side, mac): &(usize, &Link, [u8; 6])| {
                link.is_peer_of(host_side) && link.mac == *mac
            };
            if left.get(&link.peer).is_some_and(is_peer)
                && let Some((place, host_side, _)) = left.remove(&link.peer)
                && let Some(result) = results.get_mut(place)
            {
                *result = set_mtu(&mut host, host_side, &mut inside, &link, mtu).map(|()| true);
            }
        }
    }
    Ok(results)
}

/// The sending side never has the larger MTU: the other side would drop its packets.
fn set_mtu(
    host: &mut Netlink,
    host_side: &Link,
    inside: &mut Netlink,
    container_side: &Link,
    mtu: u32,
) -> Result<()> {
    let set = |link: &Link| {
        request::change(link.ifindex, &format!("set the MTU of {}", link.name), [LinkAttribute::Mtu(mtu)])
    };
    if mtu < host_side.mtu {
        inside.request(set(container_side))?;
        host.request(set(host_side))
    } else {
        host.request(set(host_side))?;
        inside.request(set(container_side))
    }
}

fn namespaces() -> Vec<PathBuf> {
    let entries =
        |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path());
    let named: Vec<_> = entries(Path::new(NAMESPACES)).collect();
    let is_process = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let of_processes = entries(Path::new("/proc")).filter(is_process).map(|path| path.join("ns/net"));
    named.into_iter().chain(of_processes).collect()
}
