//! Side-by-side benchmarks: this network and its peers, interleaved in one run, on this machine.
//!
//! All of it happens in labs (`crates/lab`): namespaces that this program makes and removes.

mod agent;
mod aims;
mod apiserver;
mod context;
mod http;
mod machine;
mod manifests;
mod maps;
mod objects;
mod parts;
mod peers;
mod plot;
mod progress;
mod report;
mod results;
mod runtime;
mod stats;
mod traffic;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;

use aims::Verdict;
use context::Bench;
use machine::Machine;
use parts::PARTS;
use progress::Progress;
use results::{Part, Table};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Only these parts, comma separated.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(PARTS.iter().map(|p| p.name)))]
    only: Vec<String>,

    /// How often each cell is measured.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,

    /// How long a cell that measures a rate takes, in seconds.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    seconds: f64,

    /// Where report.md, results.json and plot.svg go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,

    /// The directory with the product's programs; unless given, that of this program.
    #[arg(long)]
    bin_dir: Option<PathBuf>,

    /// The directory with another build's programs, which this one's plain rates are compared with.
    #[arg(long)]
    before_dir: Option<PathBuf>,

    /// Where the labs' records go while it runs.
    #[arg(long, default_value = "/run/midokube-bench")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The helper inside a node.
    #[command(name = runtime::SUBCOMMAND, hide = true)]
    Runtime,
}

/// Everything there is to report.
#[derive(Debug, Serialize)]
struct Run {
    machine: Machine,
    rounds: usize,
    seconds: f64,
    failures: Vec<Failure>,
    verdicts: Vec<Verdict>,
    parts: Vec<Part>,
}

/// A part that could not be measured.
#[derive(Debug, Serialize)]
struct Failure {
    part: &'static str,
    reason: String,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.05..=60.0).contains(&value) { Ok(value) } else { Err("give 0.05 to 60 seconds".to_owned()) }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Runtime) => runtime::serve().map(|()| true),
        None => run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, reports; whether every part could be measured.
fn run(args: &Args) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "the benchmarks make network namespaces: run them as root");
    let bench = Bench {
        rounds: args.rounds.into(),
        seconds: args.seconds,
        binaries: context::directory(args.bin_dir.as_deref())?,
        before: args.before_dir.as_deref().map(|dir| context::directory(Some(dir))).transpose()?,
        dir: args.dir.clone(),
        progress: Progress::new(),
        interrupted: context::interruption()?,
    };
    let mut run = Run {
        machine: Machine::read(),
        rounds: bench.rounds,
        seconds: bench.seconds,
        failures: Vec::new(),
        verdicts: Vec::new(),
        parts: Vec::new(),
    };
    for part in PARTS.iter().filter(|p| args.only.is_empty() || args.only.iter().any(|o| o == p.name)) {
        match (part.run)(&bench) {
            Ok(part) => run.parts.push(part),
            Err(error) => {
                bench.check()?;
                eprintln!("the part {} failed: {error:#}", part.name);
                run.failures.push(Failure { part: part.name, reason: format!("{error:#}") });
            }
        }
    }
    run.verdicts = aims::evaluate(&run.parts);
    let took = bench.progress.finish();
    write(&run, args)?;
    print!("{}", report::markdown(&run));
    eprintln!(
        "{:.0} s; report.md, results.json and plot.svg are in {}",
        took.as_secs_f64(),
        args.out.display()
    );
    Ok(run.failures.is_empty())
}

fn write(run: &Run, args: &Args) -> Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let tables: Vec<&Table> = run.parts.iter().flat_map(|part| &part.tables).collect();
    for (name, text) in [
        ("report.md", report::markdown(run)),
        ("results.json", serde_json::to_string_pretty(run)?),
        ("plot.svg", plot::svg(&tables)),
    ] {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn parts_are_named_or_refused() {
        let parse = |only: &str| Args::try_parse_from(["bench", "--only", only]);
        assert_eq!(parse("add").unwrap().only, ["add"]);
        assert!(parse("nothing").unwrap_err().to_string().contains("nothing"));
        assert!(Args::try_parse_from(["bench", "--seconds", "0"]).is_err());
    }
}
