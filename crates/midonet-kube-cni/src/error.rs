use cni::{Error, code};

/// The error of a call by which the kernel refused.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn kernel(error: plumbing::Error) -> Error {
    Error::new(code::PLUMBING, error.to_string())
}
