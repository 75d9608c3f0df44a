//! `--watch`: an answer again and again.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result};
use clap::Args;
use terminal::table::wrap;
use terminal::{Format, output, units};

/// Columns that every terminal has.
const SCREEN: usize = 80;

/// Whether an answer is shown again and again.
#[derive(Debug, Clone, Args)]
pub(crate) struct Repeat {
    /// Repeat every 2 seconds, or every DURATION.
    #[arg(
        short,
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = units::duration
    )]
    pub(crate) watch: Option<Duration>,
}

/// Shows what `ask` answers until nobody reads any more, or a signal ends the program: there is nothing
/// to be cleaned up then. An agent that does not answer, while it is replaced for example, is told and
/// asked again.
pub(crate) fn watch(period: Duration, format: Format, ask: impl Fn() -> Result<String>) -> Result<ExitCode> {
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
