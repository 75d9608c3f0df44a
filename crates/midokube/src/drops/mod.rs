//! `midokube drops`: what a node dropped, and why.

mod args;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use nodeapi::call;
use terminal::output;

pub(crate) use args::{DropsArgs, HELP};
use view::View;

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

#[cfg(test)]
mod tests;
