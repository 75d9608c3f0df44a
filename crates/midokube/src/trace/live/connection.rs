//! The packets of one connection among those that were seen. No I/O of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use nodeapi::v1::{FollowedPacket, SeenPacket};

use super::plan::Plan;

/// A packet is not seen again, as the same one, after that.
const TOGETHER: Duration = Duration::from_secs(2);

/// So many connections that were there before are named.
const MOST_OTHERS: usize = 5;

/// So many are kept until it is known which connection it is.
const MOST_WAITING: usize = 1000;

/// A packet, and what hooks did with it.
#[derive(Debug)]
pub(super) struct Packet {
    /// From 1.
    pub(super) number: usize,
    /// From the client.
    pub(super) forward: bool,
    digest: u64,
    pub(super) rows: Vec<usize>,
}

/// What a hook did.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) node: String,
    pub(super) seen: SeenPacket,
    /// The index of its packet.
    pub(super) packet: usize,
}

/// One connection: the first that a client makes to the target, or that of its port.
#[derive(Debug)]
pub(super) struct Connection {
    client: String,
    target: String,
    /// The target, and what a node translates it to.
    servers: BTreeSet<String>,
    /// The client's port, or an echo's identifier, once it is known; then what a node translates it to.
    ports: Vec<u32>,
    is_tcp: bool,
    waiting: Vec<(String, SeenPacket)>,
    /// The client's ports of connections that were there before.
    others: BTreeSet<u32>,
    rows: Vec<Row>,
    packets: Vec<Packet>,
}

impl Connection {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            client: plan.from.address.to_string(),
            target: plan.to.address.to_string(),
            servers: [plan.to.address.to_string()].into(),
            ports: Some(plan.source_port.into()).filter(|port| *port != 0).into_iter().collect(),
            is_tcp: plan.port.protocol == "tcp",
            waiting: Vec::new(),
            others: BTreeSet::new(),
            rows: Vec::new(),
            packets: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The client's ports of connections to the target that had begun before.
    pub(super) fn others(&self) -> &BTreeSet<u32> {
        &self.others
    }

    pub(super) fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Takes what a node has seen.
    pub(super) fn add(&mut self, node: &str, seen: SeenPacket) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push((node.to_owned(), seen));
        }
    }

    /// Puts in order what was taken: the indices of the rows that are new, packet by packet.
    pub(super) fn settle(&mut self) -> Vec<usize> {
        self.waiting.sort_by_key(|(_, seen)| seen.time);
        if self.ports.is_empty() {
            self.ports.extend(self.waiting.iter().find_map(|(_, seen)| self.begins(seen)));
            if self.ports.is_empty() {
                let space = MOST_OTHERS.saturating_sub(self.others.len());
                let others: BTreeSet<_> =
                    self.waiting.iter().filter_map(|(_, seen)| self.client_port(seen)).collect();
                self.others.extend(others.into_iter().take(space));
                // Replies may have come before the packet that says which connection it is: those of the last moment stay.
                let old = self.waiting.len().saturating_sub(MOST_WAITING / 2);
                self.waiting.drain(..old);
                return Vec::new();
            }
        }
        let translated: Vec<_> = self.waiting.iter().filter_map(|(_, seen)| self.translated(seen)).collect();
        for (port, server) in translated {
            self.servers.insert(server);
            if !self.ports.contains(&port) {
                self.ports.push(port);
            }
        }
        let first = self.rows.len();
        for (node, seen) in std::mem::take(&mut self.waiting) {
            if let Some(forward) = self.direction(&seen) {
                self.file(node, seen, forward);
            }
        }
        let mut new: Vec<usize> = (first..self.rows.len()).collect();
        new.sort_by_key(|index| self.rows.get(*index).map(|row| (row.packet, row.seen.time)));
        new
    }

    /// The client's port, if this packet is from it to the target.
    fn client_port(&self, seen: &SeenPacket) -> Option<u32> {
        let before = seen.before.as_ref()?;
        let is_it =
            before.source == self.client && before.destination == self.target && before.source_port != 0;
        is_it.then_some(before.source_port)
    }

    /// The same, if the connection begins with this packet; of other protocols than TCP, any does.
    fn begins(&self, seen: &SeenPacket) -> Option<u32> {
        let port = self.client_port(seen)?;
        let what = seen.before.as_ref().map_or("", |before| before.what.as_str());
        (!self.is_tcp || what.split(',').next() == Some("SYN")).then_some(port)
    }

    /// The port that the client's packet leaves with, and for whom.
    fn translated(&self, seen: &SeenPacket) -> Option<(u32, String)> {
        let (before, after) = (seen.before.as_ref()?, seen.after.as_ref()?);
        let port = self.client_port(seen).filter(|port| self.ports.contains(port))?;
        let is_its =
            after.source == self.client && after.protocol == before.protocol && after.source_port != 0;
        (is_its && port != 0).then(|| (after.source_port, after.destination.clone()))
    }

    /// Whether it is from the client; `None`: it belongs to another connection.
    fn direction(&self, seen: &SeenPacket) -> Option<bool> {
        let before = seen.before.as_ref()?;
        let is_client =
            |address: &str, port: u32| address == self.client && (port == 0 || self.ports.contains(&port));
        let between = |[source, destination]: [&String; 2], [source_port, destination_port]: [u32; 2]| {
            if is_client(source, source_port) && self.servers.contains(destination) {
                return Some(true);
            }
            (is_client(destination, destination_port) && self.servers.contains(source)).then_some(false)
        };
        if before.about_source.is_empty() {
            let FollowedPacket { source, source_port, destination, destination_port, .. } = before;
            return between([source, destination], [*source_port, *destination_port]);
        }
        // What an error is about went the other way.
        let FollowedPacket {
            about_source, about_source_port, about_destination, about_destination_port, ..
        } = before;
        between([about_source, about_destination], [*about_source_port, *about_destination_port])
            .map(|forward| !forward)
    }

    /// Adds a row to the packet that it is of, or to a new one.
    fn file(&mut self, node: String, seen: SeenPacket, forward: bool) {
        let digest = seen.before.as_ref().map(|before| before.digest).unwrap_or_default();
        let fits = |packet: &Packet| {
            packet.forward == forward
                && packet.digest == digest
                && packet.rows.iter().filter_map(|row| self.rows.get(*row)).all(|row| {
                    let is_there = row.node == node
                        && row.seen.hook == seen.hook
                        && row.seen.interface == seen.interface;
                    !is_there && row.seen.time.abs_diff(seen.time) < nanoseconds(TOGETHER)
                })
        };
        let place = self.packets.iter().rposition(fits).unwrap_or_else(|| {
            let number = self.packets.len() + 1;
            self.packets.push(Packet { number, forward, digest, rows: Vec::new() });
            number - 1
        });
        if let Some(packet) = self.packets.get_mut(place) {
            packet.rows.push(self.rows.len());
        }
        self.rows.push(Row { node, seen, packet: place });
    }

    /// The rows of a packet.
    pub(super) fn rows_of(&self, packet: &Packet) -> impl DoubleEndedIterator<Item = &Row> {
        packet.rows.iter().filter_map(|row| self.rows.get(*row))
    }

    /// Whether a TCP connection has ended: by a reset, or from both sides.
    pub(super) fn is_over(&self) -> bool {
        let has = |forward: Option<bool>, flag: &str| {
            self.packets.iter().any(|packet| {
                let is_it = forward.is_none_or(|forward| packet.forward == forward);
                is_it && self.rows_of(packet).next().is_some_and(|row| flags(row).any(|one| one == flag))
            })
        };
        self.is_tcp && (has(None, "RST") || has(Some(true), "FIN") && has(Some(false), "FIN"))
    }
}

/// The flags of a TCP segment.
fn flags(row: &Row) -> impl Iterator<Item = &str> {
    let what = row.seen.before.as_ref().map_or("", |before| before.what.as_str());
    what.split(',').next().unwrap_or_default().split('/')
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
