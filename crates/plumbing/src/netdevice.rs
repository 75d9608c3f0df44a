//! Properties of an existing link by ioctl(2) (netdevice(7)) on a netlink socket, about that socket's namespace.
//! This is far cheaper than a message. It is not for names of links that may not exist: for such a name the kernel
//! would try to load a module.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use crate::error::{Error, Result};

/// The ifindex of the link of this name.
pub(crate) fn index(socket: &impl AsRawFd, name: &str) -> Result<u32> {
    let answer = ask(socket, libc::SIOCGIFINDEX, "index", name)?;
    // SAFETY: the kernel has written this member.
    Ok(unsafe { answer.ifr_ifru.ifru_ifindex }.cast_unsigned())
}

/// The MAC address of the Ethernet link of this name.
pub(crate) fn mac(socket: &impl AsRawFd, name: &str) -> Result<[u8; 6]> {
    let answer = ask(socket, libc::SIOCGIFHWADDR, "MAC address", name)?;
    // SAFETY: the kernel has written this member.
    let [a, b, c, d, e, f, ..] =
        unsafe { answer.ifr_ifru.ifru_hwaddr }.sa_data.map(libc::c_char::cast_unsigned);
    Ok([a, b, c, d, e, f])
}

fn ask(socket: &impl AsRawFd, request: libc::c_ulong, part: &str, name: &str) -> Result<libc::ifreq> {
    let fail = |source| Error::new(format!("read the {part} of interface {name}"), source);
    // SAFETY: all zero is a value of each of its members.
    let mut question: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= question.ifr_name.len() {
        return Err(fail(io::Error::from_raw_os_error(libc::ENODEV)));
    }
    for (to, from) in question.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: both requests read and write an ifreq and nothing else; this one lives throughout.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut question) };
    Errno::result(result).map_err(|errno| fail(errno.into()))?;
    Ok(question)
}
