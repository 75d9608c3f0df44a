//! Removing connections that are over, and counting those that go on.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use crate::error::Result;
use crate::services::Protocol;

use super::table::{Connections, Position};
use super::types::{Connection, Kind, State};

const TCP: u8 = Protocol::Tcp.number();
const UDP: u8 = Protocol::Udp.number();
const SCTP: u8 = Protocol::Sctp.number();

/// What only one entry knows of may be going on where the other entry was: it is evicted, and made again by the next
/// packet.
const ALONE: Duration = Duration::from_secs(120);

/// A port that was given to a translated source is not given again before the peer's TIME_WAIT is over.
const TRANSLATED: Duration = Duration::from_secs(120);

/// How long a connection without packets goes on.
fn timeout(connection: &Connection) -> Duration {
    let has_port = connection.source.port() != connection.client.port();
    timeout_of(connection.protocol, connection.state, has_port)
}

/// The same by what it depends on. `has_port`: its source was given a port here.
pub(crate) fn timeout_of(protocol: u8, state: State, has_port: bool) -> Duration {
    let seconds = match (protocol, state) {
        (TCP | SCTP, State::Established) => 8_000,
        (TCP | SCTP, State::New | State::Closing) => 60,
        (TCP | SCTP, State::Closed) if has_port => return TRANSLATED,
        (TCP | SCTP, State::Closed) => 10,
        (UDP, State::New) => 60,
        (UDP, _) => 180,
        _ => 10,
    };
    Duration::from_secs(seconds)
}

/// Whether a connection is over, by its two entries. It goes on as long as the one that was seen last.
fn is_over(entry: &Connection, other: Option<&Connection>) -> bool {
    let limit = timeout(entry);
    match other {
        // It is as far as the entry that is farther.
        Some(other) => {
            let limit = if entry.state >= other.state { limit } else { timeout(other) };
            entry.idle.min(other.idle) > limit
        }
        None if entry.kind != Kind::Plain => entry.idle > limit.max(ALONE),
        None => entry.idle > limit,
    }
}

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// How many entries there are, by the number of the protocol and whether they are of translated connections.
    pub entries: BTreeMap<(u8, bool), u64>,
    /// How many entries there are in the tables of established and of new connections.
    pub tables: [u64; 2],
    /// How many connections go on, by the number of the Service's port and the backend.
    pub active: HashMap<(u32, SocketAddr), u64>,
}

impl Sweep {
    fn count(&mut self, entry: &Connection) {
        *self.entries.entry((entry.protocol, entry.kind != Kind::Plain)).or_default() += 1;
        let [established, new] = &mut self.tables;
        *(if entry.established { established } else { new }) += 1;
        if entry.kind == Kind::Forward && entry.service > 0 && entry.state != State::Closed {
            *self.active.entry((entry.service, entry.backend)).or_default() += 1;
        }
    }
}

impl Connections {
    /// Removes what is over. `pause` is called between batches of some thousands: it may sleep, and ends the sweep by
    /// returning false.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn sweep(&self, mut pause: impl FnMut() -> bool) -> Result<Sweep> {
        let (mut sweep, mut position) = (Sweep::default(), Position::default());
        while let Some(entries) = self.next(&mut position)? {
            for entry in entries {
                let is_removed = entry.idle > timeout(&entry) && self.remove_if_over(&entry)?;
                if !is_removed {
                    sweep.count(&entry);
                }
            }
            if !pause() {
                break;
            }
        }
        Ok(sweep)
    }

    /// Removes the connections that `is_wanted` says, at once. `go_on` is asked between batches of some thousands. Returns
    /// how many entries were wanted.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn remove_all(
        &self,
        is_wanted: impl Fn(&Connection) -> bool,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<u64> {
        let (mut removed, mut position) = (0, Position::default());
        while go_on()
            && let Some(entries) = self.next(&mut position)?
        {
            for entry in entries.iter().filter(|entry| is_wanted(entry)) {
                self.remove(entry)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Its entry may have been changed, or its other entry removed, since it was read.
    fn remove_if_over(&self, entry: &Connection) -> Result<bool> {
        let Some(now) = self.again(entry)? else { return Ok(true) };
        let over = is_over(&now, self.other(&now)?.as_ref());
        if over {
            self.remove(&now)?;
        }
        Ok(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::connections::Tuple;

    fn entry(protocol: u8, state: State, kind: Kind, idle: u64) -> Connection {
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        Connection {
            kind,
            protocol,
            client: address(1),
            frontend: address(2),
            source: address(1),
            backend: address(3),
            service: 5,
            state,
            established: true,
            idle: Duration::from_secs(idle),
            tunnel: false,
            client_ifindex: 0,
            server_ifindex: 0,
            key: Tuple::default(),
        }
    }

    #[test]
    fn each_state_has_its_time() {
        for (protocol, state, seconds) in [
            (TCP, State::New, 60),
            (TCP, State::Established, 8_000),
            (TCP, State::Closing, 60),
            (TCP, State::Closed, 10),
            (SCTP, State::New, 60),
            (SCTP, State::Established, 8_000),
            (UDP, State::New, 60),
            (UDP, State::Established, 180),
            (1, State::New, 10),
            (1, State::Established, 10),
            (255, State::Established, 10),
        ] {
            let at = |idle| entry(protocol, state, Kind::Plain, idle);
            assert!(!is_over(&at(seconds), None) && is_over(&at(seconds + 1), None), "{protocol} {state:?}");
        }
        // With a translated port, a closed connection waits for the peer.
        let closed = |idle| Connection {
            source: SocketAddr::from(([10, 0, 0, 2], 20_000)),
            ..entry(TCP, State::Closed, Kind::Forward, idle)
        };
        for (idle, over) in [(11, false), (120, false), (121, true)] {
            assert_eq!(is_over(&closed(idle), Some(&closed(idle))), over);
        }
    }

    #[test]
    fn a_pair_goes_on_as_long_as_its_younger_half() {
        let half = |kind, idle| entry(UDP, State::Established, kind, idle);
        for (a, b, over) in [(181, 181, true), (181, 180, false), (1_000, 0, false), (180, 1_000, false)] {
            let (a, b) = (half(Kind::Forward, a), half(Kind::Reply, b));
            assert_eq!((is_over(&a, Some(&b)), is_over(&b, Some(&a))), (over, over));
        }
        // What is evicted on one side has some more time, and a half that was not told of the end ends all the same.
        let alone = |idle| is_over(&entry(TCP, State::New, Kind::Reply, idle), None);
        assert_eq!([alone(61), alone(120), alone(121)], [false, false, true]);
        let (open, closed) =
            (entry(TCP, State::Established, Kind::Forward, 11), entry(TCP, State::Closed, Kind::Reply, 11));
        assert!(is_over(&open, Some(&closed)) && is_over(&closed, Some(&open)));
    }

    #[test]
    fn what_goes_on_is_counted() {
        let mut sweep = Sweep::default();
        sweep.count(&entry(TCP, State::Established, Kind::Forward, 1));
        sweep.count(&entry(TCP, State::Established, Kind::Reply, 1));
        sweep.count(&entry(TCP, State::Closed, Kind::Forward, 1));
        sweep.count(&Connection { established: false, ..entry(UDP, State::New, Kind::Plain, 1) });
        assert_eq!(sweep.entries, BTreeMap::from([((TCP, true), 3), ((UDP, false), 1)]));
        assert_eq!(sweep.active, HashMap::from([((5, SocketAddr::from(([10, 0, 0, 1], 3))), 1)]));
        assert_eq!(sweep.tables, [3, 1]);
    }
}
