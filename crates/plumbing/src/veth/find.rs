use super::pair::{VethIndexes, VethPair};
use crate::error::Result;
use crate::link;
use crate::netlink::Netlink;
use crate::netns::NetNs;

/// The ifindexes of an existing pair, whose container side is in `netns` (`None`: in this thread's namespace).
///
/// # Errors
/// One side does not exist.
pub fn find(netns: Option<&NetNs>, pair: &VethPair) -> Result<VethIndexes> {
    let host_side = link::require(&mut Netlink::here()?, &pair.host_ifname)?;
    let container_side = link::require(&mut inside(netns)?, &pair.ifname)?;
    Ok(VethIndexes { ifindex: container_side.ifindex, host_ifindex: host_side.ifindex })
}

/// A socket in the namespace of the container side.
pub(super) fn inside(netns: Option<&NetNs>) -> Result<Netlink> {
    match netns {
        Some(netns) => Netlink::inside(netns),
        None => Netlink::here(),
    }
}
