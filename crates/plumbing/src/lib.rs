//! The kernel's networking, and the only netlink of this project: namespaces, links, addresses, routes,
//! sysctls, traffic control, nftables. Synchronous throughout; whoever is asynchronous calls it on a
//! thread that may block.
//!
//! The Pod and the Node are two rows of one table, and [`Attachment`] is that table: [`attach`] makes either.

mod address;
mod attachment;
mod error;
pub mod ipsec;
mod link;
mod monitor;
mod netdevice;
mod netlink;
mod netns;
pub mod nft;
pub mod overlay;
pub mod probe;
mod route;
pub mod shape;
pub mod sysctl;
pub mod tc;
pub mod underlay;

pub use attachment::{
    Attached, Attachment, Difference, Outer, Part, Sides, attach, bury, check, delete, find, free_name,
    keep_addresses, remove, repair, repair_outer, set_mtus, set_up,
};
pub use error::{Error, Result};
pub use link::{DEAD_GROUP, Link, Stats, find_port, list_ports, peers, reap_dead};
pub use monitor::{Heard, Monitor};
pub use netlink::Netlink;
pub use netns::NetNs;
pub use route::Route;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
