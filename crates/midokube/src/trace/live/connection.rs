//! The packets of one connection among those that were seen. No I/O of its own.

use std::collections::BTreeSet;

use nodeapi::v1::{FollowedPacket, SeenPacket};

use super::plan::Plan;

/// A packet is not seen again, as the same one, so many rounds later. Nodes are asked in rounds; their clocks may differ.
const TOGETHER: usize = 8;

/// So many are kept until it is known which connection it is.
const MOST_WAITING: usize = 4000;

/// So many connections that were there before are named.
const MOST_OTHERS: usize = 5;

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
    /// When it was told.
    pub(super) round: usize,
}

/// An address and a port; of an echo, the identifier.
type End = (String, u32);

/// One connection: the first that a client begins with the target, or that of its port.
#[derive(Debug)]
pub(super) struct Connection {
    client: String,
    target: String,
    protocol: &'static str,
    /// The client's port, if one is asked for.
    asked: u32,
    /// Client and server, as the client has them, and as nodes translate them. Nothing, until it is known which connection it is.
    ends: Vec<[End; 2]>,
    /// The client's ports of connections that were there before.
    others: BTreeSet<u32>,
    waiting: Vec<(String, SeenPacket)>,
    rows: Vec<Row>,
    packets: Vec<Packet>,
    /// How many packets are filed at most.
    most: usize,
    round: usize,
}

impl Connection {
    pub(super) fn new(plan: &Plan, most: usize) -> Self {
        Self {
            client: plan.from.address.to_string(),
            target: plan.to.address.to_string(),
            protocol: plan.port.protocol,
            asked: plan.source_port.into(),
            ends: Vec::new(),
            others: BTreeSet::new(),
            waiting: Vec::new(),
            rows: Vec::new(),
            packets: Vec::new(),
            most,
            round: 0,
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// The client's ports of connections to the target that had begun before.
    pub(super) fn others(&self) -> &BTreeSet<u32> {
        &self.others
    }

    /// The number of the round that is going on.
    pub(super) fn round(&self) -> usize {
        self.round
    }

    /// Whether no more packets are filed.
    pub(super) fn is_full(&self) -> bool {
        self.packets.len() >= self.most
    }

    /// Takes what a node has seen. Says whether there is space for it.
    pub(super) fn add(&mut self, node: &str, seen: SeenPacket) -> bool {
        let has_space = self.waiting.len() < MOST_WAITING;
        if has_space {
            self.waiting.push((node.to_owned(), seen));
        }
        has_space
    }

    /// Puts in order what was taken in this round: the indices of the rows that are new, packet by packet.
    pub(super) fn settle(&mut self) -> Vec<usize> {
        self.waiting.sort_by_key(|(_, seen)| seen.time);
        if self.ends.is_empty() {
            self.ends.extend(self.waiting.iter().find_map(|(_, seen)| self.begins(seen)));
        }
        let first = self.rows.len();
        if self.ends.is_empty() {
            let space = MOST_OTHERS.saturating_sub(self.others.len());
            let ports: BTreeSet<_> =
                self.waiting.iter().filter_map(|(_, seen)| self.client_port(seen)).collect();
            self.others.extend(ports.into_iter().take(space));
            // Replies may have come before the packet that says which connection it is: those of the last moment stay.
            let old = self.waiting.len().saturating_sub(MOST_WAITING / 4);
            self.waiting.drain(..old);
        } else {
            // What a node translates it to is known before the other node's rows are looked at.
            for index in 0..self.waiting.len() {
                let known = self.waiting.get(index).and_then(|(_, seen)| self.translated(seen));
                self.ends.extend(known);
            }
            for (node, seen) in std::mem::take(&mut self.waiting) {
                if let Some(forward) = self.direction(&seen) {
                    self.file(node, seen, forward);
                }
            }
        }
        self.round += 1;
        let mut new: Vec<usize> = (first..self.rows.len()).collect();
        new.sort_by_key(|index| self.rows.get(*index).map(|row| (row.packet, row.seen.time)));
        new
    }

    /// The client's port, if this packet is from it to the target.
    fn client_port(&self, seen: &SeenPacket) -> Option<u32> {
        let before = seen.before.as_ref()?;
        let is_it = before.source == self.client
            && before.destination == self.target
            && before.protocol == self.protocol
            && !before.without_ports;
        is_it.then_some(before.source_port)
    }

    /// The ends, if a connection begins with this packet, or has the port that is asked for; of other protocols than TCP, any
    /// packet may begin one.
    fn begins(&self, seen: &SeenPacket) -> Option<[End; 2]> {
        let port = self.client_port(seen)?;
        let before = seen.before.as_ref()?;
        let is_first = self.protocol != "tcp" || before.what.split(',').next() == Some("SYN");
        let is_it = if self.asked == 0 { is_first } else { self.asked == port };
        is_it.then(|| [(before.source.clone(), port), (before.destination.clone(), before.destination_port)])
    }

    /// The ends that a packet of the client leaves with, if they are others than are known.
    fn translated(&self, seen: &SeenPacket) -> Option<[End; 2]> {
        let (before, after) = (seen.before.as_ref()?, seen.after.as_ref()?);
        let is_plain =
            before.about_source.is_empty() && !before.without_ports && after.protocol == before.protocol;
        if !is_plain || self.direction(seen) != Some(true) || after.source.is_empty() {
            return None;
        }
        let ends =
            [(after.source.clone(), after.source_port), (after.destination.clone(), after.destination_port)];
        (!self.ends.contains(&ends)).then_some(ends)
    }

    /// Whether it is from the client; `None`: it belongs to another connection.
    fn direction(&self, seen: &SeenPacket) -> Option<bool> {
        let before = seen.before.as_ref()?;
        if before.about_source.is_empty() {
            if before.protocol != self.protocol {
                return None;
            }
            let FollowedPacket { source, source_port, destination, destination_port, without_ports, .. } =
                before;
            return self.between([(source, *source_port), (destination, *destination_port)], *without_ports);
        }
        // What an error is about went the other way.
        let FollowedPacket {
            about_source, about_source_port, about_destination, about_destination_port, ..
        } = before;
        let about = [(about_source, *about_source_port), (about_destination, *about_destination_port)];
        self.between(about, false).map(|forward| !forward)
    }

    /// Whether a packet between these ends is from the client.
    fn between(&self, [source, destination]: [(&String, u32); 2], without_ports: bool) -> Option<bool> {
        let is =
            |end: &End, packet: (&String, u32)| end.0 == *packet.0 && (without_ports || end.1 == packet.1);
        self.ends.iter().find_map(|[client, server]| {
            if is(client, source) && is(server, destination) {
                return Some(true);
            }
            (is(client, destination) && is(server, source)).then_some(false)
        })
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
                    !is_there && row.round + TOGETHER >= self.round
                })
        };
        let place = match self.packets.iter().rposition(fits) {
            Some(place) => place,
            None if self.is_full() => return,
            None => {
                let number = self.packets.len() + 1;
                self.packets.push(Packet { number, forward, digest, rows: Vec::new() });
                number - 1
            }
        };
        if let Some(packet) = self.packets.get_mut(place) {
            packet.rows.push(self.rows.len());
        }
        self.rows.push(Row { node, seen, packet: place, round: self.round });
    }

    /// The rows of a packet.
    pub(super) fn rows_of(&self, packet: &Packet) -> impl DoubleEndedIterator<Item = &Row> {
        packet.rows.iter().filter_map(|row| self.rows.get(*row))
    }

    /// The packet as it was seen first.
    pub(super) fn first_of(&self, packet: &Packet) -> Option<&FollowedPacket> {
        self.rows_of(packet).next()?.seen.before.as_ref()
    }

    /// Whether a packet has a flag of TCP.
    pub(super) fn has_flag(&self, packet: &Packet, flag: &str) -> bool {
        let what =
            self.first_of(packet).filter(|first| first.protocol == "tcp").map_or("", |first| &first.what);
        what.split(',').next().unwrap_or_default().split('/').any(|one| one == flag)
    }

    /// Whether a TCP connection has ended: by a reset, or from both sides.
    pub(super) fn is_over(&self) -> bool {
        let has = |forward: Option<bool>, flag: &str| {
            let asked =
                self.packets.iter().filter(|packet| forward.is_none_or(|forward| packet.forward == forward));
            asked.into_iter().any(|packet| self.has_flag(packet, flag))
        };
        has(None, "RST") || has(Some(true), "FIN") && has(Some(false), "FIN")
    }
}
