//! `midokube`: what people ask of midonet-kube, and a whole cluster of it on one machine to try it.

mod cli;
mod demo;
mod lab_commands;
mod output;
mod signals;
mod status;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("midokube: {}", output::explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Status { socket, output } => status::run(&socket, output).map(|()| ExitCode::SUCCESS),
        Command::Lab { dir, command } => lab_commands::run(&dir, command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "midokube", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
