//! Records for tests.

use std::net::SocketAddr;
use std::time::Duration;

use datapath::State;
use datapath::records::{Direction, Record, Sent};

/// A record of a TCP connection from one end to another.
pub(super) fn record(client: SocketAddr, backend: SocketAddr, last: Duration) -> Record {
    Record {
        protocol: 6,
        client,
        frontend: backend,
        source: client,
        backend,
        service: 0,
        client_ifindex: 0,
        server_ifindex: 0,
        ingress: Direction::default(),
        egress: Direction::default(),
        state: State::Established,
        late: false,
        round_trip: None,
        id: 7,
        began: Duration::ZERO,
        last,
        client_sent: Sent { packets: 2, bytes: 120 },
        server_sent: Sent { packets: 1, bytes: 60 },
    }
}
