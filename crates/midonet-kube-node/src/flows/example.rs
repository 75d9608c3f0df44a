//! Records for tests.

use std::net::SocketAddr;
use std::time::Duration;

use datapath::State;
use datapath::records::{Direction, Record, Sent};
use objects::Key;

use super::Flow;

/// A flow of two Pods that is over.
pub(super) fn flow() -> Flow {
    let ends = [SocketAddr::from(([10, 244, 1, 3], 40_000)), SocketAddr::from(([10, 244, 2, 4], 8080))];
    Flow {
        record: record(ends[0], ends[1], Duration::from_secs(1)),
        client: Some(Key::namespaced("shop", "web")),
        server: Some(Key::namespaced("shop", "db")),
        service: None,
        ingress: None,
        egress: None,
        ended: true,
        written: Duration::ZERO,
    }
}

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
