use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plumbing::NetNs;
use socket2::{Domain, Protocol, Socket, Type};
use testkit::packet::checksum;

/// RFC 792 and RFC 4443: echo request and its answer.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);

/// Tells the pings of this program apart: the kernel gives every raw socket every answer.
static NEXT_ID: AtomicU16 = AtomicU16::new(1);

/// Sends ICMP echo requests from `netns` until one is answered: the time until the answer.
pub fn ping(netns: &NetNs, target: IpAddr, deadline: Duration) -> Result<Duration> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = super::inside(netns, || {
        let socket = Socket::new(domain, Type::RAW.cloexec(), Some(protocol))?;
        socket.connect(&SocketAddr::new(target, 0).into())?;
        Ok(socket)
    })
    .context("ICMP socket")?;
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let (until, pause) = (Instant::now() + deadline, super::pause(deadline));
    for sequence in 0..u16::MAX {
        let start = Instant::now();
        if start >= until {
            break;
        }
        socket.send(&request(target.is_ipv6(), id, sequence)).context("ICMP send")?;
        if await_answer(&socket, target.is_ipv6(), id, start + pause)? {
            return Ok(start.elapsed());
        }
    }
    bail!("ICMP: no answer to echo requests within {deadline:?}");
}

fn await_answer(socket: &Socket, v6: bool, id: u16, until: Instant) -> Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    while let Ok(left) = super::left(until) {
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(e) => return Err(e).context("ICMP receive"),
        };
        let received = buffer.get(..length).unwrap_or_default();
        // SAFETY: the kernel filled the first `length` bytes.
        let received: Vec<u8> = received.iter().map(|byte| unsafe { byte.assume_init() }).collect();
        if is_answer(&received, v6, id) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn request(v6: bool, id: u16, sequence: u16) -> Vec<u8> {
    let kind = if v6 { ECHO_V6.0 } else { ECHO_V4.0 };
    let [id, sequence] = [id, sequence].map(u16::to_be_bytes);
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id);
    message.extend(sequence);
    message.extend(b"midonet-kube lab");
    if !v6 {
        // The kernel computes ICMPv6's, which covers addresses.
        let sum = checksum(&message);
        for (place, byte) in message.iter_mut().skip(2).zip(sum) {
            *place = byte;
        }
    }
    message
}

/// Whether a received packet answers request `id`. IPv4 raw sockets give the IP header, too.
fn is_answer(packet: &[u8], v6: bool, id: u16) -> bool {
    let skip = if v6 { 0 } else { packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4) };
    let kind = if v6 { ECHO_V6.1 } else { ECHO_V4.1 };
    let [high, low] = id.to_be_bytes();
    matches!(packet.get(skip..), Some([k, 0, _, _, h, l, ..]) if *k == kind && [*h, *l] == [high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_to_nothing() {
        assert_eq!(checksum(&request(false, 0xabcd, 7)), [0, 0]);
    }

    #[test]
    fn knows_its_answer_behind_options() {
        let mut packet = vec![0x46];
        packet.resize(24, 0);
        packet.extend([0, 0, 0, 0, 0x12, 0x34, 0, 1]);
        assert!(is_answer(&packet, false, 0x1234));
        assert!(!is_answer(&packet, false, 0x1235));
        assert!(is_answer(&[129, 0, 0, 0, 0x12, 0x34], true, 0x1234));
        assert!(!is_answer(&[128, 0, 0, 0, 0x12, 0x34], true, 0x1234), "its own request");
        assert!(!is_answer(&[], false, 1));
    }
}
