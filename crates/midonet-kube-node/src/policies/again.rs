//! Judging a connection as the programs judge one again: `judge_again` in `bpf/judge.h` of the datapath.

use std::net::IpAddr;

use datapath::drops::Drop;
use objects::Protocol;
use policy::{Direction, Origin, SetId, Verdict};

use crate::backend::{Connection, Whereabouts};

/// A connection, as far as it counts for policy: with its real client, before its source is translated, and its real server,
/// behind a Service's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) client: IpAddr,
    pub(crate) server: IpAddr,
    /// The server's port, if the protocol has ports.
    pub(crate) port: Option<(Protocol, u16)>,
    /// The index of the host side of the Pod that is the client; 0: it is no Pod of this node.
    pub(crate) client_ifindex: u32,
    /// The same of the server.
    pub(crate) server_ifindex: u32,
    /// Whether its addresses or ports are translated.
    pub(crate) translated: bool,
}

impl From<&Connection> for Ends {
    fn from(connection: &Connection) -> Self {
        Self {
            client: connection.client.ip(),
            server: connection.backend.ip(),
            port: protocol(connection.protocol).map(|protocol| (protocol, connection.backend.port())),
            client_ifindex: connection.client_ifindex,
            server_ifindex: connection.server_ifindex,
            translated: connection.translated,
        }
    }
}

impl Ends {
    /// Between whom dropped packets were, with the Pods that have the addresses now; `None`: it is not known, or not to which
    /// port.
    pub(crate) fn of_drop(drop: &Drop, at: &Whereabouts) -> Option<Self> {
        let protocol = protocol(drop.protocol);
        if drop.others || (protocol.is_some() && drop.port == 0) {
            return None;
        }
        let (client, server) = (drop.source?, drop.destination?);
        let (client_ifindex, server_ifindex) = (at.ifindex_of(client), at.ifindex_of(server));
        Some(Self {
            client,
            server,
            port: protocol.map(|protocol| (protocol, drop.port)),
            client_ifindex,
            server_ifindex,
            // A Pod that asks itself is judged only then.
            translated: client_ifindex != 0 && client_ifindex == server_ifindex,
        })
    }
}

/// The protocol with this number in IP headers, if it has ports.
fn protocol(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The tables of verdicts.
pub(crate) trait Verdicts {
    /// The set of the Pod behind an interface.
    fn set_of(&self, ifindex: u32) -> SetId;

    /// What a set says to the other end of a connection; `None`: nothing is known.
    fn verdict(
        &self,
        set: SetId,
        direction: Direction,
        other: IpAddr,
        port: Option<(Protocol, u16)>,
    ) -> Option<Verdict>;
}

/// What one end says to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It is not asked: it is no Pod of this node, no policy applies to it, or none counts for this connection.
    NotAsked,
    /// Nothing passes: what applies to the Pod is not known.
    Closed,
    /// What its policy says, by this set.
    Said(SetId, Verdict),
}

impl Ruling {
    fn passes(self) -> bool {
        match self {
            Self::NotAsked => true,
            Self::Closed => false,
            Self::Said(_, verdict) => verdict.allow,
        }
    }
}

/// What both ends say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) egress: Ruling,
    pub(crate) ingress: Ruling,
}

impl Judgement {
    /// Where the connection does not pass; `None`: it does. What leaves the client is asked first.
    pub(crate) fn denied(&self) -> Option<Direction> {
        if !self.egress.passes() {
            return Some(Direction::Egress);
        }
        (!self.ingress.passes()).then_some(Direction::Ingress)
    }

    /// What is said in a direction.
    pub(crate) fn of(&self, direction: Direction) -> Ruling {
        match direction {
            Direction::Egress => self.egress,
            Direction::Ingress => self.ingress,
        }
    }
}

/// Judges a connection.
pub(crate) fn judge_again(ends: &Ends, at: &Whereabouts, verdicts: &impl Verdicts) -> Judgement {
    let Ends { client, server, port, client_ifindex, server_ifindex, translated } = *ends;
    let mut judgement = Judgement { egress: Ruling::NotAsked, ingress: Ruling::NotAsked };
    let hairpin = client_ifindex != 0 && client_ifindex == server_ifindex;
    if hairpin && !translated {
        return judgement;
    }
    let ask = |set, direction, other| match verdicts.verdict(set, direction, other, port) {
        _ if set == SetId::OPEN => Ruling::NotAsked,
        _ if set == SetId::CLOSED => Ruling::Closed,
        None => Ruling::Closed,
        Some(verdict) if hairpin && !counts_for_hairpin(&verdict) => Ruling::NotAsked,
        Some(verdict) => Ruling::Said(set, verdict),
    };
    let set_of = |address, ifindex| match at.pod_at(address, ifindex) {
        Some(ifindex) => verdicts.set_of(ifindex),
        None => SetId::OPEN,
    };
    // What goes to another proxy's Service comes back, and is judged then.
    if !at.is_proxied(server) {
        judgement.egress = ask(set_of(client, client_ifindex), Direction::Egress, server);
    }
    let from_own_node = client_ifindex == 0 && at.is_own(client);
    if !from_own_node {
        judgement.ingress = ask(set_of(server, server_ifindex), Direction::Ingress, client);
    }
    judgement
}

/// Whether such a verdict counts for what a Pod asks itself through a Service: a NetworkPolicy's does not.
fn counts_for_hairpin(verdict: &Verdict) -> bool {
    matches!(verdict.origin, Origin::Admin | Origin::Baseline)
}

#[cfg(test)]
mod tests;
