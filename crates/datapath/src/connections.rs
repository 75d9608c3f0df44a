//! The connections that the programs track.

mod purge;
mod sweep;
mod table;
mod types;

pub use purge::Purge;
pub use sweep::Sweep;
pub(crate) use sweep::timeout_of;
pub use table::{Connections, Position};
pub use types::{Connection, Kind, State};
pub(crate) use types::{socket, state_of, tuple};

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod tests;
