//! A NETLINK_ROUTE socket, which stays in the namespace it was made in.

mod message;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::constants::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::error::{Error, Result};
use crate::netdevice;
use crate::netns::NetNs;
use message::{Payload, append, messages};

/// How long to wait for the kernel's answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a dump that changes while it is read is read again.
const DUMP_TRIES: usize = 10;

/// The size of the receive buffer, in bytes: any one message fits. Into a datagram of a dump the kernel puts as many
/// messages as fit.
const BUFFER: usize = 16 * 1024;

/// What the kernel counts of a request besides its length, in bytes, at the most.
const OVERHEAD: usize = 4096;

/// RTM_NEWQDISC (linux/rtnetlink.h).
const NEW_QDISC: u16 = 36;

/// The prefix of the sequence numbers of requests for one object. Kernels may answer a request for a qdisc with a
/// notification to all listeners (`qdisc_notify`): the sequence number tells such an answer from a change.
const ECHO: u32 = 0xec40_0000;

/// The bits of such a sequence number that count requests.
const ECHO_COUNT: u32 = 0xffff;

/// Whether a notification only answers a request, of this process or another one of this project.
pub(crate) fn is_echo(kind: u16, sequence: u32) -> bool {
    kind == NEW_QDISC && sequence & !ECHO_COUNT == ECHO
}

/// A socket to the kernel's networking, in one namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    /// What was received last; kept, since new memory costs a page fault for each of its pages.
    datagram: Vec<u8>,
}

/// A request, and its name in errors.
pub(crate) struct Request {
    pub(crate) what: String,
    pub(crate) message: RouteNetlinkMessage,
    /// NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE.
    pub(crate) flags: u16,
}

impl Netlink {
    /// A socket in the namespace of this thread.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn here() -> Result<Self> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            socket.set_netlink_get_strict_chk(true)?;
            set_deadline(&socket)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| Error::new("open a netlink socket", error))?;
        Ok(Self { socket, sequence: 0, datagram: Vec::with_capacity(BUFFER) })
    }

    /// The namespace that the socket is in.
    pub(crate) fn namespace(&self) -> Result<NetNs> {
        NetNs::of_socket(&self.socket)
    }

    /// The ifindex of an existing link.
    pub(crate) fn index(&self, name: &str) -> Result<u32> {
        netdevice::index(&self.socket, name)
    }

    /// The MAC address of an existing link.
    pub(crate) fn mac(&self, name: &str) -> Result<[u8; 6]> {
        netdevice::mac(&self.socket, name)
    }

    /// A socket in another namespace; it can be used from anywhere.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the kernel gives no socket.
    pub fn inside(netns: &NetNs) -> Result<Self> {
        netns.run(Self::here)?
    }

    /// Sends a request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, request: Request) -> Result<()> {
        self.requests(vec![request])
    }

    /// Sends several requests in one datagram and waits for all acknowledgements. Returns the first error; the other
    /// requests were executed, too.
    pub(crate) fn requests(&mut self, requests: Vec<Request>) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let mut names = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
            append(&mut bytes, request.message, flags, self.sequence);
            names.push(request.what);
        }
        let all = || names.join(", ");
        self.socket.send(&bytes, 0).map_err(|error| Error::new(all(), error))?;
        let mut outcome = Ok(());
        let mut answers = 0;
        while answers < names.len() {
            receive(&self.socket, &mut self.datagram).map_err(|error| Error::new(all(), error))?;
            for (header, payload) in messages(&self.datagram) {
                let index = header.sequence.wrapping_sub(first) as usize;
                let Some(name) = names.get(index) else { continue };
                if let Payload::Answer(result) = payload {
                    answers += 1;
                    if outcome.is_ok() {
                        outcome = result.map_err(|(error, hint)| Error::with_hint(name, error, hint));
                    }
                }
            }
        }
        outcome
    }

    /// Reads one object. Older kernels answer a request for a qdisc only if an echo is asked for.
    pub(crate) fn get(&mut self, what: &str, message: RouteNetlinkMessage) -> Result<RouteNetlinkMessage> {
        self.ask(what, message, NLM_F_REQUEST | NLM_F_ECHO)?
            .pop()
            .ok_or_else(|| Error::new(what, io::Error::from_raw_os_error(libc::ENOENT)))
    }

    /// Reads all objects of a kind.
    pub(crate) fn dump(
        &mut self,
        what: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_TRIES {
            match self.ask(what, message.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(error) if error.is(libc::EINTR) => {}
                other => return other,
            }
        }
        Err(Error::other(what, "it changes faster than it can be read"))
    }

    fn ask(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let is_echoed = flags & NLM_F_ECHO != 0;
        let sequence = if is_echoed { ECHO | (self.sequence & ECHO_COUNT) } else { self.sequence };
        let mut bytes = Vec::new();
        append(&mut bytes, message, flags, sequence);
        self.socket.send(&bytes, 0).map_err(|error| Error::new(what, error))?;
        let mut objects = Vec::new();
        let mut interrupted = false;
        loop {
            receive(&self.socket, &mut self.datagram).map_err(|error| Error::new(what, error))?;
            for (header, payload) in messages(&self.datagram) {
                if header.sequence != sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match payload {
                    Payload::Object(object) => {
                        objects.push(object);
                        if flags & NLM_F_DUMP == 0 {
                            return Ok(objects);
                        }
                    }
                    Payload::Answer(Err((error, hint))) => return Err(Error::with_hint(what, error, hint)),
                    Payload::Answer(Ok(())) | Payload::Done if interrupted => {
                        return Err(Error::new(what, io::Error::from_raw_os_error(libc::EINTR)));
                    }
                    Payload::Answer(Ok(())) | Payload::Done => return Ok(objects),
                    // Without it the answer would be incomplete.
                    Payload::Unreadable(why) => return Err(Error::other(what, why)),
                }
            }
        }
    }
}

/// Receives the next datagram. A signal does not end the wait, the deadline does.
pub(crate) fn receive(socket: &Socket, datagram: &mut Vec<u8>) -> io::Result<()> {
    datagram.clear();
    datagram.reserve(BUFFER);
    loop {
        match socket.recv(datagram, libc::MSG_TRUNC) {
            Ok(length) if length > datagram.len() => {
                let what =
                    format!("the kernel's answer has {length} bytes, more than the buffer of {BUFFER}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let late = format!("the kernel did not answer within {DEADLINE:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, late));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Gives the socket a receive timeout.
pub(crate) fn set_deadline(socket: &Socket) -> io::Result<()> {
    let time = TimeVal::new(DEADLINE.as_secs().cast_signed(), 0);
    // SAFETY: the descriptor is open as long as the socket is borrowed here.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    Ok(setsockopt(&fd, sockopt::ReceiveTimeout, &time)?)
}

/// Has the socket take a request of this length, in bytes: the kernel refuses longer ones than its buffer.
pub(crate) fn set_send_buffer(socket: &Socket, length: usize) -> io::Result<()> {
    // What the kernel counts besides the request itself.
    let length = length.saturating_add(OVERHEAD);
    // SAFETY: the descriptor is open as long as the socket is borrowed here.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    if getsockopt(&fd, sockopt::SndBuf)? < length {
        setsockopt(&fd, sockopt::SndBufForce, &length)?;
    }
    Ok(())
}
