//! ICMP echo requests, by a socket that needs no privilege: the kernel lets groups send them that a Pod's
//! `net.ipv4.ping_group_range` has.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::super::question::Outcome;
use super::wire::{bytes, outcome};

/// A request is sent again after so long without an answer.
const AGAIN: Duration = Duration::from_millis(700);

/// What follows the header.
const PAYLOAD: u32 = 56;

/// An echo request of ICMP, and of ICMPv6.
const ECHO: u8 = 8;
const ECHO6: u8 = 128;

/// Its header has so many bytes. The kernel fills the checksum and the identifier in.
const HEADER: usize = 8;

pub(super) async fn ask(to: IpAddr, patience: Duration) -> Outcome {
    exchange(to, patience).await.unwrap_or_else(|error| match error.raw_os_error() {
        Some(libc::EACCES) => Outcome::Failed {
            why: "the kernel lets nobody send pings there: net.ipv4.ping_group_range".to_owned(),
        },
        _ => outcome(&error, false),
    })
}

async fn exchange(to: IpAddr, patience: Duration) -> io::Result<Outcome> {
    let (protocol, kind) = match to {
        IpAddr::V4(_) => (Protocol::ICMPV4, ECHO),
        IpAddr::V6(_) => (Protocol::ICMPV6, ECHO6),
    };
    let to = SocketAddr::new(to, 0);
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.connect(&to.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let mut request = vec![kind, 0, 0, 0, 0, 0, 0, 1];
    request.extend_from_slice(&bytes(PAYLOAD));
    let end = Instant::now() + patience;
    let mut buffer = [0; 512];
    while Instant::now() < end {
        socket.send(&request).await?;
        let again = (Instant::now() + AGAIN).min(end);
        if let Ok(length) = timeout_at(again, socket.recv(&mut buffer)).await {
            let came = buffer.get(HEADER..length?).unwrap_or_default();
            return Ok(if came == bytes(PAYLOAD).as_slice() {
                Outcome::Reached
            } else {
                Outcome::Damaged { why: "the answer to the ping has other bytes".to_owned() }
            });
        }
    }
    Ok(Outcome::Silent { connected: false })
}
