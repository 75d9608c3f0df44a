//! The kernel's networking, and the only netlink of this project: namespaces, links, veth pairs, addresses, routes,
//! sysctls, traffic control, nftables. Synchronous throughout; asynchronous callers use a thread that may block.

mod address;
pub mod datagrams;
mod error;
mod family;
mod fib;
pub mod ipsec;
pub mod link;
pub mod loopback;
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
pub mod veth;

pub use address::{addresses, delete_other_addresses};
pub use error::{Error, Result};
pub use family::Family;
pub use fib::has_route;
pub use link::{Link, Stats};
pub use monitor::{Heard, Monitor};
pub use netlink::Netlink;
pub use netns::NetNs;
pub use route::{KernelRoute, add_routes, own_routes, remove_routes};
