//! veth pairs, of Pods and of the node itself: [`VethPair`] says what one should be.
//!
//! | | Pod | Node |
//! |---|---|---|
//! | namespace of the container side | the runtime's | the host's |
//! | names of container side and host side | eth0, mido... | midokube-node, midokube-mido |
//! | addresses | IPAM | second of the podCIDR |
//! | routes via the gateway | everything | the cluster's CIDRs |

mod check;
mod find;
mod message;
mod mtu;
mod namespaces;
mod pair;
mod repair;

use crate::error::Result;
use crate::link;
use crate::netns::NetNs;

pub use check::{Difference, DifferenceKind, check};
pub use find::find;
pub use mtu::set_mtus;
pub use namespaces::Namespaces;
pub use pair::{VethIndexes, VethPair};
pub use repair::{HostSide, repair, repair_host_side};

/// Creates a pair, with the container side in `netns` (`None`: in this thread's namespace). The host side is
/// still down: nothing passes before [`link::set_up`].
///
/// # Errors
/// The step that failed; nothing is left of the pair then. [`crate::Error::is_exists`] if a name is taken.
pub fn create(netns: Option<&NetNs>, pair: &VethPair) -> Result<VethIndexes> {
    let mut namespaces = Namespaces::open(netns)?;
    let made = namespaces.create(pair)?;
    namespaces.configure(pair, made.ifindex).inspect_err(|_| {
        let _ = link::delete(made.host_ifindex, &pair.host_ifname);
    })?;
    Ok(made)
}
