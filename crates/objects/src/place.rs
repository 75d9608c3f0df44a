//! Where an API server is, for messages.

/// Where a server is and how one is known to it: for messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// Where the credentials are from.
    pub(crate) credentials: String,
}
