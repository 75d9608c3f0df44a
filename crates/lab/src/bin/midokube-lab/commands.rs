//! The commands that make, use and remove a lab.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result};
use lab::{Lab, Options, Process, State};
use terminal::output;
use terminal::table::{WIDTH, join, table};

use crate::cli::{Command, PodCommand};
use crate::demo::{self, Progress};
use crate::signals;
use crate::size::{DEFAULT_NAMESPACE, Namespace, Size, add_pods, options};

/// The commands of midokube that ask all nodes.
const OF_ALL_NODES: [&str; 5] = ["flows", "trace", "doctor", "sysdump", "ui"];

pub(crate) fn run(dir: &Path, command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(size) => up(dir, &size)?,
        Command::Status { namespace, output } => {
            output::write(&output.text(&state(dir, &namespace)?, show)?)?;
        }
        Command::Exec { namespace, place, command } => return exec(dir, &namespace, &place, &command),
        Command::Midokube { arguments } => return midokube(dir, &arguments),
        Command::Pod(PodCommand::Add { namespace, node, name }) => {
            let mut key = lab::pod_key(&name, namespace.namespace.as_deref().unwrap_or_default())?;
            if key.namespace.is_empty() {
                DEFAULT_NAMESPACE.clone_into(&mut key.namespace);
            }
            let pod = Lab::open(dir)?.add_pod(&node, &key.namespace, &key.name)?;
            output::write(&format!("Pod {} on {}: {}\n", pod.key, pod.node, join(&pod.addresses())))?;
        }
        Command::Pod(PodCommand::Delete { namespace, name }) => {
            let lab = Lab::open(dir)?;
            lab.delete_pod(&lab.find_pod(&name, namespace.namespace.as_deref())?)?;
        }
        Command::Down => down(dir)?,
        Command::Demo { size, keep } => return demo::run(dir, &size, keep),
    }
    Ok(ExitCode::SUCCESS)
}

fn up(dir: &Path, size: &Size) -> Result<()> {
    let cancelled = signals::interrupted()?;
    let progress = Progress::new();
    let options = Options { cancelled: Arc::clone(&cancelled), ..options(dir, size) };
    let guard = Lab::up(&options, &mut |step| progress.step(step))?.guarded();
    progress.step("the Pods");
    add_pods(&guard, size, &cancelled)?;
    progress.finish();
    let lab = guard.keep();
    output::write(&format!("{}\n", show(&lab.state()?, false)))?;
    Ok(())
}

fn down(dir: &Path) -> Result<()> {
    if !dir.join("lab.json").exists() {
        output::write(&format!("there is no lab in {}\n", dir.display()))?;
        return Ok(());
    }
    Lab::open(dir)?.down()
}

/// What the lab has, of Pods those of the namespace.
fn state(dir: &Path, namespace: &Namespace) -> Result<State> {
    let mut state = Lab::open(dir)?.state()?;
    if let Some(namespace) = &namespace.namespace {
        state.pods.retain(|pod| pod.key.namespace == *namespace);
    }
    Ok(state)
}

fn exec(dir: &Path, namespace: &Namespace, place: &str, command: &[String]) -> Result<ExitCode> {
    let lab = Lab::open(dir)?;
    let target = lab.find(place, namespace.namespace.as_deref())?;
    let [program, arguments @ ..] = command else { anyhow::bail!("name a program to run") };
    // A terminal's interrupt is for the program inside: this one waits for it.
    let _ignored = signals::interrupted()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = process::Command::new(program);
    command.args(arguments).env("PATH", format!("{path}:{}", lab.state()?.binaries.display()));
    Ok(exit_code(lab.enter(&target, &mut command)?.wait()?))
}

/// That of a program, as a shell has it.
fn exit_code(status: process::ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Runs midokube on this machine, which reaches the agent of each node at its socket.
fn midokube(dir: &Path, arguments: &[String]) -> Result<ExitCode> {
    let lab = Lab::open(dir)?;
    let state = lab.state()?;
    match arguments.first() {
        Some(word) if OF_ALL_NODES.contains(&word.as_str()) => {}
        _ => anyhow::bail!(
            "of midokube's commands {} ask all nodes; the others ask one: {} exec node1 midokube {}",
            OF_ALL_NODES.join(", "),
            lab::command(dir),
            arguments.join(" ")
        ),
    }
    let mut command = process::Command::new(state.binaries.join("midokube"));
    command.args(arguments).arg("--this-node");
    for node in &state.nodes {
        command.arg("--socket").arg(lab.socket(&node.name)?);
    }
    // A terminal's interrupt is for the program: this one waits for it.
    let _ignored = signals::interrupted()?;
    let status = command.status();
    Ok(exit_code(status.with_context(|| format!("cannot run {}", command.get_program().display()))?))
}

fn show(state: &State, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let agent = |agent: Option<Process>| match agent {
        Some(agent) if agent.alive() => format!("running ({})", agent.pid),
        Some(_) => "ENDED".to_owned(),
        None => "stopped".to_owned(),
    };
    let nodes = state.nodes.iter().map(|node| {
        let pods = state.pods.iter().filter(|pod| pod.node == node.name).count();
        [node.name.clone(), join(&node.addresses), join(&node.pod_cidrs), agent(node.agent), pods.to_string()]
    });
    let nodes = table(width, ["NODE", "ADDRESSES", "POD CIDRS", "AGENT", "PODS"], nodes);
    if state.pods.is_empty() { nodes } else { format!("{nodes}\n\n{}", demo::pods_table(&state.pods, width)) }
}
