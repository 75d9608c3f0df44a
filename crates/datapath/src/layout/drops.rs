//! What stands in the map of drops.

use bytemuck::{Pod, Zeroable};

use super::Address;

/// `struct drop_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct DropKey {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) rule: u32,
    pub(crate) port: [u8; 2],
    pub(crate) protocol: u8,
    pub(crate) reason: u8,
    pub(crate) flags: u8,
    pub(crate) pad: [u8; 3],
}

/// `DROP_INGRESS`.
pub(crate) const DROP_INGRESS: u8 = 1;
/// `DROP_AUDIT`.
pub(crate) const DROP_AUDIT: u8 = 2;

/// `struct drop_counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct DropCounter {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) source_port: [u8; 2],
    pub(crate) pad: [u8; 6],
}
