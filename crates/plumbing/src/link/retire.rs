//! Taking interfaces out of use, and deleting them later: the deletion of an interface waits for RCU.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::read::{Link, list_in};
use super::request;
use crate::error::Result;
use crate::netlink::{Netlink, Request};

/// The link group of retired interfaces (`ip link show group 7021`).
pub const RETIRED_GROUP: u32 = 7021;

/// The link group of the interfaces that are being deleted now.
const DELETION_GROUP: u32 = 7022;

/// The name of a retired interface whose own name is needed; the kernel puts a number in.
pub(crate) const RETIRED_NAME: &str = "midodead%d";

/// The first characters of the name of each of our interfaces: no other is deleted, whatever its group.
const PREFIX: &str = "mido";

impl Link {
    /// Whether it waits for its deletion. It may still have the name and the alias of a Pod's interface.
    pub fn is_retired(&self) -> bool {
        matches!(self.group, RETIRED_GROUP | DELETION_GROUP)
    }
}

/// Retires the interface with this ifindex, and frees its name. None is success.
///
/// # Errors
/// The kernel refuses.
pub fn retire(ifindex: u32, name: &str) -> Result<()> {
    retire_in(&mut Netlink::here()?, ifindex, name)
}

pub(crate) fn retire_in(netlink: &mut Netlink, ifindex: u32, name: &str) -> Result<()> {
    let attributes = [LinkAttribute::Group(RETIRED_GROUP), LinkAttribute::IfName(RETIRED_NAME.into())];
    let what = format!("retire {name} and free its name");
    request::ignore_missing(down_and_rename(netlink, ifindex, &what, &attributes))
}

/// Sets an interface down and gives it another name, in one message where the kernel does that. Linux before 6.2
/// renames no interface that is up (EBUSY), and in such a message the new name comes first.
pub(crate) fn down_and_rename(
    netlink: &mut Netlink,
    ifindex: u32,
    what: &str,
    attributes: &[LinkAttribute],
) -> Result<()> {
    let request = || request::switch(ifindex, false, what, attributes.to_vec());
    match netlink.request(request()) {
        Err(error) if error.is_busy() => {
            netlink.request(request::switch(ifindex, false, what, []))?;
            netlink.request(request())
        }
        other => other,
    }
}

/// Deletes at most `most` retired interfaces of this thread's namespace, with one message: the kernel waits for
/// RCU once for all of them, and holds RTNL for as long as that takes. Returns how many they were.
///
/// # Errors
/// The kernel refuses.
pub fn delete_retired(most: usize) -> Result<usize> {
    let mut netlink = Netlink::here()?;
    let retired: Vec<Link> = list_in(&mut netlink)?
        .into_iter()
        .filter(|link| link.is_retired() && link.name.starts_with(PREFIX))
        .take(most)
        .collect();
    if retired.is_empty() {
        return Ok(0);
    }
    let moves = retired.iter().filter(|link| link.group == RETIRED_GROUP).map(|link| {
        request::change(
            link.ifindex,
            &format!("mark interface {} for deletion", link.name),
            [LinkAttribute::Group(DELETION_GROUP)],
        )
    });
    // One that vanishes meanwhile (its namespace ended) is what was wanted.
    request::ignore_missing(netlink.requests(moves.collect()))?;
    let mut group = LinkMessage::default();
    group.attributes.push(LinkAttribute::Group(DELETION_GROUP));
    request::ignore_missing(netlink.request(Request {
        what: "delete retired interfaces".into(),
        message: RouteNetlinkMessage::DelLink(group),
        flags: 0,
    }))?;
    Ok(retired.len())
}
