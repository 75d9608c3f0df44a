use cni::{Error, code};

/// The error of a call by which the kernel refused.
pub(crate) fn kernel(error: plumbing::Error) -> Error {
    Error::new(code::PLUMBING, error.to_string())
}
