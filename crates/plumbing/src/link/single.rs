//! Changes of one interface of this thread's namespace.

use netlink_packet_route::link::LinkAttribute;

use super::read::{Link, find, get};
use super::request;
use crate::error::{Error, Result};
use crate::netlink::Netlink;

/// The name of an interface whose own name is needed; the kernel puts a number in.
const FREE_NAME: &str = "midofree%d";

/// Sets an interface up.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn set_up(name: &str) -> Result<()> {
    let mut netlink = Netlink::here()?;
    let link = require(&mut netlink, name)?;
    netlink.request(request::switch(link.ifindex, true, &format!("set {name} up"), []))
}

/// Deletes the interface with this ifindex, and its peer with it, and waits until it is gone. None is success.
/// `name` is for errors: by now, another interface may have it.
///
/// # Errors
/// The kernel refuses.
pub fn delete(ifindex: u32, name: &str) -> Result<()> {
    request::ignore_missing(Netlink::here()?.request(request::delete(ifindex, name)))
}

/// Deletes the interface of this name, and its peer with it, and waits until it is gone. None is success.
///
/// # Errors
/// The kernel refuses.
pub fn delete_by_name(name: &str) -> Result<()> {
    find(name)?.map_or(Ok(()), |link| delete(link.ifindex, name))
}

/// Gives an interface another name that is free, so that another one can have its name.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn free_name(ifindex: u32) -> Result<()> {
    let mut netlink = Netlink::here()?;
    let what = format!("find interface {ifindex}");
    let link = get(&mut netlink, ifindex)?.ok_or_else(|| Error::other(what, "there is none"))?;
    rename(&mut netlink, &link, FREE_NAME).map(|_| ())
}

/// Gives an interface another name. Returns whether it is still up: Linux before 6.2 renames no interface that is.
pub(crate) fn rename(host: &mut Netlink, link: &Link, name: &str) -> Result<bool> {
    let what = format!("give {} the name {name}", link.name);
    let request = || request::change(link.ifindex, &what, [LinkAttribute::IfName(name.to_owned())]);
    match host.request(request()) {
        Err(error) if error.is_busy() => {
            host.requests(vec![request::switch(link.ifindex, false, &what, []), request()])?;
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

/// The interface of this name, which has to be there.
pub(crate) fn require(netlink: &mut Netlink, name: &str) -> Result<Link> {
    netlink.find(name)?.ok_or_else(|| Error::other(format!("find interface {name}"), "there is none"))
}

/// The name of the link with this index in this namespace; `None`: there is none.
pub fn name_of(ifindex: u32) -> Option<String> {
    nix::net::if_::if_indextoname(ifindex).ok()?.into_string().ok()
}
