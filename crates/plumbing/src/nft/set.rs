//! The sets of the table: their names and the types of their keys and values.

use super::encode::{concat, text, word};
use crate::family::Family;

/// NFT_SET_MAP.
const MAP: u32 = 8;

/// What `nft` calls ipv4_addr, ipv6_addr, inet_proto and inet_service; several in one are concatenated.
const IPV4: u32 = 7;
const IPV6: u32 = 8;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const TYPE_BITS: u32 = 6;

/// A field of a key or a value, and how many bytes it takes of a register.
type Field = (u32, u32);

const PROTOCOL_FIELD: Field = (PROTOCOL, 4);
const PORT_FIELD: Field = (PORT, 4);

/// One of the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Protocol and port of each NodePort.
    NodePorts,
    /// The addresses of the node where NodePorts are served.
    NodePortAddresses,
    /// Protocol and port of each hostPort at all of the node's addresses, with where it leads.
    HostPorts,
    /// The same of hostPorts at one address.
    HostPortsAt,
}

/// A set of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Set {
    pub(super) kind: Kind,
    pub(super) family: Family,
}

impl Set {
    /// Every set of the table.
    pub(super) const ALL: [Self; 8] = {
        const fn of(kind: Kind, family: Family) -> Set {
            Set { kind, family }
        }
        [
            of(Kind::NodePorts, Family::V4),
            of(Kind::NodePorts, Family::V6),
            of(Kind::NodePortAddresses, Family::V4),
            of(Kind::NodePortAddresses, Family::V6),
            of(Kind::HostPorts, Family::V4),
            of(Kind::HostPorts, Family::V6),
            of(Kind::HostPortsAt, Family::V4),
            of(Kind::HostPortsAt, Family::V6),
        ]
    };

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match (self.kind, self.family) {
            (Kind::NodePorts, Family::V4) => "node-ports-ipv4",
            (Kind::NodePorts, Family::V6) => "node-ports-ipv6",
            (Kind::NodePortAddresses, Family::V4) => "node-port-addresses-ipv4",
            (Kind::NodePortAddresses, Family::V6) => "node-port-addresses-ipv6",
            (Kind::HostPorts, Family::V4) => "host-ports-ipv4",
            (Kind::HostPorts, Family::V6) => "host-ports-ipv6",
            (Kind::HostPortsAt, Family::V4) => "host-ports-at-ipv4",
            (Kind::HostPortsAt, Family::V6) => "host-ports-at-ipv6",
        }
    }

    fn address(self) -> Field {
        match self.family {
            Family::V4 => (IPV4, 4),
            Family::V6 => (IPV6, 16),
        }
    }

    fn key(self) -> Vec<Field> {
        match self.kind {
            Kind::NodePorts | Kind::HostPorts => vec![PROTOCOL_FIELD, PORT_FIELD],
            Kind::NodePortAddresses => vec![self.address()],
            Kind::HostPortsAt => vec![self.address(), PROTOCOL_FIELD, PORT_FIELD],
        }
    }

    fn value(self) -> Vec<Field> {
        match self.kind {
            Kind::NodePorts | Kind::NodePortAddresses => Vec::new(),
            Kind::HostPorts | Kind::HostPortsAt => vec![self.address(), PORT_FIELD],
        }
    }

    /// Whether its elements have values.
    pub(super) fn is_map(self) -> bool {
        !self.value().is_empty()
    }

    /// The attributes of its definition (NFTA_SET_*), with an id within the transaction.
    pub(super) fn definition(self, table: &str, id: u32) -> Vec<u8> {
        let (key, value) = (self.key(), self.value());
        let mut all = concat(&[
            &text(1, table),
            &text(2, self.name()),
            &word(3, if value.is_empty() { 0 } else { MAP }),
            &word(4, type_of(&key)),
            &word(5, length_of(&key)),
            &word(10, id),
        ]);
        if !value.is_empty() {
            all.extend(word(6, type_of(&value)));
            all.extend(word(7, length_of(&value)));
        }
        all
    }
}

fn type_of(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |all, (kind, _)| (all << TYPE_BITS) | kind)
}

fn length_of(fields: &[Field]) -> u32 {
    fields.iter().map(|(_, length)| length).sum()
}
