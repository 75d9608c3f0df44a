use std::net::Ipv4Addr;

use naming::Mac;
use serde::{Deserialize, Serialize};

/// The time to live of packets that are made here and by MidoNet's routers.
pub const TTL: u8 = 64;

/// An Ethernet frame, as far as MidoNet looks into it. IP packets are not fragments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packet {
    /// The source MAC address.
    pub src_mac: Mac,
    /// The destination MAC address.
    pub dst_mac: Mac,
    /// What is in the frame.
    pub payload: Payload,
}

/// What is in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Payload {
    /// ARP for IPv4, RFC 826.
    Arp(Arp),
    /// IPv4.
    Ipv4(Ipv4),
}

/// An ARP packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arp {
    /// Whether it is a reply. A request otherwise.
    pub reply: bool,
    /// Who sends it.
    pub sender_mac: Mac,
    /// The sender's address.
    pub sender: Ipv4Addr,
    /// Who is asked: all zeros in a request.
    pub target_mac: Mac,
    /// The address that is asked for.
    pub target: Ipv4Addr,
}

/// An IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipv4 {
    /// The source address.
    pub src: Ipv4Addr,
    /// The destination address.
    pub dst: Ipv4Addr,
    /// How many routers it may still pass.
    pub ttl: u8,
    /// What is in it.
    pub transport: Transport,
}

/// What is in an IPv4 packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the names of ports and ids are the protocols'")]
pub enum Transport {
    /// TCP.
    Tcp { src_port: u16, dst_port: u16 },
    /// UDP.
    Udp { src_port: u16, dst_port: u16 },
    /// An ICMP echo request, or the reply to one.
    Echo { reply: bool, id: u16 },
    /// An ICMP error.
    Error(IcmpError),
    /// Another protocol, by its number. MidoNet translates no addresses in it.
    Other { protocol: u8 },
}

/// An ICMP error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IcmpError {
    /// Which.
    pub kind: IcmpErrorKind,
    /// The packet that it is about.
    pub about: About,
}

/// Which ICMP error, RFC 792 and 1812.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IcmpErrorKind {
    /// Type 3 code 0.
    NetworkUnreachable,
    /// Type 3 code 1.
    HostUnreachable,
    /// Type 3 code 13.
    Prohibited,
    /// Type 11 code 0.
    TimeExceeded,
}

/// What an ICMP error says of the packet that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The source address.
    pub src: Ipv4Addr,
    /// The destination address.
    pub dst: Ipv4Addr,
    /// The protocol's number.
    pub protocol: u8,
    /// The source port. The id of an ICMP echo.
    pub src_port: u16,
    /// The destination port. The id of an ICMP echo.
    pub dst_port: u16,
}

/// To all.
pub const BROADCAST: Mac = Mac([0xff; 6]);
const NOBODY: Mac = Mac([0; 6]);
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

impl Packet {
    /// An IPv4 packet with the usual time to live.
    pub fn ipv4(macs: (Mac, Mac), src: Ipv4Addr, dst: Ipv4Addr, transport: Transport) -> Self {
        Self {
            src_mac: macs.0,
            dst_mac: macs.1,
            payload: Payload::Ipv4(Ipv4 { src, dst, ttl: TTL, transport }),
        }
    }

    /// A TCP segment. Source first, in MAC addresses and in addresses with ports.
    pub fn tcp(macs: (Mac, Mac), src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Self {
        Self::ipv4(macs, src.0, dst.0, Transport::Tcp { src_port: src.1, dst_port: dst.1 })
    }

    /// A UDP datagram.
    pub fn udp(macs: (Mac, Mac), src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Self {
        Self::ipv4(macs, src.0, dst.0, Transport::Udp { src_port: src.1, dst_port: dst.1 })
    }

    /// An ICMP echo request.
    pub fn echo(macs: (Mac, Mac), src: Ipv4Addr, dst: Ipv4Addr, id: u16) -> Self {
        Self::ipv4(macs, src, dst, Transport::Echo { reply: false, id })
    }

    /// An ARP request to all.
    pub fn arp_request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        let arp = Arp { reply: false, sender_mac: mac, sender, target_mac: NOBODY, target };
        Self { src_mac: mac, dst_mac: BROADCAST, payload: Payload::Arp(arp) }
    }

    /// The reply of the owner of `mac` to an ARP request.
    pub(crate) fn arp_reply(request: &Arp, mac: Mac) -> Self {
        let arp = Arp {
            reply: true,
            sender_mac: mac,
            sender: request.target,
            target_mac: request.sender_mac,
            target: request.sender,
        };
        Self { src_mac: mac, dst_mac: request.sender_mac, payload: Payload::Arp(arp) }
    }

    /// What the one who gets an IPv4 packet sends back: everything swapped, with the usual time to live. None for ARP,
    /// for ICMP errors, and for echo replies, to which nobody answers.
    pub fn swapped(&self) -> Option<Self> {
        let Payload::Ipv4(ip) = &self.payload else { return None };
        let transport = match ip.transport {
            Transport::Tcp { src_port, dst_port } => {
                Transport::Tcp { src_port: dst_port, dst_port: src_port }
            }
            Transport::Udp { src_port, dst_port } => {
                Transport::Udp { src_port: dst_port, dst_port: src_port }
            }
            Transport::Echo { reply: false, id } => Transport::Echo { reply: true, id },
            Transport::Other { protocol } => Transport::Other { protocol },
            Transport::Echo { reply: true, .. } | Transport::Error(_) => return None,
        };
        Some(Self::ipv4((self.dst_mac, self.src_mac), ip.dst, ip.src, transport))
    }
}

impl Ipv4 {
    /// The protocol's number.
    pub fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => TCP,
            Transport::Udp { .. } => UDP,
            Transport::Echo { .. } | Transport::Error(_) => ICMP,
            Transport::Other { protocol } => protocol,
        }
    }

    /// Source and destination port, as rules see them: type and code of an ICMP message.
    pub(crate) fn ports(&self) -> (u16, u16) {
        match &self.transport {
            Transport::Tcp { src_port, dst_port } | Transport::Udp { src_port, dst_port } => {
                (*src_port, *dst_port)
            }
            Transport::Echo { reply: false, .. } => (8, 0),
            Transport::Echo { reply: true, .. } | Transport::Other { .. } => (0, 0),
            Transport::Error(error) => match error.kind {
                IcmpErrorKind::NetworkUnreachable => (3, 0),
                IcmpErrorKind::HostUnreachable => (3, 1),
                IcmpErrorKind::Prohibited => (3, 13),
                IcmpErrorKind::TimeExceeded => (11, 0),
            },
        }
    }

    /// What an ICMP error about it says.
    pub(crate) fn about(&self) -> About {
        let (src_port, dst_port) = match self.transport {
            Transport::Echo { id, .. } => (id, id),
            Transport::Error(_) | Transport::Other { .. } => (0, 0),
            _ => self.ports(),
        };
        About { src: self.src, dst: self.dst, protocol: self.protocol(), src_port, dst_port }
    }
}

/// Whether a frame to it is for several: the lowest bit of the first byte.
pub(crate) fn is_multicast(mac: Mac) -> bool {
    let [first, ..] = mac.0;
    first & 1 == 1
}
