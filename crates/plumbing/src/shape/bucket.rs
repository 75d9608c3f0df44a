/// The largest packet, one for segmentation offload, as queues count it: with the headers of all its segments, in
/// bytes.
pub(super) const LARGEST_PACKET: u32 = 80 * 1024;

/// Tokens are bytes: a bucket full of them at the start, and more at a steady rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second; at least 1.
    pub rate: u64,
    /// The bytes that may pass at once, at most [`Bucket::LARGEST`]. At the root of an interface, a packet that is
    /// larger is cut into its segments; one that cannot be cut never passes.
    pub size: u32,
}

impl Bucket {
    /// The largest size.
    pub const LARGEST: u32 = 1 << 30;

    /// What waits for its tokens: at most a bucketful and what passes in 25 ms, as in the reference plugin
    /// `bandwidth`, but at least one packet.
    pub fn queue(self) -> Queue {
        let steady = u32::try_from(self.rate / 40).unwrap_or(u32::MAX).min(Self::LARGEST);
        let bytes = self.size.min(Self::LARGEST).saturating_add(steady).max(LARGEST_PACKET);
        Queue { rate: self.rate, bytes }
    }
}

/// The queue of a bucket, by which the kernel's is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Bytes a second.
    pub rate: u64,
    /// The bytes that it holds at most.
    pub bytes: u32,
}
