//! What calls about Services and connections have in common.

use tonic::Status;

use crate::backend::Elsewhere;

/// The namespace and the name of a Service's id.
pub(super) fn split(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or(("", id))
}

/// Not in this mode.
impl From<Elsewhere> for Status {
    fn from(elsewhere: Elsewhere) -> Self {
        Self::failed_precondition(elsewhere.to_string())
    }
}

/// What the kernel refused.
pub(super) fn internal(error: &anyhow::Error) -> Status {
    Status::internal(format!("{error:#}"))
}
