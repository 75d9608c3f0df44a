//! Making a lab: machines, underlay, agents, in this order. Each is recorded before it exists.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::agent;
use crate::fabric;
use crate::lab::{DEFAULT_DIR, Lab, command};
use crate::machine::{self, Kept};
use crate::manifests;
use crate::process::Process;
use crate::state::{Lock, Node, State};
use crate::topology::{Family, MAX_NODES, addresses, node_name};

/// The settings of a new lab.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its record, manifests and logs go; must not exist or be empty.
    pub dir: PathBuf,
    /// How many nodes, at most [`MAX_NODES`].
    pub nodes: u8,
    /// Which families of addresses.
    pub family: Family,
    /// The directory with `midonet-kube-node` and `midonet-kube-cni`; `None`: that of the running
    /// program.
    pub binaries: Option<PathBuf>,
    /// Further arguments of every agent.
    pub agent_args: Vec<String>,
    /// Whether the agents are started; without them there are nodes, but no Pods can be added.
    pub agents: bool,
    /// How long an agent may take until it is ready.
    pub deadline: Duration,
    /// Set by another thread to cancel: what exists by then is removed.
    pub cancelled: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: DEFAULT_DIR.into(),
            nodes: 3,
            family: Family::Dual,
            binaries: None,
            agent_args: Vec::new(),
            agents: true,
            deadline: agent::READY,
            cancelled: Arc::default(),
        }
    }
}

impl Options {
    fn check_cancelled(&self) -> Result<()> {
        ensure!(!self.cancelled.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    fn binaries(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.binaries {
            return fs::canonicalize(dir).with_context(|| format!("cannot find directory {}", dir.display()));
        }
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
    }
}

impl Lab {
    /// Makes a lab and waits until every node can take Pods. `progress` is called with each step before it is
    /// done. On failure nothing is left.
    pub fn up(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        ensure!(
            (1..=MAX_NODES).contains(&options.nodes),
            "a lab has 1 to {MAX_NODES} nodes, not {}",
            options.nodes
        );
        ensure!(nix::unistd::geteuid().is_root(), "a lab needs root: run it with sudo");
        let binaries = options.binaries()?;
        if options.agents {
            agent::need_binaries(&binaries)?;
        }
        let dir = new_directory(&options.dir)?;
        let lab = Self::at(dir);
        let lock = Lock::take(lab.dir())?;
        let state = State::new(options.family, binaries, options.agent_args.clone())?;
        let built = Builder { lab: &lab, options, state }.build(progress);
        drop(lock);
        match built {
            Ok(()) => Ok(lab),
            Err(error) => match lab.down() {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!("and the rest could not be removed: {left:#}"))),
            },
        }
    }
}

fn new_directory(dir: &Path) -> Result<PathBuf> {
    let make = || fs::create_dir_all(dir).and_then(|()| fs::canonicalize(dir));
    let dir = make().with_context(|| format!("cannot make directory {}", dir.display()))?;
    if let Some(left) = State::load(&dir)? {
        // Nobody of it runs (the machine was restarted, say): only its files are left.
        ensure!(
            left.machines().into_iter().all(|process| !process.alive()),
            "there is a lab in {} already: end it with `{} down`, or choose another --dir",
            dir.display(),
            command(&dir)
        );
        Lab::at(dir.clone()).down()?;
        fs::create_dir_all(&dir)?;
    }
    let mut entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    ensure!(
        entries.all(|entry| entry.is_ok_and(|e| e.file_name() == "lock")),
        "{} is not empty and holds no lab: choose another --dir",
        dir.display()
    );
    Ok(dir)
}

struct Builder<'a> {
    lab: &'a Lab,
    options: &'a Options,
    state: State,
}

impl Builder<'_> {
    fn build(mut self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        let Options { nodes, family, .. } = *self.options;
        self.state.store(self.lab.dir())?;
        for dir in [self.lab.manifests(), self.lab.logs()] {
            match fs::create_dir(&dir) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                    return Err(e).with_context(|| format!("cannot make {}", dir.display()));
                }
                _ => {}
            }
        }
        progress("the underlay and the outside host");
        let fabric = self.machine("fabric", |state, process| state.fabric = Some(process))?;
        let outside = self.machine("outside", |state, process| state.outside = Some(process))?;
        fabric::build(fabric, outside, family).context("cannot build the underlay")?;
        for index in 1..=nodes {
            let name = node_name(index);
            self.options.check_cancelled()?;
            progress(&format!("{name}: namespaces and link"));
            let node = self.node(index)?;
            fabric::connect(fabric, node, &name, index, family)?;
        }
        if self.options.agents {
            progress("the agents");
            self.agents()?;
        }
        Ok(())
    }

    fn machine(&mut self, name: &str, note: impl FnOnce(&mut State, Process)) -> Result<Process> {
        let temporary = std::env::temp_dir();
        let temporary = fs::canonicalize(&temporary)
            .with_context(|| format!("cannot find directory {}", temporary.display()))?;
        // Devices are no files. The directory of temporary files is where host and machines exchange some.
        let kept = [
            Kept::writable("/dev"),
            Kept::writable(temporary),
            Kept::writable(self.lab.dir()),
            Kept::read_only(&self.state.binaries),
        ];
        machine::start(name, &kept, |process| {
            note(&mut self.state, process);
            self.state.store(self.lab.dir())
        })
    }

    fn node(&mut self, index: u8) -> Result<Process> {
        let (name, family) = (node_name(index), self.options.family);
        let init = self.machine(&name, |state, init| {
            state.nodes.push(Node {
                name: name.clone(),
                init,
                agent: None,
                addresses: addresses(&family.underlay(index)),
                pod_cidrs: family.pod_cidrs(index),
            });
        })?;
        let object = manifests::node(self.state.node(&name)?);
        manifests::write(&manifests::node_file(&self.lab.manifests(), &name), &object)?;
        Ok(init)
    }

    fn agents(&mut self) -> Result<()> {
        for position in 0..self.state.nodes.len() {
            let Some(node) = self.state.nodes.get(position) else { break };
            agent::install_plugin(node, &self.state)?;
            let log = self.lab.log(&node.name);
            let agent = agent::start(node, &self.state, &self.lab.manifests(), &log)?;
            if let Some(node) = self.state.nodes.get_mut(position) {
                node.agent = Some(agent);
            }
            self.state.store(self.lab.dir())?;
        }
        let cancelled = || self.options.cancelled.load(Ordering::Relaxed);
        thread::scope(|scope| {
            let waits: Vec<_> = self
                .state
                .nodes
                .iter()
                .filter_map(|node| node.agent.map(|agent| (node, agent)))
                .map(|(node, agent)| {
                    let (log, deadline) = (self.lab.log(&node.name), self.options.deadline);
                    scope.spawn(move || agent::wait_ready(node, agent, &log, deadline, &cancelled))
                })
                .collect();
            waits.into_iter().try_for_each(|wait| match wait.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }
}
