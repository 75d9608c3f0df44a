//! The connections that the programs track.

mod purge;
mod sweep;
mod table;
mod types;

pub use purge::Purge;
pub use sweep::Sweep;
pub use table::{Connections, Position};
pub use types::{Connection, Kind, State};
