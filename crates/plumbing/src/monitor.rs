//! Hearing of changes: what somebody else did to this namespace's links, addresses, routes, queueing
//! disciplines and nftables. What it was is not told: who hears of a change looks for himself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::constants::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Error, Result};

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR, _IPV4_ROUTE, _IPV6_ROUTE, _TC (linux/rtnetlink.h).
const ROUTE_GROUPS: [u32; 6] = [1, 5, 9, 7, 11, 4];

/// NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h).
const NFTABLES_GROUP: [u32; 1] = [7];

/// Large enough for any one event.
const BUFFER: usize = 32 * 1024;

/// Two sockets that the kernel tells of every change in the namespace they were made in.
#[derive(Debug)]
pub struct Monitor {
    sockets: Vec<Socket>,
}

impl Monitor {
    /// Listens from now on in the namespace of this thread. Where the kernel has no nf_tables, only that
    /// part is missing.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn here() -> Result<Self> {
        let route = listen(NETLINK_ROUTE, &ROUTE_GROUPS)
            .map_err(|error| Error::new("listen to changes of the network", error))?;
        let nftables = listen(NETLINK_NETFILTER, &NFTABLES_GROUP).ok();
        Ok(Self { sockets: [route].into_iter().chain(nftables).collect() })
    }

    /// Waits for a change, at most so long; whether there was one. All that came by then count as one.
    ///
    /// # Errors
    /// The sockets fail.
    pub fn wait(&self, deadline: Duration) -> Result<bool> {
        let error = |error: io::Error| Error::new("wait for changes of the network", error);
        // SAFETY: the descriptors are open as long as the sockets are borrowed here.
        let borrow = |socket: &Socket| unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        let descriptors: Vec<_> = self.sockets.iter().map(borrow).collect();
        let mut waiting: Vec<_> = descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(deadline).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(error(errno.into())),
        }
        self.sockets.iter().try_for_each(drain).map_err(error)?;
        Ok(true)
    }
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Reads what is there. A lost event (ENOBUFS) is one more reason to look, and nothing else.
fn drain(socket: &Socket) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
