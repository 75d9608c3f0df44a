//! What stands in the maps of Services.

use bytemuck::{Pod, Zeroable};

use super::address::Address;

/// `SCOPE_ADDRESS`.
pub(crate) const SCOPE_ADDRESS: u8 = 0;
/// `SCOPE_NODE_PORT`.
pub(crate) const SCOPE_NODE_PORT: u8 = 1;
/// `SCOPE_HOST_PORT`.
pub(crate) const SCOPE_HOST_PORT: u8 = 2;

/// `struct service_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ServiceKey {
    pub(crate) address: Address,
    pub(crate) port: [u8; 2],
    pub(crate) protocol: u8,
    pub(crate) scope: u8,
}

/// `struct list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct List {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) table: u32,
    pub(crate) size: u32,
}

/// `RENDEZVOUS_MAX`: up to so many backends need no table.
pub(crate) const RENDEZVOUS_MAX: u32 = 32;

/// `SERVICE_REFUSE`.
pub(crate) const SERVICE_REFUSE: u32 = 1;
/// `SERVICE_ADDRESS`.
pub(crate) const SERVICE_ADDRESS: u32 = 2;
/// `SERVICE_LOCAL`.
pub(crate) const SERVICE_LOCAL: u32 = 4;

/// `struct service`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Service {
    pub(crate) number: u32,
    pub(crate) flags: u32,
    pub(crate) affinity: u32,
    pub(crate) ranges: u32,
    pub(crate) inside: List,
    pub(crate) outside: List,
}

/// `struct backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Backend {
    pub(crate) address: Address,
    pub(crate) port: [u8; 2],
    pub(crate) pad: [u8; 2],
    pub(crate) seed: u32,
}

/// `CHOICES_BLOCK`: how many entries of a table are in one of the map.
pub(crate) const CHOICES_BLOCK: usize = 32;

/// `struct choices`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Choices {
    pub(crate) slots: [u16; CHOICES_BLOCK],
}

/// `struct affinity_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct AffinityKey {
    pub(crate) client: Address,
    pub(crate) service: u32,
}

/// `struct affinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Affinity {
    pub(crate) address: Address,
    pub(crate) port: [u8; 2],
    pub(crate) pad: [u8; 2],
    pub(crate) seen: u32,
}

/// `AFFINITY_MAX`.
pub(crate) const AFFINITY_MAX: u32 = 65_536;

/// `struct range_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct RangeKey {
    pub(crate) prefix_length: u32,
    pub(crate) ranges: u32,
    pub(crate) address: Address,
}

/// `ADDRESS_OWN`.
pub(crate) const ADDRESS_OWN: u32 = 1;
/// `ADDRESS_NODE_PORTS`.
pub(crate) const ADDRESS_NODE_PORTS: u32 = 2;

/// How many addresses a node may have at which ports of Services or Pods are served.
pub const ADDRESSES_MAX: u32 = 4096;

/// `SERVED_PORTS_WORDS`: words of 64 bits, a bit for each port of each protocol.
pub(crate) const SERVED_PORTS_WORDS: u32 = 3 * 65_536 / 64;

/// `struct service_counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ServiceCounter {
    pub(crate) connections: u64,
    pub(crate) refused: u64,
}
