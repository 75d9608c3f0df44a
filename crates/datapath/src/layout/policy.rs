//! What stands in the maps of policy.

use bytemuck::{Pod, Zeroable};

/// `struct class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Class {
    pub(crate) column: [u32; 2],
}

/// `CLASS_OTHER`.
pub(crate) const CLASS_OTHER: u32 = 0;
/// `CLASS_NONE`.
pub(crate) const CLASS_NONE: u32 = u32::MAX;
/// `SET_OPEN`.
pub(crate) const SET_OPEN: u32 = 0;
/// `SET_CLOSED`.
pub(crate) const SET_CLOSED: u32 = u32::MAX;
/// `INGRESS`.
pub(crate) const INGRESS: u32 = 0;
/// `EGRESS`.
pub(crate) const EGRESS: u32 = 1;

/// `struct verdict`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Verdict {
    pub(crate) rule: u32,
    pub(crate) flags: u32,
}

/// `VERDICT_DENY`.
pub(crate) const VERDICT_DENY: u32 = 1;
/// `VERDICT_AUDIT`.
pub(crate) const VERDICT_AUDIT: u32 = 2;
/// `VERDICT_REJECT`.
pub(crate) const VERDICT_REJECT: u32 = 4;
/// `VERDICT_ORIGIN`: the bits that say what decided.
pub(crate) const VERDICT_ORIGIN: u32 = 24;
/// `ORIGIN_ADMIN`.
pub(crate) const ORIGIN_ADMIN: u32 = 0;
/// `ORIGIN_NETWORK_POLICY`.
pub(crate) const ORIGIN_NETWORK_POLICY: u32 = 8;
/// `ORIGIN_BASELINE`.
pub(crate) const ORIGIN_BASELINE: u32 = 16;
/// `ORIGIN_NOTHING`.
pub(crate) const ORIGIN_NOTHING: u32 = 24;

/// `struct set_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct SetKey {
    pub(crate) set: u32,
    pub(crate) class: u32,
    pub(crate) direction: u32,
}

/// `struct set_entry`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct SetEntry {
    pub(crate) list: u32,
    pub(crate) others: Verdict,
}

/// `struct ports_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct PortsKey {
    pub(crate) prefix_length: u32,
    pub(crate) list: u32,
    pub(crate) pad: u8,
    pub(crate) protocol: u8,
    pub(crate) port: [u8; 2],
}

impl PortsKey {
    /// Bits that come before the port.
    pub(crate) const BEFORE_PORT: u32 = 48;
}

/// `struct rule_counter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct RuleCounter {
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    pub(crate) audited: u64,
}
