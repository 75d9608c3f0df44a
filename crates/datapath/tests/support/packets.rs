//! Packets of connections, with the checksums that they have between any two ends.

use std::net::IpAddr;

use testkit::packet::{DONT_FRAGMENT, Ip, TCP, UDP, checksum, icmp, octets};

use super::services::End;

pub const SCTP: u8 = 132;

/// Those of Services.
pub const PROTOCOLS: [u8; 3] = [TCP, UDP, SCTP];

/// CRC32c (RFC 9260 appendix A), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
        crc
    })
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// The transport's header and data with the checksum that they have between these ends.
pub fn message(protocol: u8, from: End, to: End, flags: u8, data: &[u8]) -> Vec<u8> {
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let (at, rest) = match protocol {
        TCP => (16, [&[0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0][..], data].concat()),
        UDP => (6, [&(8 + data.len() as u16).to_be_bytes()[..], &[0, 0], data].concat()),
        _ => (8, [&[1, 2, 3, 4, 0, 0, 0, 0][..], data].concat()),
    };
    let mut message = [ports, rest].concat();
    if protocol == SCTP {
        let sum = crc32c(&message).to_le_bytes();
        message[8..12].copy_from_slice(&sum);
        return message;
    }
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = [octets(from.0), octets(to.0), length.to_vec(), vec![0, 0, 0, protocol]].concat();
    let mut sum = checksum(&[pseudo, message.clone()].concat());
    if protocol == UDP && sum == [0, 0] {
        sum = [0xff, 0xff];
    }
    message[at..at + 2].copy_from_slice(&sum);
    message
}

/// A packet between two ends with valid checksums; of TCP with these flags.
pub fn segment(protocol: u8, from: End, to: End, flags: u8, data: &[u8]) -> Ip {
    Ip::new(from.0, to.0, protocol, message(protocol, from, to, flags, data))
}

/// An ICMP message of the addresses' family that quotes a packet.
pub fn error(from: IpAddr, to: IpAddr, kind: (u8, u8), quoted: &[u8]) -> Ip {
    icmp(from, to, kind.0, kind.1, [0; 4], quoted)
}

/// The programs' own ICMP port unreachable about a packet, from the address that it was sent to.
pub fn refusal(packet: &Ip) -> Ip {
    answer(packet, if packet.source.is_ipv6() { (1, 4) } else { (3, 3) })
}

/// The same with another type and code.
pub fn answer(packet: &Ip, kind: (u8, u8)) -> Ip {
    let quoted = packet.bytes();
    let error = error(packet.destination, packet.source, kind, &quoted[..quoted.len() & !3]);
    let (tos, fragment) = if packet.source.is_ipv4() { (0xc0, DONT_FRAGMENT) } else { (0, 0) };
    Ip { tos, fragment, ..error }
}
