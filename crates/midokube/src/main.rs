//! `midokube`: what people ask of midonet-kube, and a whole cluster of it on one machine to try it.
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic on a closed pipe: see output.rs")]

mod agent;
mod cli;
mod demo;
mod lab_commands;
mod output;
mod signals;
mod status;
mod table;
mod units;
mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::try_parse().map_or_else(|answer| usage(&answer), run) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&output::explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Status(args) => status::run(args),
        Command::Version { output, agent } => version::run(&agent, output),
        Command::Lab { dir, command } => lab_commands::run(&dir, command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "midokube", &mut script);
            output::write(&String::from_utf8(script)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is wrong with the command line, or the help or version that it asks for.
fn usage(answer: &clap::Error) -> Result<ExitCode> {
    if !answer.use_stderr() {
        output::write(&answer.render().ansi().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    // Nobody to tell it to if it cannot be written.
    let _ = answer.print();
    Ok(ExitCode::from(USAGE))
}

/// The exit status for a wrong command line, as clap has it.
const USAGE: u8 = 2;
