//! `midokube`: what operators ask of a node of midonet-kube.
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic on a closed pipe")]

mod agent;
mod answer;
mod cli;
mod connections;
mod connectivity;
mod doctor;
mod drops;
mod flows;
mod name;
mod nodes;
mod on;
mod policy;
mod port;
mod service;
mod services;
mod status;
mod sysdump;
mod trace;
mod ui;
mod version;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use terminal::output;

use cli::{Cli, Command};

/// What the documents for programs begin with. The number grows when a field goes or changes its meaning.
const API_VERSION: &str = "midokube.midonet.org/v1";

fn main() -> ExitCode {
    terminal::main(run)
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Status(args) => status::run(args),
        Command::Services(args) => services::run(&args),
        Command::Service(args) => service::run(&args),
        Command::Connections(args) => connections::run(&args),
        Command::Connectivity(args) => connectivity::run(&args),
        Command::Drops(args) => drops::run(&args),
        Command::Flows(args) => flows::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Sysdump(args) => sysdump::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::TraceHop(args) => trace::run_hop(&args),
        Command::On(args) => match Cli::try_parse_from(args.line()) {
            Ok(there) => {
                there.command.check_that_it_asks_one_agent()?;
                on::run(&args)
            }
            Err(answer) => terminal::usage(&answer),
        },
        Command::Ui(args) => ui::run(&args),
        Command::Version { output, agent } => version::run(&agent, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "midokube", &mut script);
            output::write(&String::from_utf8(script)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
