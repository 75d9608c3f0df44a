//! What carries the tunnels: the interface that holds the node's own address.

use std::net::IpAddr;

use crate::{Error, Netlink, Result, address, link};

/// An uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Its name.
    pub ifname: String,
    /// Its number.
    pub ifindex: u32,
    /// In bytes.
    pub mtu: u32,
    /// Whether its frames have Ethernet headers.
    pub ethernet: bool,
}

/// The interface of this namespace that holds an address.
///
/// # Errors
/// None does, or the kernel does not tell.
pub fn find(local: IpAddr) -> Result<Underlay> {
    let mut netlink = Netlink::here()?;
    let what = || format!("find the interface with the address {local}");
    let holder = address::list(&mut netlink)?.into_iter().find(|(_, net)| net.addr() == local);
    let (ifindex, _) = holder.ok_or_else(|| Error::other(what(), "no interface has it"))?;
    let link = link::get(&mut netlink, ifindex)?;
    let link = link.ok_or_else(|| Error::other(what(), "it has just gone"))?;
    Ok(Underlay { ifname: link.name, ifindex, mtu: link.mtu, ethernet: link.ethernet })
}
