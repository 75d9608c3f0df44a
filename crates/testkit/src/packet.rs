//! Frames and packets of both families, with valid checksums.
#![allow(missing_docs, reason = "the fields and numbers of the protocols are known by these names")]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const FRAGMENT: u8 = 44;
pub const ICMPV6: u8 = 58;

/// An Ethernet frame.
pub fn ethernet(destination: [u8; 6], source: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// The Internet checksum (RFC 1071), big endian.
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u64 =
        bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

/// An address in network byte order.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An IP packet of either family.
#[derive(Debug, Clone)]
pub struct Ip {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub hops: u8,
    pub tos: u8,
    /// IPv4: flags and offset.
    pub fragment: u16,
    /// IPv4: a multiple of four bytes.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

pub const DONT_FRAGMENT: u16 = 0x4000;
pub const MORE_FRAGMENTS: u16 = 0x2000;

impl Ip {
    /// A packet with the usual header: 64 hops, not a fragment, without options.
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8, payload: Vec<u8>) -> Self {
        Self { source, destination, protocol, hops: 64, tos: 0, fragment: 0, options: vec![], payload }
    }

    /// Header and payload.
    pub fn bytes(&self) -> Vec<u8> {
        let addresses = [octets(self.source), octets(self.destination)].concat();
        if self.source.is_ipv6() {
            let length = (self.payload.len() as u16).to_be_bytes();
            let head = [0x60, 0, 0, 0, length[0], length[1], self.protocol, self.hops];
            return [&head[..], &addresses, &self.payload].concat();
        }
        let words = 5 + self.options.len() / 4;
        let length = ((words * 4 + self.payload.len()) as u16).to_be_bytes();
        let fragment = self.fragment.to_be_bytes();
        let mut header =
            vec![0x40 | words as u8, self.tos, length[0], length[1], 0, 0, fragment[0], fragment[1]];
        header.extend([self.hops, self.protocol, 0, 0]);
        header.extend(addresses);
        header.extend(&self.options);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        [header, self.payload.clone()].concat()
    }

    /// The packet in an Ethernet frame.
    pub fn frame(&self, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
        let ethertype = if self.source.is_ipv6() { 0x86dd } else { 0x0800 };
        ethernet(destination, source, ethertype, &self.bytes())
    }
}

fn with_checksum(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    at: usize,
    mut message: Vec<u8>,
) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = if protocol == ICMP {
        vec![]
    } else {
        [octets(source), octets(destination), length.to_vec(), vec![0, 0, 0, protocol]].concat()
    };
    let sum = checksum(&[pseudo, message.clone()].concat());
    message[at..at + 2].copy_from_slice(&sum);
    message
}

/// ICMP or ICMPv6, by the addresses' family.
pub fn icmp(source: IpAddr, destination: IpAddr, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Ip {
    let protocol = if source.is_ipv6() { ICMPV6 } else { ICMP };
    let message = [&[kind, code, 0, 0][..], &rest, data].concat();
    Ip::new(source, destination, protocol, with_checksum(source, destination, protocol, 2, message))
}

/// An echo request or reply.
pub fn echo(source: IpAddr, destination: IpAddr, reply: bool, data: &[u8]) -> Ip {
    let kind = match (source.is_ipv6(), reply) {
        (false, false) => 8,
        (false, true) => 0,
        (true, false) => 128,
        (true, true) => 129,
    };
    icmp(source, destination, kind, 0, [0x12, 0x34, 0, 1], data)
}

/// A UDP packet from port 12345 to port 53.
pub fn udp(source: IpAddr, destination: IpAddr, data: &[u8]) -> Ip {
    udp_to(source, destination, 53, data)
}

/// A UDP packet from port 12345.
pub fn udp_to(source: IpAddr, destination: IpAddr, port: u16, data: &[u8]) -> Ip {
    let (port, length) = (port.to_be_bytes(), (8 + data.len() as u16).to_be_bytes());
    let message = [&[0x30, 0x39, port[0], port[1], length[0], length[1], 0, 0][..], data].concat();
    Ip::new(source, destination, UDP, with_checksum(source, destination, UDP, 6, message))
}

/// A TCP segment from port 12345 to port 80 with the flag ACK.
pub fn tcp(source: IpAddr, destination: IpAddr, data: &[u8]) -> Ip {
    let head = [0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let message = [&head[..], data].concat();
    Ip::new(source, destination, TCP, with_checksum(source, destination, TCP, 16, message))
}

/// An ARP message about IPv4 addresses (RFC 826): operation 1 is a request, 2 a reply.
pub fn arp(
    operation: u16,
    sender_mac: [u8; 6],
    sender: IpAddr,
    target_mac: [u8; 6],
    target: IpAddr,
) -> Vec<u8> {
    let operation = operation.to_be_bytes();
    let head = [0, 1, 8, 0, 6, 4, operation[0], operation[1]];
    [&head[..], &sender_mac, &octets(sender), &target_mac, &octets(target)].concat()
}

/// A neighbour solicitation (kind 135) or advertisement (136) with these options (RFC 4861).
pub fn neighbour(
    kind: u8,
    flags: u32,
    source: IpAddr,
    destination: IpAddr,
    target: IpAddr,
    options: &[u8],
) -> Ip {
    let data = [octets(target), options.to_vec()].concat();
    Ip { hops: 255, ..icmp(source, destination, kind, 0, flags.to_be_bytes(), &data) }
}

/// The option with a link-layer address: kind 1 is the source's, 2 the target's.
pub fn link_layer_option(kind: u8, mac: [u8; 6]) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

/// The payload of a VXLAN packet: its header (RFC 7348, section 5) and a frame.
pub fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat()
}

/// Sends frames out of an interface of the current network namespace, as they are. The other side of a veth pair has
/// processed them when this returns.
///
/// # Panics
/// There is no such interface, or a frame cannot be sent.
pub fn send(interface: &str, frames: &[Vec<u8>]) {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None)
        .expect("open a packet socket: run the tests as root");
    let index = if_nametoindex(interface).expect("find the interface");
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).expect("an ifindex"),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    for frame in frames {
        // SAFETY: pointers and lengths are those of the frame and of the address.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of_val(&to) as u32,
            )
        };
        assert_eq!(usize::try_from(sent), Ok(frame.len()), "{}", std::io::Error::last_os_error());
    }
}
