//! `midokube-lab`: a cluster of namespaces on this machine with the real agent and plugin, for development
//! and for `make demo`.
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic on a closed pipe")]

mod cli;
mod commands;
mod demo;
mod signals;
mod size;

use std::process::ExitCode;

fn main() -> ExitCode {
    terminal::main(|cli: cli::Cli| commands::run(&cli.dir, cli.command))
}
