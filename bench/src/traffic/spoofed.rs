//! TCP SYNs whose sources are forged, no two alike.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plumbing::NetNs;
use socket2::{Domain, Protocol, Socket, Type};

use super::pin;

/// Packets of one system call.
const BATCH: usize = 32;

/// An IPv4 and a TCP header.
const LENGTH: usize = 40;

/// How many addresses are used before another port is.
const ADDRESSES: u32 = 1 << 17;

/// Sends from a namespace, and counts on from one time to the next.
pub(crate) struct Spoofed {
    socket: Socket,
    first: Ipv4Addr,
    number: u64,
}

impl Spoofed {
    /// With sources from this address on.
    pub(crate) fn new(from: &NetNs, first: Ipv4Addr) -> Result<Self> {
        // IPPROTO_RAW: packets have their IP headers (raw(7)).
        let make = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
        let socket = from.run(make)?.context("a raw socket")?;
        Ok(Self { socket, first, number: 0 })
    }

    /// Sends until told to stop, by how many were sent, on the last processor, at most so many a second; packets a second.
    pub(crate) fn send(
        &mut self,
        to: SocketAddrV4,
        most: Option<u32>,
        stop: impl Fn(u64) -> bool,
    ) -> Result<f64> {
        pin(true)?;
        self.socket.connect(&to.into()).context("a route for forged packets")?;
        let (start, mut sent) = (Instant::now(), 0u32);
        while !stop(sent.into()) {
            let mut packets = [[0; LENGTH]; BATCH];
            for packet in &mut packets {
                *packet = syn(self.first, self.number, to);
                self.number += 1;
            }
            sent += self.batch(&mut packets)?;
            if let Some(most) = most {
                let due = Duration::from_secs_f64(f64::from(sent) / f64::from(most));
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        Ok(f64::from(sent) / start.elapsed().as_secs_f64())
    }

    fn batch(&self, packets: &mut [[u8; LENGTH]; BATCH]) -> Result<u32> {
        let mut parts = packets
            .each_mut()
            .map(|packet| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: LENGTH });
        // SAFETY: integers and pointers, for all of which zero is a value.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for (message, part) in messages.iter_mut().zip(&mut parts) {
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: as many messages as said, each with a buffer that lives during the call.
        let sent = unsafe {
            libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), libc::c_uint::try_from(BATCH)?, 0)
        };
        match u32::try_from(sent) {
            Ok(sent) => Ok(sent),
            // A full queue is what this is about.
            Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
            Err(_) => Err(io::Error::last_os_error()).context("send"),
        }
    }
}

/// The packet of that number. The kernel fills in the IP header's length, identification and checksum.
fn syn(first: Ipv4Addr, number: u64, to: SocketAddrV4) -> [u8; LENGTH] {
    let low = u32::try_from(number % u64::from(ADDRESSES)).unwrap_or(0);
    let port = u16::try_from(1024 + number / u64::from(ADDRESSES) % 60_000).unwrap_or(1024);
    let source = Ipv4Addr::from_bits(first.to_bits().wrapping_add(low)).octets();
    let destination = to.ip().octets();
    let mut packet = [0; LENGTH];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = packet.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &[0x45]);
    put(8, &[64, 6]);
    put(12, &source);
    put(16, &destination);
    put(20, &port.to_be_bytes());
    put(22, &to.port().to_be_bytes());
    put(24, &low.to_be_bytes()); // sequence number
    put(32, &[0x50, 0x02, 0xff, 0xff]); // five words, SYN, window
    let sum = checksum(&packet);
    if let Some(place) = packet.get_mut(36..38) {
        place.copy_from_slice(&sum);
    }
    packet
}

/// TCP's, over the pseudo-header (RFC 9293) and the segment.
fn checksum(packet: &[u8; LENGTH]) -> [u8; 2] {
    let words = packet.iter().skip(12).enumerate();
    let sum: u32 = words.map(|(at, byte)| u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 }).sum();
    let sum = sum + 6 + 20; // protocol and length
    let sum = (sum >> 16) + (sum & 0xffff);
    let [_, _, high, low] = (!((sum >> 16) + sum)).to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_syn_with_a_valid_checksum() {
        let to = "172.30.0.11:30081".parse().unwrap();
        for number in [0, 1, 131_071, 131_072, 9_999_999] {
            let packet = syn("198.18.0.0".parse().unwrap(), number, to);
            let mut filled = packet;
            filled[36..38].fill(0);
            assert_eq!(checksum(&filled), packet[36..38]);
            let pseudo = [&packet[12..20], &[0, 6, 0, 20], &packet[20..]].concat();
            let sum: u32 = pseudo.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
            assert_eq!(packet[33], 2);
        }
    }

    #[test]
    fn no_two_packets_are_alike() {
        let to = "172.30.0.11:30081".parse().unwrap();
        let packet = |number| syn("198.18.0.0".parse().unwrap(), number, to);
        assert_ne!(packet(0)[12..22], packet(131_072)[12..22]);
        assert_ne!(packet(0)[12..22], packet(1)[12..22]);
    }
}
