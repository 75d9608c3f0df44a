//! `midokube connections`: the tracked connections of a node.

mod args;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use nodeapi::call;
use nodeapi::v1::ListConnectionsRequest;
use terminal::{Format, output};

pub(crate) use args::{ConnectionsArgs, HELP};
pub(crate) use view::Connection;
use view::View;

use crate::agent::Agent;

/// Asks the agent and prints its answer.
pub(crate) fn run(args: &ConnectionsArgs) -> Result<ExitCode> {
    let reply = args.agent.ask(&call::LIST_CONNECTIONS, &args.request(), "its connections")?;
    output::write(&args.output.text(&View::from(reply), text::text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The connections that were active last, up to as many as an agent returns unless told otherwise, as programs get them.
///
/// # Errors
/// The agent cannot be asked.
pub(crate) fn document(agent: &Agent) -> Result<String> {
    let reply = agent.ask(&call::LIST_CONNECTIONS, &ListConnectionsRequest::default(), "its connections")?;
    Format::Json.text(&View::from(reply), text::text)
}

#[cfg(test)]
mod tests;
