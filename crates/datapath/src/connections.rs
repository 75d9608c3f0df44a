//! The connections that the programs track.

mod purge;
mod sweep;
mod table;
mod types;

pub use purge::Purge;
pub use sweep::Sweep;
pub use table::{Connections, Position};
pub use types::{Connection, Kind, State};

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
