//! What a Pod or an agent is asked to try, and what comes of it: the same for who asks and for who answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What to try, and how long each try may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) what: What,
    pub(super) milliseconds: u64,
}

/// What to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// TCP connections, one after the other. Each asks who answers, and carries so many bytes there and back.
    Tcp { to: SocketAddr, times: u16, bytes: u32 },
    /// A TCP connection, over which nothing is sent.
    Connect { to: SocketAddr },
    /// Datagrams, each of a socket of its own, that ask who answers.
    Udp { to: SocketAddr, times: u16, size: Size },
    /// An ICMP echo request.
    Ping { to: IpAddr },
    /// The addresses of a name, of one family, by that DNS server.
    Resolve { name: String, ipv6: bool, tcp: bool, server: IpAddr },
    /// What /etc/resolv.conf says.
    Resolver,
    /// A TCP connection, or a UDP socket, that stays open; it asks who answers.
    Open { key: String, to: SocketAddr, udp: bool },
    /// The same connection asks again.
    Use { key: String },
}

/// How large a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Size {
    /// It fits everywhere.
    Small,
    /// The packet has so many bytes and must not be fragmented.
    Whole { bytes: u16 },
    /// The packet has so many bytes and is fragmented.
    Fragmented { bytes: u16 },
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    /// That Pod answers, and sees the client at that address.
    Answered { by: String, client: SocketAddr },
    /// The connection is established, or the ping answered.
    Reached,
    /// A TCP reset in answer to the SYN, or an ICMP port unreachable.
    Refused,
    /// Another ICMP error, or no route.
    Unreachable { why: String },
    /// An established connection was reset, or ended early.
    Reset,
    /// Nothing came in time; whether a connection was established before.
    Silent { connected: bool },
    /// The packet is larger than the path takes.
    TooBig { mtu: Option<u32> },
    /// What came is not what was sent.
    Damaged { why: String },
    /// The addresses of a name, sorted.
    Resolved { addresses: Vec<IpAddr> },
    /// The DNS server answers that there is no such name, or that it fails.
    NoName { why: String },
    /// The DNS servers, and the domain of Services, if there is one.
    Resolver { servers: Vec<IpAddr>, domain: Option<String> },
    /// It could not be tried.
    Failed { why: String },
}

impl What {
    /// The address that packets are for; `None`: there is none, or the connection knows it.
    pub(super) fn destination(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { to, .. } | Self::Connect { to } | Self::Udp { to, .. } | Self::Open { to, .. } => {
                Some(to.ip())
            }
            Self::Ping { to } => Some(*to),
            Self::Resolve { server, .. } => Some(*server),
            Self::Resolver | Self::Use { .. } => None,
        }
    }

    /// The protocol, and the port if it has one.
    pub(super) fn port(&self) -> Option<(&'static str, u16)> {
        match self {
            Self::Tcp { to, .. } | Self::Connect { to } => Some(("tcp", to.port())),
            Self::Udp { to, .. } => Some(("udp", to.port())),
            Self::Open { to, udp, .. } => Some((if *udp { "udp" } else { "tcp" }, to.port())),
            Self::Ping { .. } => Some(("icmp", 0)),
            Self::Resolve { tcp, .. } => Some((if *tcp { "tcp" } else { "udp" }, DNS_PORT)),
            Self::Resolver | Self::Use { .. } => None,
        }
    }

    /// How many tries it has.
    pub(super) fn tries(&self) -> u16 {
        match self {
            Self::Tcp { times, .. } | Self::Udp { times, .. } => *times,
            _ => 1,
        }
    }
}

impl Question {
    pub(super) fn new(what: What, patience: Duration) -> Self {
        Self { what, milliseconds: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX) }
    }

    /// How long each try may take.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.milliseconds.clamp(1, LONGEST))
    }
}

/// Where DNS servers answer.
pub(super) const DNS_PORT: u16 = 53;

/// A try takes no longer.
const LONGEST: u64 = 60_000;
