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
    pub(crate) ifindex: u32,
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
/// `DROP_OTHERS`.
pub(crate) const DROP_OTHERS: u8 = 4;

/// `struct drop_counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct DropCounter {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) claimed: Address,
    pub(crate) source_port: [u8; 2],
    pub(crate) mac: [u8; 6],
}

/// Where version 1 of the key had nothing yet: an interface's index.
pub(crate) const IFINDEX: usize = 36;
/// Likewise of the counter: the claimed source. Behind it, where the MAC address is, was nothing but zeros.
pub(crate) const CLAIMED: usize = 32;

impl DropKey {
    /// Bytes in version 1.
    pub(crate) const SIZE_1: usize = size_of::<Self>() - size_of::<u32>();
}

impl DropCounter {
    /// Bytes in version 1.
    pub(crate) const SIZE_1: usize = size_of::<Self>() - size_of::<Address>();
}
