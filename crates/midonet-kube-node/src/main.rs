//! `midonet-kube-node`: parse, build, run, drain.

use std::process::ExitCode;

use clap::Parser;
use midonet_kube_node::args::{Cli, Command, LogFormat, RunArgs};
use midonet_kube_node::{capabilities, check, install, memory, run, uninstall};
use nix::sys::signal::{SigSet, Signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Install { cni_bin_dir }) => install::install(&cni_bin_dir),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Uninstall(args)) => uninstall::uninstall(&args),
        Some(Command::Pause) => pause(),
        None => start(cli.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("midonet-kube-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As the first process of a container it would not end by SIGTERM without asking for it.
fn pause() -> anyhow::Result<()> {
    let end: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    end.thread_block()?;
    end.wait()?;
    Ok(())
}

fn start(args: RunArgs) -> anyhow::Result<()> {
    let findings = check::quickly(&args);
    let complaint = check::complaint(&findings);
    anyhow::ensure!(complaint.is_empty(), "this node lacks what the network needs:\n{complaint}");
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|error| anyhow::anyhow!("--log-level {:?} is no filter: {error}", args.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    for finding in findings.iter().filter(|finding| finding.state != check::State::Good) {
        tracing::warn!("{finding}");
    }
    memory::share_one_arena();
    // Before there are other threads, which would keep theirs.
    capabilities::keep_only_needed()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run::run(args))
}
