//! Records in the agent's words.

use std::net::SocketAddr;
use std::time::Duration;

use crate::connections::{State, socket, state_of};
use crate::layout::connections::{
    CONNECTION_AUDITED_EGRESS, CONNECTION_AUDITED_INGRESS, CONNECTION_CLIENT_UPPER, CONNECTION_REPLIED, Tuple,
};
use crate::layout::records::{RECORD_LATE, Record as RawRecord};
use crate::sys;

/// What one end sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets; one that the kernel will cut into segments counts once.
    pub packets: u64,
    /// Bytes of their frames: with the Ethernet header, without a tunnel's.
    pub bytes: u64,
}

/// What policy said to a connection in one direction on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// The rule that let it pass; 0: none did, or none was asked.
    pub rule: u32,
    /// It only passes because its policy is on trial.
    pub audited: bool,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The protocol's number in IP headers; ICMPv6 has that of ICMP.
    pub protocol: u8,
    /// Who began it. For ICMP, all ports are the echo's identifier.
    pub client: SocketAddr,
    /// Where it was sent to: a Service's address and port, or the backend's own.
    pub frontend: SocketAddr,
    /// What the client is to the backend.
    pub source: SocketAddr,
    /// Who serves it.
    pub backend: SocketAddr,
    /// The number of the Service's port; 0: it is for none.
    pub service: u32,
    /// The index of the host side of the Pod that is the client; 0: it is no Pod of this node.
    pub client_ifindex: u32,
    /// The same of the server.
    pub server_ifindex: u32,
    /// What policy said when it came to its server.
    pub ingress: Direction,
    /// What policy said when its client sent it.
    pub egress: Direction,
    /// How far it is.
    pub state: State,
    /// The record does not begin with the connection's first packet: it went on already.
    pub late: bool,
    /// TCP: how long it took from the client's SYN to the server's SYN/ACK, as seen on this node, in microseconds.
    pub round_trip: Option<Duration>,
    /// Tells it from another connection with the same addresses and ports.
    pub id: u64,
    /// When the record began, since boot.
    pub began: Duration,
    /// When the last packet came, since boot, rounded down by up to ten milliseconds.
    pub last: Duration,
    /// What the client sent.
    pub client_sent: Sent,
    /// What the server sent.
    pub server_sent: Sent,
}

impl Record {
    pub(super) fn new(key: Tuple, value: &RawRecord, clock: Clock) -> Self {
        let (lower, upper) = (socket(key.lower, key.lower_port), socket(key.upper, key.upper_port));
        let client_upper = value.state & CONNECTION_CLIENT_UPPER != 0;
        let (source, backend) = if client_upper { (upper, lower) } else { (lower, upper) };
        let [ingress, egress] = value.rules;
        let direction = |rule, audited| Direction { rule, audited: value.state & audited != 0 };
        let replied = value.state & CONNECTION_REPLIED != 0 && value.round_trip > 0;
        let [client_sent, server_sent] =
            value.sent.map(|sent| Sent { packets: sent.packets, bytes: sent.bytes });
        let began = clock.since_boot(value.began);
        Self {
            protocol: key.protocol,
            client: socket(value.client, value.client_port),
            frontend: socket(value.frontend, value.frontend_port),
            source,
            backend,
            service: value.service,
            client_ifindex: value.client_ifindex,
            server_ifindex: value.server_ifindex,
            ingress: direction(ingress, CONNECTION_AUDITED_INGRESS),
            egress: direction(egress, CONNECTION_AUDITED_EGRESS),
            state: state_of(value.state),
            late: value.state & RECORD_LATE != 0,
            round_trip: replied.then(|| Duration::from_micros(value.round_trip.into())),
            id: value.began,
            began,
            // The clock of a packet that follows the first one at once is behind that of the first one.
            last: clock.since_boot(value.last).max(began),
            client_sent,
            server_sent,
        }
    }
}

/// By how much the two clocks of the kernel differ: the maps have CLOCK_MONOTONIC, and everybody else CLOCK_BOOTTIME, which
/// goes on in suspension. In steps, so that the same time of the maps is the same time at every reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    ahead: u64,
}

/// The steps, in nanoseconds.
const STEP: u64 = 10_000_000;

impl Clock {
    pub(crate) fn now() -> Self {
        Self::of(sys::monotonic_ns(), sys::boot_ns())
    }

    fn of(monotonic: u64, boot: u64) -> Self {
        Self { ahead: boot.saturating_sub(monotonic).saturating_add(STEP / 2) / STEP * STEP }
    }

    /// A time of the maps, since boot.
    fn since_boot(self, monotonic: u64) -> Duration {
        Duration::from_nanos(monotonic.saturating_add(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::tuple;
    use crate::layout::Counter;
    use crate::layout::connections::{CONNECTION_FIN_CLIENT, CONNECTION_FIN_SERVER};

    const CLOCK: Clock = Clock { ahead: 300_000_000_000 };

    fn raw() -> RawRecord {
        RawRecord {
            client: "10.0.0.9".parse::<std::net::IpAddr>().unwrap().into(),
            client_port: 1234u16.to_be_bytes(),
            frontend: "10.96.0.1".parse::<std::net::IpAddr>().unwrap().into(),
            frontend_port: 80u16.to_be_bytes(),
            service: 7,
            rules: [3, 4],
            state: CONNECTION_CLIENT_UPPER | CONNECTION_REPLIED | CONNECTION_AUDITED_EGRESS,
            round_trip: 250,
            began: 90_000_000_000,
            last: 89_999_000_000,
            sent: [Counter { packets: 1, bytes: 60 }, Counter { packets: 2, bytes: 120 }],
            ..RawRecord::default()
        }
    }

    #[test]
    fn a_record_says_who_asked_whom_for_what_and_got_whom() {
        let (source, backend) = ("10.0.0.9:20001".parse().unwrap(), "10.0.0.4:8080".parse().unwrap());
        let key = tuple(source, backend, 6, false);
        let record = Record::new(key, &raw(), CLOCK);
        assert_eq!((record.source, record.backend), (source, backend));
        assert_eq!(record.client, "10.0.0.9:1234".parse().unwrap());
        assert_eq!(record.frontend, "10.96.0.1:80".parse().unwrap());
        assert_eq!(record.ingress, Direction { rule: 3, audited: false });
        assert_eq!(record.egress, Direction { rule: 4, audited: true });
        assert_eq!((record.state, record.late), (State::Established, false));
        assert_eq!(record.round_trip, Some(Duration::from_micros(250)));
        // Ten seconds ago, by the other clock; nothing comes before its beginning.
        assert_eq!((record.began, record.last), (Duration::from_secs(390), Duration::from_secs(390)));
        assert_eq!(record.client_sent, Sent { packets: 1, bytes: 60 });
        assert_eq!(record.server_sent, Sent { packets: 2, bytes: 120 });
    }

    #[test]
    fn reading_the_clocks_one_after_the_other_changes_nothing() {
        for late in [0, 100, 4_000_000] {
            assert_eq!(Clock::of(7_000_000_000, 7_000_000_000 + late).ahead, 0);
            let suspended = Clock::of(7_000_000_000, 67_000_000_000 + late);
            assert_eq!(suspended.since_boot(5_000_000_000), Duration::from_secs(65));
        }
    }

    #[test]
    fn what_was_not_answered_has_no_round_trip() {
        let key = Tuple::default();
        let asked = RawRecord { state: 0, ..raw() };
        assert_eq!(Record::new(key, &asked, CLOCK).round_trip, None);
        let unseen = RawRecord { round_trip: 0, ..raw() };
        assert_eq!(Record::new(key, &unseen, CLOCK).round_trip, None);
        let both = CONNECTION_FIN_CLIENT | CONNECTION_FIN_SERVER | RECORD_LATE;
        let closed = Record::new(key, &RawRecord { state: both, ..raw() }, CLOCK);
        assert_eq!((closed.state, closed.late), (State::Closed, true));
    }
}
