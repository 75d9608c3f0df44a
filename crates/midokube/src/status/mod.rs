//! `midokube status`: the state of a node, from its agent.

mod args;
mod policy;
mod report;
mod services;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use terminal::{Format, output};

use args::Selection;
pub(crate) use args::{HELP, StatusArgs};
pub(crate) use report::Report;
use view::View;

use crate::agent::Agent;
use crate::watch::watch;

/// The exit status for a node that is not ready.
const NOT_READY: u8 = 3;

/// Asks the agent and prints its answer, once or again and again.
pub(crate) fn run(args: StatusArgs) -> Result<ExitCode> {
    let StatusArgs { parts, namespaces, output, repeat, agent } = args;
    let selection = Selection { parts, namespace: namespaces.one() };
    let show = |report: &Report| output.text(&View::new(report, &selection), text::text);
    if let Some(period) = repeat.watch {
        return watch(period, output, || agent.report().and_then(|report| show(&report)));
    }
    let report = agent.report()?;
    output::write(&show(&report)?)?;
    Ok(if report.agent.ready { ExitCode::SUCCESS } else { ExitCode::from(NOT_READY) })
}

/// All of it, as programs get it.
///
/// # Errors
/// The agent cannot be asked.
pub(crate) fn document(agent: &Agent) -> Result<String> {
    let report = agent.report()?;
    Format::Json.text(&View::new(&report, &Selection::default()), text::text)
}
