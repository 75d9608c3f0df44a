//! What calls about Services and connections have in common.

use tonic::Status;

/// The namespace and the name of a Service's id.
pub(super) fn split(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or(("", id))
}

/// What the kernel refused.
pub(super) fn internal(error: &anyhow::Error) -> Status {
    Status::internal(format!("{error:#}"))
}
