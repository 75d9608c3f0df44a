//! `midokube drops`: what a node dropped, and why.

mod args;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use nodeapi::call;
use nodeapi::v1::ListDropsRequest;
use terminal::{Format, output};

pub(crate) use args::{DropsArgs, HELP};
use view::View;

use crate::agent::Agent;
use crate::watch::watch;

/// Asks the agent and prints its answer, once or again and again.
pub(crate) fn run(args: &DropsArgs) -> Result<ExitCode> {
    let request = args.request();
    let ask = || {
        let reply = args.agent.ask(&call::LIST_DROPS, &request, "its drops")?;
        args.output.text(&View::from(reply), text::text)
    };
    if let Some(period) = args.repeat.watch {
        return watch(period, args.output, ask);
    }
    output::write(&ask()?)?;
    Ok(ExitCode::SUCCESS)
}

/// The last drops, up to as many as an agent returns unless told otherwise, as programs get them.
///
/// # Errors
/// The agent cannot be asked.
pub(crate) fn document(agent: &Agent) -> Result<String> {
    let reply = agent.ask(&call::LIST_DROPS, &ListDropsRequest::default(), "its drops")?;
    Format::Json.text(&View::from(reply), text::text)
}

#[cfg(test)]
mod tests;
