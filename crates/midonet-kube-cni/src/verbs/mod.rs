//! The commands. Decisions are made in the pure modules.

mod add;
mod check;
mod del;
mod gc;
mod status;
mod support;

use cni::{Command, Error};
use serde_json::Value;

use crate::request::Request;

/// Carries out the request; ADD has a result. `began` is when this program started (CLOCK_MONOTONIC, nanoseconds).
///
/// # Errors
/// The error to report to the runtime.
pub(crate) fn run(request: &Request, began: u64) -> Result<Option<Value>, Error> {
    match request.env.command {
        Command::Add => add::add(request, began).map(Some),
        Command::Del => del::del(request, began).map(|()| None),
        Command::Check => check::check(request).map(|()| None),
        Command::Status => status::status(request).map(|()| None),
        Command::Gc => gc::gc(request).map(|()| None),
        Command::Version => Ok(None),
    }
}
