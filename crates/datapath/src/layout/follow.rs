//! What stands in the maps of `bpf/follow.bpf.c`.

use bytemuck::{Pod, Zeroable};

use super::address::Address;

/// `FOLLOWED_PORTS`.
pub(crate) const PORTS: usize = 8;

/// `struct followed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Followed {
    pub(crate) client: Address,
    pub(crate) client_port: [u8; 2],
    pub(crate) tunnel_port: [u8; 2],
    pub(crate) ports: [[u8; 2]; PORTS],
    pub(crate) protocol: u8,
    pub(crate) pad: [u8; 3],
    pub(crate) due: u64,
    pub(crate) lost: u64,
}

/// `struct followed_frame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct FollowedFrame {
    pub(crate) length: u32,
    pub(crate) captured: u32,
    /// `FRAME_BYTES`.
    pub(crate) bytes: [[u8; 64]; 3],
}

impl FollowedFrame {
    /// The beginning of the frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        let all = self.bytes.as_flattened();
        usize::try_from(self.captured).ok().and_then(|captured| all.get(..captured)).unwrap_or(all)
    }
}

/// `struct followed_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct FollowedEvent {
    pub(crate) time: u64,
    pub(crate) hook: u32,
    pub(crate) ifindex: u32,
    pub(crate) action: i32,
    pub(crate) counted: [u32; 2],
    pub(crate) pad: u32,
    pub(crate) before: FollowedFrame,
    pub(crate) after: FollowedFrame,
}
