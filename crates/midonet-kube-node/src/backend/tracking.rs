//! What a backend tells of Services and connections.

use std::net::SocketAddr;
use std::time::Duration;

use datapath::{ServiceCounters, State};
use model::ServicePortKey;

/// A tracked connection. The order is that of how long they have been idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// How long there was no packet, in steps of about a second.
    pub idle: Duration,
    /// The protocol's number in IP headers; ICMPv6 has that of ICMP.
    pub protocol: u8,
    /// Who began it. For ICMP, all ports are the echo's identifier.
    pub client: SocketAddr,
    /// Where it was sent to.
    pub frontend: SocketAddr,
    /// What the client is to the backend.
    pub source: SocketAddr,
    /// Who serves it.
    pub backend: SocketAddr,
    /// The number of the Service's port; 0: it goes through none.
    pub service: u32,
    /// How far it is.
    pub state: State,
    /// Whether its addresses or ports are translated.
    pub translated: bool,
    /// The index of the host side of the Pod that is the client; 0: it is no Pod of this node.
    pub client_ifindex: u32,
    /// The same of the server.
    pub server_ifindex: u32,
}

/// A port of a Service that is in the datapath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Which.
    pub key: ServicePortKey,
    /// The number that its connections have.
    pub number: u32,
    /// What became of connections to it.
    pub counters: ServiceCounters,
}
