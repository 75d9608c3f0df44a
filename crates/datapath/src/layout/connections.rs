//! What stands in the maps of connections.

use bytemuck::{Pod, Zeroable};

use super::address::Address;

/// `struct tuple`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Tuple {
    pub(crate) lower: Address,
    pub(crate) upper: Address,
    pub(crate) lower_port: [u8; 2],
    pub(crate) upper_port: [u8; 2],
    pub(crate) protocol: u8,
    pub(crate) variant: u8,
    pub(crate) pad: [u8; 2],
}

/// `VARIANT_DIRECT`.
pub(crate) const VARIANT_DIRECT: u8 = 1;

/// `CONNECTION_TICK_SHIFT`: above it there is no state.
pub(crate) const CONNECTION_TICK_SHIFT: u32 = 16;
/// `CONNECTION_KIND`: the bits of a connection's state that hold its kind.
pub(crate) const CONNECTION_KIND: u32 = 3;
/// `CONNECTION_PLAIN`.
pub(crate) const CONNECTION_PLAIN: u32 = 0;
/// `CONNECTION_FORWARD`.
pub(crate) const CONNECTION_FORWARD: u32 = 1;
/// `CONNECTION_REPLY`.
pub(crate) const CONNECTION_REPLY: u32 = 2;
/// `CONNECTION_CLIENT_UPPER`.
pub(crate) const CONNECTION_CLIENT_UPPER: u32 = 4;
/// `CONNECTION_REPLIED`.
pub(crate) const CONNECTION_REPLIED: u32 = 8;
/// `CONNECTION_FIN_CLIENT`.
pub(crate) const CONNECTION_FIN_CLIENT: u32 = 16;
/// `CONNECTION_FIN_SERVER`.
pub(crate) const CONNECTION_FIN_SERVER: u32 = 32;
/// `CONNECTION_RESET`.
pub(crate) const CONNECTION_RESET: u32 = 64;
/// `CONNECTION_TUNNEL`.
pub(crate) const CONNECTION_TUNNEL: u32 = 128;
/// `CONNECTION_HOST`.
#[cfg(test)]
pub(crate) const CONNECTION_HOST: u32 = 256;
/// `CONNECTION_FAILED`.
#[cfg(test)]
pub(crate) const CONNECTION_FAILED: u32 = 512;
/// `CONNECTION_AUDITED_EGRESS`.
pub(crate) const CONNECTION_AUDITED_EGRESS: u32 = 1024;
/// `CONNECTION_AUDITED_INGRESS`.
pub(crate) const CONNECTION_AUDITED_INGRESS: u32 = 2048;

/// `struct connection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Connection {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) source_port: [u8; 2],
    pub(crate) destination_port: [u8; 2],
    pub(crate) service: u32,
    pub(crate) seen: u32,
    pub(crate) state: u32,
    pub(crate) client_ifindex: u32,
    pub(crate) server_ifindex: u32,
    pub(crate) judged: u32,
}

impl Connection {
    /// Bytes of version 1, whose last member was `server_ifindex`.
    pub(crate) const SIZE_1: usize = std::mem::offset_of!(Self, judged);
}

/// `NEW_CONNECTIONS_MAX`.
pub(crate) const NEW_CONNECTIONS_MAX: u32 = 65_536;

/// `struct fragment_key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct FragmentKey {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    pub(crate) id: u32,
    pub(crate) protocol: u32,
}

/// `struct fragment`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Fragment {
    pub(crate) source_port: [u8; 2],
    pub(crate) destination_port: [u8; 2],
    pub(crate) protocol: u32,
}

/// `FRAGMENTS_MAX`.
pub(crate) const FRAGMENTS_MAX: u32 = 8192;
