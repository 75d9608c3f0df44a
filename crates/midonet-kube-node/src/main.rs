//! `midonet-kube-node`: parse, build, run, drain.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use midonet_kube_node::cli::{Cli, Command, unknown_settings};
use midonet_kube_node::config::Config;
use midonet_kube_node::drift::events;
use midonet_kube_node::proxy::cleanup;
use midonet_kube_node::{capabilities, check, install, memory, run, stdout, uninstall};
use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => error.exit(),
        // Help, or the version.
        Err(text) => return end(stdout::written(text.print())),
    };
    end(match cli.command {
        Some(Command::Install { cni_bin_dir }) => install::install(&cni_bin_dir),
        Some(Command::Check(args)) => check::check(&args.run, args.output, unknown()),
        Some(Command::Uninstall(args)) => uninstall::uninstall(&args),
        Some(Command::CleanupKubeProxy(args)) => cleanup::cleanup(&args),
        Some(Command::Pause) => pause(),
        None => start(cli.run),
    })
}

/// What of the environment looks like a setting and is none.
fn unknown() -> Vec<midonet_kube_node::config::Problem> {
    unknown_settings(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn end(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "midonet-kube-node: {error:#}");
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

fn start(args: Config) -> anyhow::Result<()> {
    let findings = check::quickly(&args, unknown());
    let complaint = check::complaint(&findings);
    anyhow::ensure!(complaint.is_empty(), "this node lacks what the network needs:\n{complaint}");
    logging::start(&args.log_level, args.log_format)?;
    for finding in findings.iter().filter(|finding| !finding.is_good()) {
        tracing::warn!("{finding}");
    }
    memory::share_one_arena();
    // Before there are other threads, which would keep theirs.
    capabilities::keep_only_needed(args.network)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Calls of the plugin wait for the kernel now and then: probes are served meanwhile.
        .worker_threads(4)
        // Longer than between two detections: making a thread for each costs more than keeping one.
        .thread_keep_alive(2 * events::PERIOD)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(run::run(args));
    // Work in the kernel that is under way can be cut off anywhere: the next agent does it again.
    runtime.shutdown_background();
    ended
}
