//! Rate limits: a token bucket (tc-tbf(8)) at the root of an interface for what it sends; and the shaper, a veth
//! pair with one class of tc-htb(8) for each limit at its entry.

mod bucket;
mod discipline;
mod limit;
mod options;
mod shaper;

use crate::error::Result;

pub use bucket::{Bucket, Queue};
pub use limit::{limit, limited};
pub use shaper::Shaper;

/// Tests whether the kernel has what limits need, by creating a queue of each kind. To be called in a new namespace.
///
/// # Errors
/// The kernel cannot.
pub fn try_out(entry: &str, exit: &str) -> Result<()> {
    let bucket = Bucket { rate: 1_000_000, size: 65_536 };
    let shaper = Shaper::ensure(entry, exit)?;
    shaper.set_class(1, bucket)?;
    limit(shaper.exit, Some(bucket))
}
