//! Links: reading them, the messages that create and change them, and retiring them.

mod read;
pub(crate) mod request;
pub(crate) mod retire;
mod single;

pub use read::{Link, Stats, find, list, peers};
pub(crate) use read::{get, list_in};
pub use retire::{RETIRED_GROUP, delete_retired, retire};
pub use single::{delete, delete_by_name, free_name, name_of, set_up};
pub(crate) use single::{rename, require};
