//! Packets that begin or answer a connection: as frames, and read from frames.

use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, Result};

/// Bytes of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
/// What a tunnel over IPv4 puts in front of a frame: Ethernet, IPv4, UDP, VXLAN.
pub(super) const TUNNEL: usize = ETHERNET + 20 + 8 + 8;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What a sender's TTL is.
const HOPS: u8 = 64;

/// A transport protocol whose connections are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A SYN; its reply is a SYN/ACK.
    Tcp,
    /// An empty datagram.
    Udp,
    /// An INIT; its reply is an INIT ACK.
    Sctp,
    /// An echo request; its reply is an echo reply.
    Icmp,
}

impl Transport {
    /// Its number in IP headers; that of ICMP also in IPv6.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => UDP,
            Self::Sctp => 132,
            Self::Icmp => 1,
        }
    }

    fn of(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            UDP => Some(Self::Udp),
            132 => Some(Self::Sctp),
            1 | ICMPV6 => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// A packet that begins a connection, or the reply to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The protocol.
    pub transport: Transport,
    /// Who sends it. The port of an echo is its identifier, at both ends.
    pub source: SocketAddr,
    /// Whom it is for, of the same family.
    pub destination: SocketAddr,
    /// Whether it is a reply.
    pub reply: bool,
}

impl Packet {
    /// What its receiver replies.
    #[must_use]
    pub fn answer(&self) -> Self {
        Self { source: self.destination, destination: self.source, reply: true, ..*self }
    }

    /// The frame between two MAC addresses.
    ///
    /// # Errors
    /// The addresses are not of one family.
    pub(super) fn frame(&self, to: [u8; 6], from: [u8; 6]) -> Result<Vec<u8>> {
        let (ethertype, packet) = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let payload = self.payload(&[]);
                let header = ipv4(source.octets(), destination.octets(), self.transport.number(), &payload)?;
                (IPV4, [header.to_vec(), payload].concat())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let protocol =
                    if self.transport == Transport::Icmp { ICMPV6 } else { self.transport.number() };
                let pseudo = [source.octets(), destination.octets()].concat();
                let payload = self.payload(&[&pseudo[..], &[0, 0, 0, protocol]].concat());
                let length = u16::try_from(payload.len()).map_err(|_| too_long())?;
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(length.to_be_bytes());
                header.extend([protocol, HOPS]);
                (IPV6, [header, pseudo, payload].concat())
            }
            (source, destination) => {
                return Err(Error::Trace(format!("{source} and {destination} are not of one family")));
            }
        };
        Ok([&to[..], &from, &ethertype, &packet].concat())
    }

    /// The transport header. `pseudo`: what the checksum covers besides, in IPv6.
    fn payload(&self, pseudo: &[u8]) -> Vec<u8> {
        let ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()].concat();
        let pseudo = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) if self.transport != Transport::Icmp => {
                [&source.octets()[..], &destination.octets(), &[0, self.transport.number()]].concat()
            }
            _ => pseudo.to_vec(),
        };
        match self.transport {
            Transport::Tcp => {
                let flags = if self.reply { SYN | ACK } else { SYN };
                let rest = [0, 0, 0, 1, 0, 0, 0, u8::from(self.reply), 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
                summed([ports, rest.to_vec()].concat(), 16, &pseudo)
            }
            Transport::Udp => summed([&ports[..], &[0, 8, 0, 0]].concat(), 6, &pseudo),
            // The programs do not look at SCTP's checksum, which is none that they could change.
            Transport::Sctp => {
                let chunk = [
                    if self.reply { 2 } else { 1 },
                    0,
                    0,
                    20,
                    0,
                    0,
                    0,
                    1,
                    0,
                    1,
                    0,
                    0,
                    0,
                    1,
                    0,
                    1,
                    0,
                    0,
                    0,
                    1,
                ];
                [&ports[..], &[0; 8], &chunk].concat()
            }
            Transport::Icmp => {
                let kind = match (self.source.is_ipv4(), self.reply) {
                    (true, false) => 8,
                    (true, true) => 0,
                    (false, false) => 128,
                    (false, true) => 129,
                };
                let [upper, lower] = self.source.port().to_be_bytes();
                summed(vec![kind, 0, 0, 0, upper, lower, 0, 1], 2, &pseudo)
            }
        }
    }

    /// The packet of a frame; `None`: it is none that begins or answers a connection.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET..)?;
        let (source, destination, protocol, payload): (IpAddr, IpAddr, u8, &[u8]) = match ip.first()? >> 4 {
            4 => {
                let header = usize::from(ip.first()? & 0xf) * 4;
                (array::<4>(ip, 12)?.into(), array::<4>(ip, 16)?.into(), *ip.get(9)?, ip.get(header..)?)
            }
            6 => (array::<16>(ip, 8)?.into(), array::<16>(ip, 24)?.into(), *ip.get(6)?, ip.get(40..)?),
            _ => return None,
        };
        let transport = Transport::of(protocol)?;
        let (first, second) =
            (u16::from_be_bytes(array(payload, 0)?), u16::from_be_bytes(array(payload, 2)?));
        let (from, to, reply) = match transport {
            Transport::Tcp => {
                let flags = payload.get(13)?;
                (first, second, flags & (SYN | ACK) == SYN | ACK)
            }
            Transport::Udp => (first, second, false),
            Transport::Sctp => (first, second, *payload.get(12)? == 2),
            Transport::Icmp => {
                let reply = match payload.first()? {
                    8 | 128 => false,
                    0 | 129 => true,
                    _ => return None,
                };
                let identifier = u16::from_be_bytes(array(payload, 4)?);
                (identifier, identifier, reply)
            }
        };
        let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
        Some(Self { transport, source, destination, reply })
    }
}

/// A frame in a plain tunnel over IPv4. The MAC addresses are those of the loopback interface.
pub(super) fn tunnelled(
    from: [u8; 4],
    to: [u8; 4],
    port: [u8; 2],
    vni: u32,
    inner: &[u8],
) -> Result<Vec<u8>> {
    let length = u16::try_from(inner.len() + 16).map_err(|_| too_long())?;
    let udp = [&[0xc0, 0][..], &port, &length.to_be_bytes(), &[0, 0]].concat();
    let payload = [&udp[..], &[8, 0, 0, 0], &(vni << 8).to_be_bytes(), inner].concat();
    Ok([&[0; 12][..], &IPV4, &ipv4(from, to, UDP, &payload)?, &payload].concat())
}

/// To whom a tunnel's frame is sent.
pub(super) fn tunnel_destination(frame: &[u8]) -> Option<IpAddr> {
    array::<4>(frame, ETHERNET + 16).map(IpAddr::from)
}

fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Result<[u8; 20]> {
    let [upper, lower] = u16::try_from(payload.len() + 20).map_err(|_| too_long())?.to_be_bytes();
    let [a, b, c, d] = source;
    let [e, f, g, h] = destination;
    let header = |[sum, rest]: [u8; 2]| {
        [0x45, 0, upper, lower, 0, 0, 0, 0, HOPS, protocol, sum, rest, a, b, c, d, e, f, g, h]
    };
    Ok(header(checksum(&header([0; 2]))))
}

/// The payload with its checksum at a place. The pseudo-header is this one with the payload's length.
fn summed(mut payload: Vec<u8>, at: usize, pseudo: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let covered = if pseudo.is_empty() { payload.clone() } else { [pseudo, &length, &payload].concat() };
    let sum = checksum(&covered);
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.copy_from_slice(&sum);
    }
    payload
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| match pair {
        [upper, lower] => u32::from(u16::from_be_bytes([*upper, *lower])),
        [upper] => u32::from(*upper) << 8,
        _ => 0,
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(u16::MAX)).to_be_bytes()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn too_long() -> Error {
    Error::Trace("it is longer than a packet can be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        for (source, destination) in [("10.0.0.1:4000", "10.0.0.2:80"), ("[fd00::1]:4000", "[fd00::2]:80")]
            .map(|(source, destination)| {
                (source.parse::<SocketAddr>().unwrap(), destination.parse::<SocketAddr>().unwrap())
            })
        {
            for transport in [Transport::Tcp, Transport::Udp, Transport::Sctp, Transport::Icmp] {
                let mut packet = Packet { transport, source, destination, reply: false };
                if transport == Transport::Icmp {
                    packet.destination.set_port(4000);
                }
                for packet in [packet, packet.answer()] {
                    let frame = packet.frame([1; 6], [2; 6]).unwrap();
                    let reply = packet.reply && transport != Transport::Udp;
                    assert_eq!(Packet::read(&frame), Some(Packet { reply, ..packet }));
                    for length in 0..frame.len() {
                        // Whatever it says, it says so of every beginning.
                        let _ = Packet::read(&frame[..length]);
                    }
                    if source.is_ipv4() {
                        assert_eq!(checksum(&frame[14..34]), [0, 0]);
                    }
                }
            }
        }
        let mixed = Packet {
            transport: Transport::Udp,
            source: "10.0.0.1:1".parse().unwrap(),
            destination: "[fd00::1]:1".parse().unwrap(),
            reply: false,
        };
        assert!(mixed.frame([0; 6], [0; 6]).is_err());
    }

    #[test]
    fn a_tunnel_says_where_it_leads() {
        let frame = tunnelled([10, 0, 0, 1], [10, 0, 0, 2], [0x12, 0xb5], 1, &[7; 60]).unwrap();
        assert_eq!(tunnel_destination(&frame), Some([10, 0, 0, 2].into()));
        assert_eq!(frame[TUNNEL..], [7; 60]);
        assert_eq!(checksum(&frame[14..34]), [0, 0]);
    }
}
