//! Notifications of changes: of this namespace's links, addresses, routes, rules, forwarding settings,
//! queueing disciplines, nftables and IPsec policies. They do not say what changed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::constants::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::netlink::is_echo;

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR, _IPV4_ROUTE, _IPV6_ROUTE, _IPV4_RULE, _IPV6_RULE, _TC, _IPV4_NETCONF,
/// _IPV6_NETCONF (linux/rtnetlink.h). The last two are about forwarding and rp_filter, of each interface and of all.
const ROUTE_GROUPS: [u32; 10] = [1, 5, 9, 7, 11, 8, 19, 4, 24, 25];

/// NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h).
const NFTABLES_GROUP: [u32; 1] = [7];

/// XFRMNLGRP_POLICY (linux/xfrm.h).
const XFRM_GROUP: [u32; 1] = [4];

/// RTM_NEWLINK and RTM_DELLINK (linux/rtnetlink.h).
const LINK_MESSAGES: [u16; 2] = [16, 17];

/// Large enough for any one event.
const BUFFER: usize = 32 * 1024;

/// Sockets that get notifications of every change in their namespace.
#[derive(Debug)]
pub struct Monitor {
    sockets: Vec<Socket>,
}

/// The changes that a [`Monitor`] was notified of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Something changed.
    pub any: bool,
    /// A link was made, changed or deleted, or events were lost.
    pub links: bool,
}

impl Monitor {
    /// Listens from now on in the namespace of this thread. Where the kernel has no nf_tables or no IPsec, only
    /// that part is missing.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn here() -> Result<Self> {
        let route = listen(NETLINK_ROUTE, &ROUTE_GROUPS)
            .map_err(|error| Error::new("listen to changes of the network", error))?;
        let nftables = listen(NETLINK_NETFILTER, &NFTABLES_GROUP).ok();
        let policies = listen(NETLINK_XFRM, &XFRM_GROUP).ok();
        Ok(Self { sockets: [route].into_iter().chain(nftables).chain(policies).collect() })
    }

    /// Waits for a change, until the deadline. All that came by then count as one. It may return early without a
    /// change.
    ///
    /// # Errors
    /// The sockets fail.
    pub fn wait(&self, deadline: Duration) -> Result<Heard> {
        let error = |error: io::Error| Error::new("wait for changes of the network", error);
        // SAFETY: the descriptors are open as long as the sockets are borrowed here.
        let borrow = |socket: &Socket| unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        let descriptors: Vec<_> = self.sockets.iter().map(borrow).collect();
        let mut waiting: Vec<_> = descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(deadline).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Heard::default()),
            Ok(_) => {}
            Err(errno) => return Err(error(errno.into())),
        }
        let mut heard = Heard::default();
        self.sockets.iter().try_for_each(|socket| drain(socket, &mut heard)).map_err(error)?;
        Ok(heard)
    }
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Reads all notifications. A lost one (ENOBUFS) counts as a change of links.
fn drain(socket: &Socket, heard: &mut Heard) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => note(&buffer, heard),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                *heard = Heard { any: true, links: true };
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Notes the notifications of one datagram. An echo answers a request and is no change.
fn note(mut datagram: &[u8], heard: &mut Heard) {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        if !is_echo(message.message_type(), message.sequence_number()) {
            heard.any = true;
            heard.links |= LINK_MESSAGES.contains(&message.message_type());
        }
        let length = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(length.max(4)..).unwrap_or_default();
    }
}
