//! The names of the files.

/// host-local's lock, in a network's directory.
pub(super) const LOCK: &str = "lock";

/// Where a reservation is written if [`SPARE`] cannot be used: in a network's directory. Only the holder of the lock
/// writes it.
pub(super) const PENDING: &str = ".pending";

/// The file that is kept for the next reservation, beside the index. It has no other name.
pub(super) const SPARE: &str = "spare";

/// The index, in its directory.
pub(super) const INDEX: &str = "index";

/// The prefix of the names of hints where to search next, in a network's directory.
pub(crate) const LAST: &str = "last_reserved_ip.";

/// The files in a network's directory, besides the reservations, which are named by their addresses, and [`LAST`]N.
pub(crate) const FILES: [&str; 2] = [LOCK, PENDING];

/// The files in the directory of a network's index.
pub(crate) const INDEX_FILES: [&str; 2] = [INDEX, SPARE];
