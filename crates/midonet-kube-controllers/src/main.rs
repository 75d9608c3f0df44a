//! `midonet-kube-controllers`: parse, build, run.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use midonet_kube_controllers::config::{Config, unknown_settings};
use midonet_kube_controllers::{dry_run, run};

fn main() -> ExitCode {
    let config = match Config::try_parse() {
        Ok(config) => config,
        Err(error) if error.use_stderr() => error.exit(),
        // Help, or the version. That nobody reads it is no failure.
        Err(text) => {
            return match text.print() {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            };
        }
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "midonet-kube-controllers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let problems: Vec<String> = config.problems().into_iter().chain(unknown_settings(names)).collect();
    anyhow::ensure!(problems.is_empty(), "the settings cannot be used:\n{}", problems.join("\n"));
    // What is printed is no log: only what is wrong is said beside it.
    let level = if config.dry_run && config.log_level == "info" { "warn" } else { &config.log_level };
    logging::start(level, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(async {
        if config.dry_run { dry_run::dry_run(&config).await } else { run::run(config).await }
    });
    runtime.shutdown_background();
    ended
}
