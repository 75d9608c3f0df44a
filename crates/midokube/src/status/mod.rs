//! `midokube status`: the state of a node, from its agent.

mod args;
mod report;
mod services;
mod text;
mod view;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};
use terminal::table::wrap;
use terminal::{Format, output};

use args::Selection;
pub(crate) use args::{HELP, StatusArgs};
pub(crate) use report::Report;
use view::View;

/// Columns that every terminal has.
const SCREEN: usize = 80;

/// The exit status for a node that is not ready.
const NOT_READY: u8 = 3;

/// Asks the agent and prints its answer, once or again and again.
pub(crate) fn run(args: StatusArgs) -> Result<ExitCode> {
    let StatusArgs { parts, namespace, output, watch, agent } = args;
    let selection = Selection { parts, namespace };
    let show = |report: &Report| output.text(&View::new(report, &selection), text::text);
    if let Some(period) = watch {
        return self::watch(period, output, || agent.report().and_then(|report| show(&report)));
    }
    let report = agent.report()?;
    output::write(&show(&report)?)?;
    Ok(if report.agent.ready { ExitCode::SUCCESS } else { ExitCode::from(NOT_READY) })
}

/// Shows what `ask` answers until nobody reads any more, or a signal ends the program: there is nothing
/// to be cleaned up then. An agent that does not answer, while it is replaced for example, is told and
/// asked again.
fn watch(period: Duration, format: Format, ask: impl Fn() -> Result<String>) -> Result<ExitCode> {
    let redraws = io::stdout().is_terminal() && matches!(format, Format::Table | Format::Wide);
    let mut separator = "";
    loop {
        let read = match ask() {
            Ok(text) if redraws => output::redraw(&text)?,
            Ok(text) => {
                output::write(&format!("{}{text}", std::mem::replace(&mut separator, between(format))))?
            }
            Err(error) if redraws => output::redraw(&trouble(&error))?,
            Err(error) => {
                output::complain("midokube", &output::explain(&error));
                true
            }
        };
        if !read {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(period);
    }
}

/// What stands between two answers in one stream.
fn between(format: Format) -> &'static str {
    match format {
        Format::Table | Format::Wide => "\n",
        Format::Json => "",
        Format::Yaml => "---\n",
    }
}

/// An error for a screen that cuts lines off.
fn trouble(error: &Error) -> String {
    output::paint(output::BAD, &wrap(Some(SCREEN), &output::explain(error))) + "\n"
}
