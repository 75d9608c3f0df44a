//! What the command-line programs print, and how they end: shared by `midokube` and `midokube-lab`.
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic on a closed pipe: see output.rs")]

pub mod output;
pub mod table;
pub mod units;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

pub use output::Format;

/// The exit status for an invalid command line, as clap has it.
const USAGE: u8 = 2;

/// Parses the command line, runs the program and reports its error, if any, on standard error after the
/// program's name. Returns the exit status: that of `run`, 1 after an error, 2 for an invalid command line.
pub fn main<C: Parser>(run: impl FnOnce(C) -> Result<ExitCode>) -> ExitCode {
    let program = C::command().get_name().to_owned();
    match C::try_parse().map_or_else(|answer| usage(&answer), run) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&program, &output::explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Prints the help or version that was asked for, or what is wrong with the command line.
///
/// # Errors
/// Standard output cannot be written.
pub fn usage(answer: &clap::Error) -> Result<ExitCode> {
    if !answer.use_stderr() {
        output::write(&answer.render().ansi().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    // If standard error cannot be written, there is nobody to tell.
    let _ = answer.print();
    Ok(ExitCode::from(USAGE))
}
