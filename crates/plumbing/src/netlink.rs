//! One conversation with the kernel: a NETLINK_ROUTE socket that stays in the namespace it was made in.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage, NetlinkPayload, Nla as _, NlasIterator, Parseable as _,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::constants::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::{Error, NetNs, Result, netdevice};

/// The kernel answers at once, or not at all.
const DEADLINE: Duration = Duration::from_secs(10);

/// A dump that changes while it is read is read again, so often.
const DUMP_TRIES: usize = 10;

/// Large enough for any one message: the kernel fills as many into a datagram of a dump as there is room for.
const BUFFER: usize = 16 * 1024;

/// NLMSGERR_ATTR_MSG: the kernel's explanation of an error.
const ATTR_MSG: u16 = 1;

/// NLM_F_ACK_TLVS: such an explanation follows.
const ACK_TLVS: u16 = 0x200;

/// RTM_NEWQDISC (linux/rtnetlink.h).
const NEW_QDISC: u16 = 36;

/// How the sequence numbers of requests for one object begin. To who asks for a qdisc, kernels may answer by telling
/// everybody who listens to changes (`qdisc_notify`): by the number such an answer is known for what it is.
const ECHO: u32 = 0xec40_0000;

/// The part of a sequence number that counts then.
const ECHO_COUNT: u32 = 0xffff;

/// Whether a message to all that listen to changes only answers somebody's look, this process's or another's of ours.
pub(crate) fn is_echo(kind: u16, sequence: u32) -> bool {
    kind == NEW_QDISC && sequence & !ECHO_COUNT == ECHO
}

/// A socket to the kernel's networking, bound to one namespace for good.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    /// What was received last; kept, since new memory costs a fault for each of its pages.
    datagram: Vec<u8>,
}

/// A request and what it is called in an error.
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

    /// The number of a link that is there.
    pub(crate) fn index(&self, name: &str) -> Result<u32> {
        netdevice::index(&self.socket, name)
    }

    /// The MAC address of a link that is there.
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

    /// Asks for one thing and waits until it is done.
    pub(crate) fn request(&mut self, request: Request) -> Result<()> {
        self.requests(vec![request])
    }

    /// Asks for several things in one go; the first that fails is told, the others were tried too.
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

    /// Asks for one object. Of a qdisc older kernels tell nobody else than who wants an echo.
    pub(crate) fn get(&mut self, what: &str, message: RouteNetlinkMessage) -> Result<RouteNetlinkMessage> {
        self.ask(what, message, NLM_F_REQUEST | NLM_F_ECHO)?
            .pop()
            .ok_or_else(|| Error::new(what, io::Error::from_raw_os_error(libc::ENOENT)))
    }

    /// Asks for all objects of a kind.
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
                    // To go on without it would pass a part of the answer for the whole.
                    Payload::Unreadable(why) => return Err(Error::other(what, why)),
                }
            }
        }
    }
}

/// The next datagram; a signal does not end the wait, the deadline does.
pub(crate) fn receive(socket: &Socket, datagram: &mut Vec<u8>) -> io::Result<()> {
    datagram.clear();
    datagram.reserve(BUFFER);
    loop {
        match socket.recv(datagram, libc::MSG_TRUNC) {
            Ok(length) if length > datagram.len() => {
                let what = format!(
                    "the kernel's answer has {length} bytes, more than the {BUFFER} there is room for"
                );
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

/// Makes every wait on the socket end.
pub(crate) fn set_deadline(socket: &Socket) -> io::Result<()> {
    let time = TimeVal::new(DEADLINE.as_secs().cast_signed(), 0);
    // SAFETY: the descriptor is open as long as the socket is borrowed here.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    Ok(setsockopt(&fd, sockopt::ReceiveTimeout, &time)?)
}

fn append(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    if let Some(room) = bytes.get_mut(start..) {
        message.serialize(room);
    }
}

struct Header {
    sequence: u32,
    flags: u16,
}

enum Payload {
    Object(RouteNetlinkMessage),
    Answer(std::result::Result<(), (io::Error, Option<String>)>),
    Done,
    Unreadable(String),
}

/// The messages of one datagram.
fn messages(mut datagram: &[u8]) -> Vec<(Header, Payload)> {
    let mut all = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let length = buffer.length() as usize;
        let header = Header { sequence: buffer.sequence_number(), flags: buffer.flags() };
        let explained = buffer.flags() & ACK_TLVS != 0;
        if let Some(one) = datagram.get(..length) {
            all.push((header, payload(one, explained)));
        }
        match datagram.get(length.next_multiple_of(4)..) {
            Some(rest) if !rest.is_empty() && length > 0 => datagram = rest,
            _ => break,
        }
    }
    all
}

fn payload(bytes: &[u8], explained: bool) -> Payload {
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|message| message.payload) {
        Ok(NetlinkPayload::Error(error)) if error.raw_code() == 0 => Payload::Answer(Ok(())),
        Ok(NetlinkPayload::Error(error)) => {
            let hint = if explained { explanation(bytes) } else { None };
            Payload::Answer(Err((io::Error::from_raw_os_error(-error.raw_code()), hint)))
        }
        // A dump that failed half-way says so at its end.
        Ok(NetlinkPayload::Done(done)) if done.code < 0 => {
            Payload::Answer(Err((io::Error::from_raw_os_error(-done.code), None)))
        }
        Ok(NetlinkPayload::Done(_)) => Payload::Done,
        Ok(NetlinkPayload::InnerMessage(object)) => Payload::Object(object),
        Ok(other) => Payload::Unreadable(format!("the kernel's answer is of no known kind: {other:?}")),
        Err(error) => Payload::Unreadable(format!("the kernel's answer cannot be read: {error}")),
    }
}

/// The kernel's words behind an error: attributes after the error's code and the request's header
/// (which is all it repeats, or the whole request, as its own length says).
fn explanation(bytes: &[u8]) -> Option<String> {
    const HEADER: usize = 16;
    let request = bytes.get(HEADER + 4..)?;
    let length = u32::from_ne_bytes(request.get(..4)?.try_into().ok()?) as usize;
    let attributes = request.get(length.next_multiple_of(4)..).or_else(|| request.get(HEADER..))?;
    NlasIterator::new(attributes).flatten().find(|nla| nla.kind() == ATTR_MSG).and_then(|nla| {
        let nla = DefaultNla::parse(&nla).ok()?;
        let mut text = vec![0; nla.value_len()];
        nla.emit_value(&mut text);
        Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
    })
}
