//! The beginning of a frame, as it was captured: what is followed of it.

use std::net::IpAddr;

/// Bytes of headers.
const ETHERNET: usize = 14;
const UDP_HEADER: usize = 8;
const VXLAN_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The flag that there is an identifier (RFC 7348).
const VXLAN_FLAGS: u8 = 0x08;

/// So many bytes of what a packet carries tell it from others.
const DIGESTED: usize = 16;

/// The headers of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sends it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// The number of the transport protocol; that of ICMP also in IPv6.
    pub protocol: u8,
    /// Source and destination; of an echo, both are its identifier; `None`: it has none, or is a later fragment.
    pub ports: Option<(u16, u16)>,
    /// TTL or hop limit.
    pub hops: u8,
    /// Bytes that the transport carries, headers not counted; of IP, if the transport is not read.
    pub payload: u32,
    /// A later fragment, or one whose extension headers (IPv6) are not read: it has no ports here.
    pub fragment: bool,
    /// With that protocol.
    pub tcp: Option<Tcp>,
    /// With that protocol.
    pub icmp: Option<Icmp>,
    /// Of what it carries: equal at every hook, and different in most other packets.
    pub digest: u64,
}

/// Of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// FIN, SYN, RST, PSH, ACK, URG, from the lowest bit.
    pub flags: u8,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
}

/// Of a header of ICMP or ICMPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// Of an echo.
    pub sequence: u16,
    /// The packet that an error is about.
    pub quoted: Option<Box<Header>>,
}

/// The ends of the tunnel that a frame is in, and its packet, or the one in the tunnel, by the UDP port of tunnels.
pub(super) fn read(frame: &[u8], tunnel_port: u16) -> (Option<(IpAddr, IpAddr)>, Option<Header>) {
    let Some(outer) = frame.get(ETHERNET..) else { return (None, None) };
    let Some((ip, carried)) = ip(outer) else { return (None, None) };
    if let Some(inner) = tunnelled(&ip, carried, tunnel_port) {
        let header = inner.get(ETHERNET..).and_then(|packet| header(packet, true));
        return (Some((ip.source, ip.destination)), header);
    }
    (None, header(outer, true))
}

/// The frame in a tunnel.
fn tunnelled<'a>(ip: &Header, carried: &'a [u8], port: u16) -> Option<&'a [u8]> {
    let is_vxlan = ip.protocol == UDP
        && !ip.fragment
        && word16(carried, 2)? == port
        && carried.get(UDP_HEADER)? & VXLAN_FLAGS != 0;
    if is_vxlan { carried.get(UDP_HEADER + VXLAN_HEADER..) } else { None }
}

/// A packet with its transport. `quotes`: also what an ICMP error is about.
fn header(packet: &[u8], quotes: bool) -> Option<Header> {
    let (mut header, carried) = ip(packet)?;
    if header.fragment {
        return Some(header);
    }
    let ports = |at| Some((word16(carried, at)?, word16(carried, at + 2)?));
    let length = match header.protocol {
        TCP => {
            header.ports = ports(0);
            header.tcp = tcp(carried);
            usize::from(carried.get(12).map_or(5, |offset| offset >> 4)) * 4
        }
        UDP => {
            header.ports = ports(0);
            UDP_HEADER
        }
        SCTP => {
            header.ports = ports(0);
            12
        }
        ICMP => {
            header.icmp = icmp(carried, header.source.is_ipv6(), quotes);
            let is_echo = header.icmp.as_ref().is_some_and(|icmp| is_echo(icmp.kind));
            header.ports =
                if is_echo { word16(carried, 4).map(|identifier| (identifier, identifier)) } else { None };
            ICMP_HEADER
        }
        _ => 0,
    };
    header.payload = header.payload.saturating_sub(u32::try_from(length).unwrap_or(0));
    header.digest = digest(&header, carried.get(length..).unwrap_or_default());
    Some(header)
}

/// An IP header, and what it carries as far as it is there.
fn ip(packet: &[u8]) -> Option<(Header, &[u8])> {
    let header = |source, destination, protocol, hops, payload, fragment| Header {
        source,
        destination,
        protocol,
        ports: None,
        hops,
        payload,
        fragment,
        tcp: None,
        icmp: None,
        digest: 0,
    };
    match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet.first()? & 0xf) * 4;
            let payload = u32::from(word16(packet, 2)?).saturating_sub(u32::try_from(length).ok()?);
            let fragment = word16(packet, 6)? & 0x1fff != 0;
            let (source, destination) = (array::<4>(packet, 12)?.into(), array::<4>(packet, 16)?.into());
            let (hops, protocol) = (*packet.get(8)?, *packet.get(9)?);
            Some((header(source, destination, protocol, hops, payload, fragment), packet.get(length..)?))
        }
        6 => {
            let (source, destination) = (array::<16>(packet, 8)?.into(), array::<16>(packet, 24)?.into());
            let protocol = match *packet.get(6)? {
                ICMPV6 => ICMP,
                other => other,
            };
            // What stands behind such headers is not read.
            let fragment = matches!(protocol, 0 | 43 | 44 | 60);
            let payload = word16(packet, 4)?.into();
            let header = header(source, destination, protocol, *packet.get(7)?, payload, fragment);
            Some((header, packet.get(40..)?))
        }
        _ => None,
    }
}

fn tcp(carried: &[u8]) -> Option<Tcp> {
    let [sequence, acknowledgment] = [word32(carried, 4)?, word32(carried, 8)?];
    Some(Tcp { flags: *carried.get(13)?, sequence, acknowledgment })
}

fn icmp(carried: &[u8], v6: bool, quotes: bool) -> Option<Icmp> {
    let (kind, code) = (*carried.first()?, *carried.get(1)?);
    let is_error = if v6 { (1..=4).contains(&kind) } else { matches!(kind, 3 | 4 | 11 | 12) };
    let quoted = if is_error && quotes {
        carried.get(ICMP_HEADER..).and_then(|quoted| header(quoted, false)).map(Box::new)
    } else {
        None
    };
    Some(Icmp { kind, code, sequence: word16(carried, 6).filter(|_| is_echo(kind)).unwrap_or(0), quoted })
}

fn is_echo(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 128 | 129)
}

/// FNV-1a, of what stays the same from hook to hook.
fn digest(header: &Header, carried: &[u8]) -> u64 {
    let tcp = header.tcp.map(|tcp| [tcp.sequence, tcp.acknowledgment, tcp.flags.into()]).unwrap_or_default();
    let icmp = header.icmp.as_ref().map(|icmp| [icmp.kind.into(), icmp.sequence.into()]).unwrap_or_default();
    let words = [&tcp[..], &icmp, &[header.payload]].concat();
    let words = words.iter().flat_map(|word| word.to_be_bytes());
    let carried = carried.iter().copied().take(DIGESTED);
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    words.chain(carried).fold(0xcbf2_9ce4_8422_2325, step)
}

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
