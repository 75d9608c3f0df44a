//! `midokube status`: what the agent of a node knows.

mod view;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nodeapi::v1::StatusRequest;
use nodeapi::{Client, call};

use crate::output::{self, Format};
pub(crate) use view::{Counter, Status, counters_table};

/// How long the agent may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the agent at `socket` and prints its answer.
pub(crate) fn run(socket: &Path, format: Format) -> Result<()> {
    output::print(&fetch(socket)?, format, Status::table)
}

/// Asks the agent at `socket`.
pub(crate) fn fetch(socket: &Path) -> Result<Status> {
    let mut agent = Client::connect(socket, DEADLINE)?;
    let answer = agent.call(&call::STATUS, &StatusRequest {}).map_err(|status| {
        let (code, message) = (status.code(), status.message().to_owned());
        anyhow::anyhow!("{message} ({code:?})").context("the agent refused to tell its status; see its log")
    })?;
    Status::read(answer).context("the agent's answer is incomplete: is it of another version?")
}
