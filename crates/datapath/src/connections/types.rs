//! Connections in the agent's words.

use std::net::SocketAddr;
use std::time::Duration;

use crate::layout::Address;
use crate::layout::connections::{
    CONNECTION_CLIENT_UPPER, CONNECTION_FIN_CLIENT, CONNECTION_FIN_SERVER, CONNECTION_FORWARD,
    CONNECTION_KIND, CONNECTION_PLAIN, CONNECTION_REPLIED, CONNECTION_REPLY, CONNECTION_RESET,
    CONNECTION_TUNNEL, Connection as RawConnection, Tuple, VARIANT_DIRECT,
};

/// What an entry of the map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The only entry of a connection whose packets are not translated.
    Plain,
    /// The entry by which a translated connection's client is found.
    Forward,
    /// The entry by which its backend is found.
    Reply,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The server has not sent anything.
    New,
    /// Both have sent something.
    Established,
    /// TCP: one of them has sent its last.
    Closing,
    /// TCP: both have, or one has reset it.
    Closed,
}

impl State {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// An entry of a connection. Of a translated connection either entry has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Which entry it is.
    pub kind: Kind,
    /// The protocol's number in IP headers; ICMPv6 has that of ICMP.
    pub protocol: u8,
    /// Who began it. For ICMP, all ports are the echo's identifier.
    pub client: SocketAddr,
    /// Where it was sent to: a Service's address and port, if it is translated.
    pub frontend: SocketAddr,
    /// What the client is to the backend.
    pub source: SocketAddr,
    /// Who serves it.
    pub backend: SocketAddr,
    /// The number of the Service's port; 0: it is for none.
    pub service: u32,
    /// How far it is.
    pub state: State,
    /// Whether it is in the table of established connections.
    pub established: bool,
    /// How long there was no packet, in steps of about a second.
    pub idle: Duration,
    /// The client is outside and its answers go through a tunnel.
    pub tunnel: bool,
    /// The index of the host side of the Pod that is the client; 0: it is no Pod of this node.
    pub client_ifindex: u32,
    /// The same of the server.
    pub server_ifindex: u32,
    pub(super) key: Tuple,
}

impl Connection {
    /// An entry of one of the two maps, read at a time of the maps' clock.
    pub(super) fn new(key: Tuple, value: &RawConnection, established: bool, now: u32) -> Self {
        let kind = match value.state & CONNECTION_KIND {
            CONNECTION_FORWARD => Kind::Forward,
            CONNECTION_REPLY => Kind::Reply,
            _ => Kind::Plain,
        };
        debug_assert_eq!(CONNECTION_PLAIN, 0);
        let (lower, upper) = (socket(key.lower, key.lower_port), socket(key.upper, key.upper_port));
        let own = if value.state & CONNECTION_CLIENT_UPPER != 0 { (upper, lower) } else { (lower, upper) };
        let other =
            (socket(value.source, value.source_port), socket(value.destination, value.destination_port));
        let ((client, frontend), (source, backend)) = match kind {
            Kind::Plain => (own, own),
            Kind::Forward => (own, other),
            Kind::Reply => (other, own),
        };
        Self {
            kind,
            protocol: key.protocol,
            client,
            frontend,
            source,
            backend,
            service: value.service,
            state: state_of(value.state),
            established,
            idle: idle(now.wrapping_sub(value.seen)),
            tunnel: kind == Kind::Plain && value.state & CONNECTION_TUNNEL != 0,
            client_ifindex: value.client_ifindex,
            server_ifindex: value.server_ifindex,
            key,
        }
    }

    /// The key of a translated connection's other entry.
    pub(super) fn other(&self) -> Option<Tuple> {
        let (source, destination) = match self.kind {
            Kind::Plain => return None,
            Kind::Forward => (self.source, self.backend),
            Kind::Reply => (self.client, self.frontend),
        };
        // The client asked for the backend itself.
        let direct = self.kind == Kind::Reply && self.frontend == self.backend;
        Some(tuple(source, destination, self.protocol, direct))
    }
}

/// How far a connection is, by the bits of its state.
pub(crate) fn state_of(bits: u32) -> State {
    let both = CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER;
    match bits {
        bits if bits & CONNECTION_RESET != 0 || bits & both == both => State::Closed,
        bits if bits & both != 0 => State::Closing,
        bits if bits & CONNECTION_REPLIED != 0 => State::Established,
        _ => State::New,
    }
}

/// The key of a connection from one address and port to another.
pub(crate) fn tuple(source: SocketAddr, destination: SocketAddr, protocol: u8, direct: bool) -> Tuple {
    let raw = |one: SocketAddr| (Address::from(one.ip()), one.port().to_be_bytes());
    let (source, destination) = (raw(source), raw(destination));
    // As the programs compare them: words as the machine reads them, and ports likewise.
    let order = |(address, port): (Address, [u8; 2])| {
        (address.word.map(u32::from_ne_bytes), u16::from_ne_bytes(port))
    };
    let (lower, upper) =
        if order(source) > order(destination) { (destination, source) } else { (source, destination) };
    Tuple {
        lower: lower.0,
        upper: upper.0,
        lower_port: lower.1,
        upper_port: upper.1,
        protocol,
        variant: u8::from(direct) * VARIANT_DIRECT,
        pad: [0; 2],
    }
}

/// Units of the maps' clock. Another CPU may have written an entry a moment after the clock was read.
pub(super) fn idle(units: u32) -> Duration {
    let units = if units > u32::MAX / 2 { 0 } else { units };
    Duration::from_nanos(u64::from(units) << 30)
}

/// An address and a port of a map.
pub(crate) fn socket(address: Address, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(address.into(), u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both entries of a connection say the same, and each finds the other.
    #[test]
    fn either_entry_has_all_of_a_connection() {
        for (client, frontend, source, backend) in [
            ("10.0.0.9:1234", "10.96.0.1:80", "10.0.0.9:1234", "10.0.1.7:8080"),
            ("10.0.0.9:1234", "10.96.0.1:80", "10.0.0.1:20001", "10.0.0.9:8080"),
            ("192.0.2.9:1", "192.0.2.1:30000", "192.0.2.1:20001", "10.0.0.9:8080"),
            ("[fd00::9]:1234", "[fd96::1]:53", "[fd00::9]:1234", "[fd00::7]:53"),
            ("[fd00::9]:1234", "[fd96::1]:53", "[fd00::1]:20000", "[fd00::9]:53"),
            // Straight to a backend, with another source port.
            ("10.0.0.9:1234", "10.0.1.7:8080", "10.0.0.9:20007", "10.0.1.7:8080"),
        ] {
            let [client, frontend, source, backend] =
                [client, frontend, source, backend].map(|text| text.parse::<SocketAddr>().unwrap());
            let direct = frontend == backend;
            let forward = tuple(client, frontend, 17, direct);
            let reply = tuple(source, backend, 17, false);
            let value = |kind, key: &Tuple, from: SocketAddr, (to_source, to): (SocketAddr, SocketAddr)| {
                let raw = |one: SocketAddr| (Address::from(one.ip()), one.port().to_be_bytes());
                let upper = (key.upper, key.upper_port) == raw(from);
                RawConnection {
                    source: raw(to_source).0,
                    source_port: raw(to_source).1,
                    destination: raw(to).0,
                    destination_port: raw(to).1,
                    service: 7,
                    client_ifindex: 5,
                    server_ifindex: 6,
                    state: kind | if upper { CONNECTION_CLIENT_UPPER } else { 0 },
                    ..RawConnection::default()
                }
            };
            let a = Connection::new(
                forward,
                &value(CONNECTION_FORWARD, &forward, client, (source, backend)),
                true,
                9,
            );
            let b =
                Connection::new(reply, &value(CONNECTION_REPLY, &reply, source, (client, frontend)), true, 9);
            assert_eq!((a.client, a.frontend, a.source, a.backend), (client, frontend, source, backend));
            assert_eq!(b, Connection { kind: Kind::Reply, key: reply, ..a });
            assert_eq!((a.other(), b.other()), (Some(reply), Some(forward)));
            assert_eq!((a.service, a.state, a.idle), (7, State::New, idle(9)));
            assert_eq!((a.client_ifindex, a.server_ifindex), (5, 6));
        }
    }

    #[test]
    fn a_plain_entry_has_one_key_for_both_directions() {
        for (client, server) in
            [("10.0.0.9:2", "10.0.0.7:1"), ("10.0.0.7:1", "10.0.0.9:2"), ("[fd00::1]:9", "[fd00::1]:8")]
        {
            let [client, server] = [client, server].map(|text| text.parse::<SocketAddr>().unwrap());
            let key = tuple(client, server, 6, false);
            assert_eq!(key, tuple(server, client, 6, false));
            let upper = key.upper_port == client.port().to_be_bytes();
            for (bits, state) in [
                (0, State::New),
                (CONNECTION_REPLIED, State::Established),
                (CONNECTION_REPLIED | CONNECTION_FIN_SERVER, State::Closing),
                (CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER, State::Closed),
                (CONNECTION_RESET, State::Closed),
            ] {
                let state_bits = bits | if upper { CONNECTION_CLIENT_UPPER } else { 0 };
                let value = RawConnection { state: state_bits, seen: 5, ..RawConnection::default() };
                let found = Connection::new(key, &value, false, 3);
                assert_eq!((found.client, found.frontend, found.state), (client, server, state));
                assert_eq!((found.source, found.backend, found.other()), (client, server, None));
                assert_eq!(found.idle, Duration::ZERO, "seen after the clock was read");
            }
        }
    }
}
