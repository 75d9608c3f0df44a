//! The agent of a node: the product's own program, at its own paths, with Nodes from a folder.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cni;
use crate::enter::{self, Namespaces};
use crate::process::Process;
use crate::state::{Node, State};

const PROGRAM: &str = "midonet-kube-node";
const PLUGIN: &str = "midonet-kube-cni";

/// How many lines of a log an error shows.
const TAIL: usize = 20;

/// Fails unless the product's binaries are in `dir`.
pub(crate) fn need_binaries(dir: &Path) -> Result<()> {
    for name in [PROGRAM, PLUGIN] {
        let path = dir.join(name);
        ensure!(
            path.is_file(),
            "{} is not there: build it (`make build`), or name the directory that has it with --bin-dir",
            path.display()
        );
    }
    Ok(())
}

/// The agent's socket in a node, as a path of the host.
pub(crate) fn socket(init: Process) -> PathBuf {
    // Not /var/run: that link would lead out of the node, to the host's /run.
    PathBuf::from(format!("/proc/{}/root/run/midonet-kube-node/api", init.pid))
}

/// Puts the plugin where a node's runtime looks for it, as the agent's image does.
pub(crate) fn install_plugin(node: &Node, state: &State) -> Result<()> {
    let mut command = Command::new(state.binaries.join(PROGRAM));
    command.args(["install", "--cni-bin-dir", "/opt/cni/bin"]);
    environment(&mut command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Namespaces::open(node.init, None)?.spawn(&mut command)?;
    let status = enter::wait(&mut child, Duration::from_secs(10))?;
    let said = child.wait_with_output()?.stderr;
    ensure!(
        status.success(),
        "cannot install the plugin on {}: {PROGRAM} install ended with {status}: {}",
        node.name,
        String::from_utf8_lossy(&said).trim()
    );
    Ok(())
}

/// Starts a node's agent; its log goes on at the end of `log`.
pub(crate) fn start(node: &Node, state: &State, manifests: &Path, log: &Path) -> Result<Process> {
    let open = || File::options().create(true).append(true).open(log);
    let log = open().with_context(|| format!("cannot open log {}", log.display()))?;
    let cidrs: Vec<_> = state.cluster_cidrs.iter().map(ToString::to_string).collect();
    let mut command = Command::new(state.binaries.join(PROGRAM));
    command
        .args(["--node-name", &node.name, "--cluster-cidr", &cidrs.join(",")])
        .arg("--manifests")
        .arg(manifests)
        .args(&state.agent_args)
        .process_group(0);
    environment(&mut command).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = Namespaces::open(node.init, None)?.spawn(&mut command)?;
    Process::of(i32::try_from(child.id())?)
}

/// What a service manager would give it, and nothing of the caller's.
fn environment(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Waits until a node can take Pods: its CNI configuration is there and its agent answers.
pub(crate) fn wait_ready(
    node: &Node,
    agent: Process,
    log: &Path,
    deadline: Duration,
    cancelled: &dyn Fn() -> bool,
) -> Result<()> {
    let until = Instant::now() + deadline;
    loop {
        let ended = !agent.alive();
        let configured = cni::config(node.init).is_ok_and(|config| config.is_some());
        let answers = UnixStream::connect(socket(node.init)).is_ok();
        if !ended && configured && answers {
            return Ok(());
        }
        ensure!(!cancelled(), "interrupted");
        let missing = match (ended, configured, answers) {
            (true, ..) => "it has ended".to_owned(),
            (_, true, _) => "it does not answer on its socket".to_owned(),
            (_, _, true) => "it wrote no CNI configuration".to_owned(),
            _ => "it neither answers nor wrote a CNI configuration".to_owned(),
        };
        if ended || Instant::now() > until {
            bail!(
                "the agent of {} is not ready after {deadline:?} at most: {missing}; {}",
                node.name,
                tail(log)
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The end of a log, as part of an error.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
    if last.is_empty() {
        format!("its log {} is empty", log.display())
    } else {
        format!("the end of its log {}:\n    {}", log.display(), last.join("\n    "))
    }
}
