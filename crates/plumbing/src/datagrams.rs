//! UDP sockets that also tell what routers and other hosts answer (ICMP errors). They need no right of root.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendto};

use crate::error::{Error, Result};

/// Bytes of a datagram that are kept.
const KEPT: usize = 128;

/// As many errors of earlier datagrams may be reported in place of what is sent now.
const REPORTED: usize = 8;

/// The longest sleep of [`wait`]: a part of it passes with a poll.
const LONGEST: Duration = Duration::from_secs(1);

/// A socket whose datagrams are never fragmented, and whose size the kernel does not check against a path's known MTU.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    checksums: Checksums,
}

/// Who computes the checksums of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// The network device, if it can.
    Device,
    /// The kernel, at once.
    Kernel,
    /// Nobody: there are none (RFC 768). Over IPv6 few receive such datagrams (RFC 6935).
    Nobody,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A datagram; of a long one the beginning.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// An ICMP error about a datagram that was sent from here.
    Complaint {
        /// Whom that was for.
        to: SocketAddr,
        /// Who says so: a router, or the host itself.
        by: IpAddr,
        /// What is wrong.
        what: Complaint,
    },
}

/// What an ICMP error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// There is no such host, network or port.
    Unreachable,
    /// It is larger than a link on the way takes: the largest packet in bytes, 0 if that is not said.
    TooBig(u32),
    /// Anything else.
    Other,
}

impl Datagrams {
    /// A socket at an address. It receives datagrams without checksums, too.
    ///
    /// # Errors
    /// The address is not this host's, or its port is taken.
    pub fn open(at: SocketAddr, checksums: Checksums) -> Result<Self> {
        let fail = |source| Error::new(format!("open a UDP socket at {at}"), source);
        let socket = UdpSocket::bind(at).map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        let mut options = match at {
            SocketAddr::V4(_) => vec![
                (libc::IPPROTO_IP, libc::IP_RECVERR, 1),
                (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
            ],
            SocketAddr::V6(_) => vec![
                (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1),
                (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
                (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1),
                (libc::IPPROTO_UDP, libc::UDP_NO_CHECK6_RX, 1),
            ],
        };
        if checksums == Checksums::Nobody {
            options.push(match at {
                SocketAddr::V4(_) => (libc::SOL_SOCKET, libc::SO_NO_CHECK, 1),
                SocketAddr::V6(_) => (libc::IPPROTO_UDP, libc::UDP_NO_CHECK6_TX, 1),
            });
        }
        options
            .into_iter()
            .try_for_each(|(level, name, value)| set(&socket, level, name, value))
            .map_err(fail)?;
        Ok(Self { socket, checksums })
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The kernel does not send it: there is no route, or it is larger than the interface takes.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> Result<()> {
        let mut last = io::Error::from(ErrorKind::WouldBlock);
        for _ in 0..REPORTED {
            match self.send_once(bytes, to) {
                Ok(()) => return Ok(()),
                // It may be that of a datagram before, which is in the queue of errors as well.
                Err(error) => last = error,
            }
        }
        Err(Error::new(format!("send {} bytes to {to}", bytes.len()), last))
    }

    fn send_once(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.checksums != Checksums::Kernel {
            return self.socket.send_to(bytes, to).map(drop);
        }
        // Of a datagram that it gets in parts the kernel computes the checksum itself.
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let to = SockaddrStorage::from(to);
        let socket = self.socket.as_raw_fd();
        sendto(socket, first, &to, MsgFlags::from_bits_retain(libc::MSG_MORE))?;
        sendto(socket, rest, &to, MsgFlags::empty())?;
        Ok(())
    }

    /// What came next; `None` if nothing did.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn receive(&self) -> Result<Option<Arrival>> {
        let fail = |source| Error::new("read a UDP socket", source);
        if let Some(complaint) = self.complaint().map_err(|errno| fail(errno.into()))? {
            return Ok(Some(complaint));
        }
        let mut bytes = [0; KEPT];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) => {
                let bytes = bytes.iter().take(length).copied().collect();
                Ok(Some(Arrival::Datagram { from, bytes }))
            }
            // Errors are told once more this way; the queue of errors has the next one.
            Err(error) if is_complaint(&error) => self.complaint().map_err(|errno| fail(errno.into())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    fn complaint(&self) -> nix::Result<Option<Arrival>> {
        let mut bytes = [0; KEPT];
        let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        loop {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let message =
                recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags);
            let message = match message {
                Err(Errno::EAGAIN) => return Ok(None),
                message => message?,
            };
            let to = message.address.as_ref().and_then(socket_address);
            let told = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::Ipv4RecvErr(error, by) => {
                    let by = by.map(|by| IpAddr::from(u32::from_be(by.sin_addr.s_addr).to_be_bytes()));
                    Some((error, by))
                }
                ControlMessageOwned::Ipv6RecvErr(error, by) => {
                    Some((error, by.map(|by| IpAddr::from(by.sin6_addr.s6_addr))))
                }
                _ => None,
            });
            // What the kernel says of its own accord has nobody who said it: sending told it.
            if let (Some(to), Some((error, Some(by)))) = (to, told) {
                return Ok(Some(Arrival::Complaint { to, by, what: Complaint::read(&error) }));
            }
        }
    }
}

impl Complaint {
    fn read(error: &libc::sock_extended_err) -> Self {
        match (error.ee_origin, error.ee_type, error.ee_code) {
            (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => Self::TooBig(error.ee_info),
            (libc::SO_EE_ORIGIN_ICMP, 3, 0..=3) | (libc::SO_EE_ORIGIN_ICMP6, 1, 0 | 3 | 4) => {
                Self::Unreachable
            }
            _ => Self::Other,
        }
    }
}

/// Waits until one of the sockets has something, or until then.
///
/// # Errors
/// The kernel does not wait.
pub fn wait<'a>(sockets: impl IntoIterator<Item = &'a Datagrams>, until: Instant) -> Result<()> {
    let mut fds: Vec<PollFd<'_>> =
        sockets.into_iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLIN)).collect();
    let left = until.saturating_duration_since(Instant::now()).min(LONGEST);
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::new("wait for datagrams", errno.into())),
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::new(v6.ip().into(), v6.port()))
}

/// What the kernel reports of datagrams before.
fn is_complaint(error: &io::Error) -> bool {
    let errnos = [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EMSGSIZE,
        libc::EACCES,
        libc::EPROTO,
    ];
    error.raw_os_error().is_some_and(|errno| errnos.contains(&errno))
}

fn set(socket: &UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are those of one integer that outlives the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// So long everything of these tests takes at most.
    const DEADLINE: Duration = Duration::from_secs(10);

    fn open(at: SocketAddr, checksums: Checksums) -> Datagrams {
        Datagrams::open(at, checksums).unwrap()
    }

    fn local(socket: &Datagrams) -> SocketAddr {
        socket.socket.local_addr().unwrap()
    }

    fn next(socket: &Datagrams) -> Arrival {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(arrival) = socket.receive().unwrap() {
                return arrival;
            }
            wait([socket], until).unwrap();
        }
        panic!("nothing came");
    }

    #[test]
    fn a_datagram_arrives_and_a_closed_port_complains() {
        for address in [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)] {
            let at = SocketAddr::new(address, 0);
            let (one, other) = (open(at, Checksums::Device), open(at, Checksums::Nobody));
            let (from, to) = (local(&one), local(&other));
            assert_eq!(one.receive().unwrap(), None);
            one.send(b"hello", to).unwrap();
            assert_eq!(next(&other), Arrival::Datagram { from, bytes: b"hello".to_vec() });
            drop(other);
            // Both are told, and neither keeps anything from being sent.
            one.send(b"a", to).unwrap();
            one.send(b"b", to).unwrap();
            for _ in 0..2 {
                let what = Complaint::Unreachable;
                assert_eq!(next(&one), Arrival::Complaint { to, by: address, what });
            }
            one.send(b"c", to).unwrap();
        }
    }

    #[test]
    fn whoever_computes_checksums_a_datagram_arrives_as_it_was() {
        for address in [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)] {
            let at = SocketAddr::new(address, 0);
            let receiver = open(at, Checksums::Device);
            for checksums in [Checksums::Device, Checksums::Kernel, Checksums::Nobody] {
                let sender = open(at, checksums);
                for bytes in [&b"odd"[..], b"x", b"", &[7; KEPT]] {
                    sender.send(bytes, local(&receiver)).unwrap();
                    let arrival = Arrival::Datagram { from: local(&sender), bytes: bytes.to_vec() };
                    assert_eq!(next(&receiver), arrival, "{checksums:?} at {address}");
                }
            }
        }
    }

    #[test]
    fn no_other_port_of_an_own_address_is_taken_and_no_other_address() {
        let taken = open((Ipv4Addr::LOCALHOST, 0).into(), Checksums::Device);
        let error = Datagrams::open(local(&taken), Checksums::Device).unwrap_err();
        assert!(error.to_string().contains("open a UDP socket at 127.0.0.1:"), "{error}");
        assert!(Datagrams::open("192.0.2.1:0".parse().unwrap(), Checksums::Device).is_err());
    }
}
