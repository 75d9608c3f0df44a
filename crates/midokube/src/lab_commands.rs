//! `midokube lab`: the commands that make, use and end a lab.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use lab::{Lab, Options, Process, State, Target};

use crate::cli::{LabCommand, PodCommand, Size};
use crate::demo::{self, Progress};
use crate::output;
use crate::signals;
use crate::table::{WIDTH, join, table};

pub(crate) fn run(dir: &Path, command: LabCommand) -> Result<ExitCode> {
    match command {
        LabCommand::Up(size) => up(dir, &size)?,
        LabCommand::Status { output } => {
            output::write(&output.text(&Lab::open(dir)?.state()?, show)?)?;
        }
        LabCommand::Exec { place, command } => return exec(dir, &place, &command),
        LabCommand::Pod(PodCommand::Add { node, name, namespace }) => {
            let pod = Lab::open(dir)?.add_pod(&node, &namespace, &name)?;
            output::write(&format!("Pod {} on {}: {}\n", pod.key, pod.node, join(&pod.addresses())))?;
        }
        LabCommand::Pod(PodCommand::Delete { name }) => delete_pod(&Lab::open(dir)?, &name)?,
        LabCommand::Down => down(dir)?,
        LabCommand::Demo { size, keep } => return demo::run(dir, &size, keep),
    }
    Ok(ExitCode::SUCCESS)
}

/// What the library is to make.
pub(crate) fn options(dir: &Path, size: &Size) -> Options {
    Options {
        dir: dir.to_owned(),
        nodes: size.nodes,
        family: size.family,
        binaries: size.bin_dir.clone(),
        agent_args: size.agent_args.clone(),
        ..Options::default()
    }
}

/// Adds the first Pods of every node.
pub(crate) fn add_pods(lab: &Lab, per_node: u8, cancelled: &AtomicBool) -> Result<()> {
    for (index, node) in (1..).zip(lab.state()?.nodes) {
        for number in 1..=per_node {
            ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
            lab.add_pod(&node.name, "default", &format!("pod{index}-{number}"))?;
        }
    }
    Ok(())
}

fn up(dir: &Path, size: &Size) -> Result<()> {
    let cancelled = signals::interrupted()?;
    let progress = Progress::new();
    let options = Options { cancelled: Arc::clone(&cancelled), ..options(dir, size) };
    let guard = Lab::up(&options, &mut |step| progress.step(step))?.guarded();
    progress.step("the Pods");
    add_pods(&guard, size.pods_per_node, &cancelled)?;
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

fn delete_pod(lab: &Lab, name: &str) -> Result<()> {
    match lab.find(name)? {
        Target::Pod(key) => lab.delete_pod(&key),
        Target::Node(_) | Target::Fabric | Target::Outside => anyhow::bail!("{name} is not a Pod"),
    }
}

fn exec(dir: &Path, place: &str, command: &[String]) -> Result<ExitCode> {
    let lab = Lab::open(dir)?;
    let target = lab.find(place)?;
    let [program, arguments @ ..] = command else { anyhow::bail!("name a program to run") };
    // A terminal's interrupt is for the program inside: this one waits for it.
    let _ignored = signals::interrupted()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", format!("{path}:{}", lab.state()?.binaries.display()));
    let status = lab.enter(&target, &mut command)?.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
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
