//! The agent of a node: the product's own program, at its own paths, with Nodes from a directory.

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
use crate::lab::Lab;
use crate::process::Process;
use crate::state::{Node, State};

const PROGRAM: &str = "midonet-kube-node";
const PLUGIN: &str = "midonet-kube-cni";

/// How long an agent may take until it is ready, by default.
pub(crate) const READY: Duration = Duration::from_secs(120);

/// How many lines of a log an error shows.
const TAIL: usize = 20;

impl Lab {
    /// The socket of a node's agent, as a path of the host.
    pub fn socket(&self, node: &str) -> Result<PathBuf> {
        Ok(socket(self.state()?.node(node)?.init))
    }

    /// Ends a node's agent, starts it again, and waits until it is ready.
    pub fn restart_agent(&self, node: &str) -> Result<()> {
        self.stop_agent(node)?;
        self.start_agent(node)
    }

    /// Ends a node's agent: SIGTERM, and SIGKILL if it takes longer than 10 s.
    pub fn stop_agent(&self, node: &str) -> Result<()> {
        if let Some(agent) = self.update(|state| Ok(state.node_mut(node)?.agent.take()))? {
            agent.terminate(Duration::from_secs(10))?;
        }
        Ok(())
    }

    /// Gives agents that are started from now on these further arguments, in the place of those that the lab was made with.
    pub fn set_agent_args(&self, args: &[&str]) -> Result<()> {
        self.update(|state| {
            state.agent_args = args.iter().map(|arg| (*arg).to_owned()).collect();
            Ok(())
        })
    }

    /// Starts a node's agent, which must not run, and waits until it is ready.
    pub fn start_agent(&self, node: &str) -> Result<()> {
        let log = self.log(node);
        let (node, agent) = self.update(|state| {
            let known = state.node(node)?.clone();
            if known.agent.is_some_and(Process::alive) {
                bail!("the agent of {node} runs already");
            }
            let agent = start(&known, state, &self.manifests(), &log)?;
            state.node_mut(node)?.agent = Some(agent);
            Ok((known, agent))
        })?;
        wait_ready(&node, agent, &log, READY, &|| false)
    }
}

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

/// Installs the plugin into a node's plugin directory, as the agent's image does.
pub(crate) fn install_plugin(node: &Node, state: &State) -> Result<()> {
    let mut command = Command::new(state.binaries.join(PROGRAM));
    command.args(["install", "--cni-bin-dir", "/opt/cni/bin"]);
    environment(&mut command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Namespaces::open(node.init, None)?.spawn(&mut command)?;
    let status = enter::wait(&mut child, READY)?;
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
    command.args(["--node-name", &node.name, "--cluster-cidr", &cidrs.join(",")]).args(&state.agent_args);
    if !state.agent_args.iter().any(|arg| arg.starts_with("--kubeconfig")) {
        command.arg("--manifests").arg(manifests);
    }
    command.process_group(0);
    environment(&mut command).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = Namespaces::open(node.init, None)?.spawn(&mut command)?;
    Process::of(i32::try_from(child.id())?)
}

/// The environment that a service manager would give it, without the caller's.
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
        if ended {
            bail!("the agent of {} has ended; {}", node.name, tail(log));
        }
        if Instant::now() > until {
            let missing = match (configured, answers) {
                (true, _) => "it does not answer on its socket",
                (_, true) => "it wrote no CNI configuration",
                _ => "it neither answers nor wrote a CNI configuration",
            };
            bail!("the agent of {} is not ready after {deadline:?}: {missing}; {}", node.name, tail(log));
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
