//! What every part gets: settings, progress, interruption, and labs that end with their variable.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::progress::Progress;

/// The settings of a run and the means to do it.
pub(crate) struct Bench {
    /// How often each cell is measured.
    pub(crate) rounds: usize,
    /// How long a cell that measures a rate takes, in seconds.
    pub(crate) seconds: f64,
    /// Where the product's programs are.
    pub(crate) binaries: PathBuf,
    /// Where those of another build are, which this one is compared with.
    pub(crate) before: Option<PathBuf>,
    /// Where the labs' records are.
    pub(crate) dir: PathBuf,
    pub(crate) progress: Progress,
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Bench {
    /// Fails if the run was interrupted.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    /// Makes a lab of these nodes.
    pub(crate) fn lab(&self, name: &str, family: lab::Family, nodes: u8, agents: bool) -> Result<lab::Guard> {
        self.lab_with(name, family, nodes, agents, Vec::new())
    }

    /// The same, with further arguments for the agents.
    pub(crate) fn lab_with(
        &self,
        name: &str,
        family: lab::Family,
        nodes: u8,
        agents: bool,
        agent_args: Vec<String>,
    ) -> Result<lab::Guard> {
        self.lab_of(&self.binaries, name, family, nodes, agents, agent_args)
    }

    /// The same, of the programs in a directory.
    pub(crate) fn lab_of(
        &self,
        binaries: &Path,
        name: &str,
        family: lab::Family,
        nodes: u8,
        agents: bool,
        agent_args: Vec<String>,
    ) -> Result<lab::Guard> {
        let options = lab::Options {
            dir: self.dir.join(name),
            nodes,
            family,
            binaries: Some(binaries.to_owned()),
            agent_args,
            agents,
            cancelled: Arc::clone(&self.interrupted),
            ..lab::Options::default()
        };
        let up = lab::Lab::up(&options, &mut |step| self.progress.detail(&format!("lab {name}: {step}")));
        Ok(up.with_context(|| format!("lab {name}"))?.guarded())
    }

    /// Installs the plugin into a directory of a node.
    pub(crate) fn install(&self, lab: &lab::Lab, node: &str, directory: &str) -> Result<()> {
        let mut command = Command::new(self.binaries.join("midonet-kube-node"));
        command.args(["install", "--cni-bin-dir", directory]).stdin(Stdio::null()).stdout(Stdio::null());
        let status = lab.enter(&lab::Target::Node(node.to_owned()), &mut command)?.wait()?;
        ensure!(status.success(), "midonet-kube-node install ended with {status}");
        Ok(())
    }

    /// Whether the agent has an option of that name.
    pub(crate) fn agent_knows(&self, option: &str) -> Result<bool> {
        let agent = self.binaries.join("midonet-kube-node");
        let help = Command::new(&agent).arg("--help").stdin(Stdio::null()).output();
        let help = help.with_context(|| format!("cannot run {}: run make build first", agent.display()))?;
        Ok(String::from_utf8_lossy(&help.stdout).contains(option))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // It is there only if a lab was, and a lab that cannot end keeps it.
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Where the builds of others' programs put them.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("MIDOKUBE_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/midonet-kube")));
    cache.context("HOME is not set")
}

/// The reference plugins, as the test cluster's build put them into its cache.
pub(crate) fn reference_plugins(needed: &[&str]) -> Result<PathBuf> {
    let dir = cache()?.join("bin/cni");
    for name in needed {
        let path = dir.join(name);
        if !path.is_file() {
            bail!("{} is not there: run tests/cluster/build first (make bench does)", path.display());
        }
    }
    Ok(dir)
}

/// A directory by its whole path (programs inside a node start elsewhere), or that of this program.
pub(crate) fn directory(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = given {
        return std::fs::canonicalize(dir)
            .with_context(|| format!("cannot find directory {}", dir.display()));
    }
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

extern "C" fn interrupt(_: libc::c_int) {
    if let Some(flag) = INTERRUPTED.get() {
        flag.store(true, Ordering::Relaxed);
    }
}

/// A flag that SIGINT and SIGTERM set from now on: long work checks it, and cleans up.
pub(crate) fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::clone(INTERRUPTED.get_or_init(Arc::default));
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores into an atomic that was made before.
        unsafe { sigaction(signal, &action) }.context("cannot watch for signals")?;
    }
    Ok(flag)
}
