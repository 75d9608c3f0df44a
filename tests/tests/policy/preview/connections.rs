//! Connections of datagrams that stay open, and which of them work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plumbing::NetNs;
use serde_json::Value;

/// A datagram is sent again after so long, until there is an answer.
const AGAIN: Duration = Duration::from_millis(40);

/// Nothing that is held back comes after so long.
const QUIET: Duration = Duration::from_millis(120);

/// The first port of clients; no two have the same.
const FIRST: u16 = 30_000;

/// A connection: the client's port, which no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u16);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Servers and clients.
pub(super) struct Connections {
    stop: Arc<AtomicBool>,
    servers: Vec<JoinHandle<()>>,
    clients: BTreeMap<Id, UdpSocket>,
    next: u16,
    /// What the last question was: answers to former ones come late.
    round: u32,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { stop: Arc::default(), servers: Vec::new(), clients: BTreeMap::new(), next: FIRST, round: 0 }
    }

    /// Answers at these addresses and ports.
    pub(super) fn serve(&mut self, netns: &NetNs, addresses: &[IpAddr], ports: &[u16]) {
        let places =
            addresses.iter().flat_map(|address| ports.iter().map(|port| SocketAddr::new(*address, *port)));
        for place in places {
            let socket = netns.run(|| UdpSocket::bind(place)).unwrap().unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let stop = Arc::clone(&self.stop);
            self.servers.push(thread::spawn(move || {
                let mut buffer = [0; 16];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((length, client)) = socket.recv_from(&mut buffer) {
                        let _unreachable = socket.send_to(&buffer[..length], client);
                    }
                }
            }));
        }
    }

    /// Opens a connection.
    pub(super) fn open(&mut self, netns: &NetNs, to: SocketAddr) -> Id {
        let id = Id(self.next);
        self.next += 1;
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = netns.run(|| UdpSocket::bind((any, id.0))).unwrap().unwrap();
        socket.connect(to).unwrap();
        socket.set_nonblocking(true).unwrap();
        self.clients.insert(id, socket);
        id
    }

    /// Closes all.
    pub(super) fn close(&mut self) {
        self.clients.clear();
    }

    pub(super) fn ids(&self) -> BTreeSet<Id> {
        self.clients.keys().copied().collect()
    }

    /// The connection that a document names, if it is one of these.
    pub(super) fn find(&self, document: &Value) -> Option<Id> {
        let id = Id(u16::try_from(document["client"]["port"].as_u64()?).ok()?);
        (document["protocol"] == "udp" && self.clients.contains_key(&id)).then_some(id)
    }

    /// Connections in words.
    pub(super) fn told(&self, ids: &BTreeSet<Id>) -> String {
        let told = |id: &Id| {
            let socket = &self.clients[id];
            format!("{} -> {}", socket.local_addr().unwrap(), socket.peer_addr().unwrap())
        };
        ids.iter().map(told).collect::<Vec<_>>().join(", ")
    }

    /// Waits until all of these work.
    pub(super) fn expect(&mut self, ids: &BTreeSet<Id>, patience: Duration) {
        let until = Instant::now() + patience;
        let mut left = ids.clone();
        self.round += 1;
        while !left.is_empty() {
            assert!(Instant::now() < until, "they do not work: {}", self.told(&left));
            self.send(&left);
            thread::sleep(AGAIN);
            for id in self.answered() {
                left.remove(&id);
            }
        }
    }

    /// Which work now. Those that do are to have been waited for.
    pub(super) fn works(&mut self) -> BTreeSet<Id> {
        self.round += 1;
        let mut works = BTreeSet::new();
        for _ in 0..2 {
            let left: BTreeSet<Id> = self.ids().difference(&works).copied().collect();
            self.send(&left);
            thread::sleep(QUIET);
            works.extend(self.answered());
        }
        works
    }

    fn send(&self, ids: &BTreeSet<Id>) {
        for id in ids {
            // An ICMP error of a datagram before is told here.
            let _told = self.clients[id].send(&self.round.to_be_bytes());
        }
    }

    /// Which got an answer to the last question.
    fn answered(&self) -> BTreeSet<Id> {
        let mut answered = BTreeSet::new();
        for (id, socket) in &self.clients {
            let mut buffer = [0; 16];
            while let Ok(length) = socket.recv(&mut buffer) {
                if buffer[..length] == self.round.to_be_bytes() {
                    answered.insert(*id);
                }
            }
        }
        answered
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for server in self.servers.drain(..) {
            let _ended = server.join();
        }
    }
}
