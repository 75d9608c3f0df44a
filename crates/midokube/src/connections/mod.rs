//! `midokube connections`: the tracked connections of a node.

mod args;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use nodeapi::call;
use terminal::output;

pub(crate) use args::{ConnectionsArgs, HELP};
pub(crate) use view::Connection;
use view::View;

/// Asks the agent and prints its answer.
pub(crate) fn run(args: &ConnectionsArgs) -> Result<ExitCode> {
    let reply = args.agent.ask(&call::LIST_CONNECTIONS, &args.request(), "its connections")?;
    output::write(&args.output.text(&View::from(reply), text::text)?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
