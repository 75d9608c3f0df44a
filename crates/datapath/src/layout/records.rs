//! What stands in the maps of connections' records.

use bytemuck::{Pod, Zeroable};

use super::Counter;
use super::address::Address;
use super::connections::Tuple;

/// `struct record`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Record {
    pub(crate) client: Address,
    pub(crate) frontend: Address,
    pub(crate) client_port: [u8; 2],
    pub(crate) frontend_port: [u8; 2],
    pub(crate) service: u32,
    pub(crate) client_ifindex: u32,
    pub(crate) server_ifindex: u32,
    pub(crate) rules: [u32; 2],
    pub(crate) state: u32,
    pub(crate) round_trip: u32,
    pub(crate) began: u64,
    pub(crate) last: u64,
    pub(crate) told: u64,
    pub(crate) sent: [Counter; 2],
}

/// `RECORD_LATE`.
pub(crate) const RECORD_LATE: u32 = 4096;
/// `RECORD_ENDED`.
#[cfg(test)]
pub(crate) const RECORD_ENDED: u32 = 8192;

/// `RECORD_NEW`.
pub(crate) const RECORD_NEW: u32 = 1;
/// `RECORD_GOES_ON`.
pub(crate) const RECORD_GOES_ON: u32 = 2;
/// `RECORD_END`.
pub(crate) const RECORD_END: u32 = 3;

/// `struct record_event`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct RecordEvent {
    pub(crate) key: Tuple,
    pub(crate) record: Record,
    pub(crate) what: u32,
    pub(crate) pad: u32,
}

/// `struct record_budget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct RecordBudget {
    pub(crate) window: u64,
    pub(crate) made: u64,
    pub(crate) over: u64,
    pub(crate) full: u64,
}
