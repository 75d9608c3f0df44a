//! A lab that is up: reading its state, running programs in it, removing it.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use naming::PodKey;
use plumbing::NetNs;

use crate::enter::Namespaces;
use crate::fabric;
use crate::manifests;
use crate::process::Process;
use crate::state::{self, Lock, State};

/// The default directory of a lab.
pub const DEFAULT_DIR: &str = "/run/midokube-lab";

/// The program that has the commands of a lab.
pub const PROGRAM: &str = "midokube-lab";

/// How a command for the lab in `dir` begins: a hint can be typed as it is printed.
pub fn command(dir: &Path) -> String {
    if dir == Path::new(DEFAULT_DIR) {
        PROGRAM.to_owned()
    } else {
        format!("{PROGRAM} --dir {}", dir.display())
    }
}

/// How long a machine may take to end.
const END: Duration = Duration::from_secs(60);

/// A place in a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A node, by name.
    Node(String),
    /// A Pod: its own network, its node's files and processes.
    Pod(PodKey),
    /// The underlay's switch and router.
    Fabric,
    /// The host behind the router.
    Outside,
}

/// A lab, by its directory. Everything else is read from there, so that several programs can use one.
#[derive(Debug, Clone)]
pub struct Lab {
    dir: PathBuf,
}

impl Lab {
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The lab in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        let none = || {
            format!(
                "there is no lab in {}: make one with `{} up`, or name its --dir",
                dir.display(),
                command(dir)
            )
        };
        let dir = fs::canonicalize(dir).with_context(none)?;
        State::load(&dir)?.with_context(none)?;
        Ok(Self { dir })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the agents read their objects.
    pub fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    /// Writes an object for the agents to read, in one step; `name` is that of its file, without an ending.
    pub fn write_manifest(&self, name: &str, object: &serde_json::Value) -> Result<()> {
        manifests::write(&self.manifests().join(format!("{name}.yaml")), object)
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The log of a node's agent.
    pub fn log(&self, node: &str) -> PathBuf {
        self.logs().join(format!("{node}.log"))
    }

    /// What the lab has, as of now.
    pub fn state(&self) -> Result<State> {
        State::load(&self.dir)?.with_context(|| format!("the lab in {} has ended", self.dir.display()))
    }

    /// Changes the record, alone.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let _lock = Lock::take(&self.dir)?;
        let mut state = self.state()?;
        let result = change(&mut state)?;
        state.store(&self.dir)?;
        Ok(result)
    }

    /// The place with this name: `outside`, `fabric`, a node, or a Pod. With a namespace, as an
    /// option or in `namespace/name`, it is the Pod of that namespace and nothing else.
    pub fn find(&self, name: &str, namespace: Option<&str>) -> Result<Target> {
        let state = self.state()?;
        if namespace.is_none() && !name.contains('/') {
            match name {
                "outside" => return Ok(Target::Outside),
                "fabric" => return Ok(Target::Fabric),
                _ if state.nodes.iter().any(|n| n.name == name) => return Ok(Target::Node(name.into())),
                _ if state.pods.iter().all(|pod| pod.key.name != name) => {
                    bail!("the lab has nothing called {name}: name a node, a Pod, outside or fabric")
                }
                _ => {}
            }
        }
        self.find_pod(name, namespace).map(Target::Pod)
    }

    /// The Pod with this name. A name without a namespace must be that of one Pod alone.
    pub fn find_pod(&self, name: &str, namespace: Option<&str>) -> Result<PodKey> {
        let state = self.state()?;
        if namespace.is_some() || name.contains('/') {
            return Ok(state.pod(&pod_key(name, namespace.unwrap_or_default())?)?.key.clone());
        }
        let mut found = state.pods.iter().map(|pod| &pod.key).filter(|key| key.name == name);
        match (found.next(), found.next()) {
            (Some(key), None) => Ok(key.clone()),
            (None, _) => bail!("the lab has no Pod {name}: see `{} status`", command(&self.dir)),
            (Some(a), Some(b)) => {
                bail!("the lab has several Pods called {name}, {a} and {b} among them: give its namespace")
            }
        }
    }

    /// The PID 1 of a place's machine, and the network namespace's file if it is not the machine's.
    fn place(&self, target: &Target) -> Result<(Process, Option<PathBuf>)> {
        let state = self.state()?;
        let ended = || format!("the lab in {} has no such machine", self.dir.display());
        Ok(match target {
            Target::Node(name) => (state.node(name)?.init, None),
            Target::Fabric => (state.fabric.with_context(ended)?, None),
            Target::Outside => (state.outside.with_context(ended)?, None),
            Target::Pod(key) => {
                let pod = state.pod(key)?;
                let init = state.node(&pod.node)?.init;
                let file = format!("/proc/{}/root{}", init.pid, pod.netns().display());
                (init, Some(file.into()))
            }
        })
    }

    /// Starts a program at a place, with that place's network, files, processes and hostname. Wait for
    /// it: [`Lab::down`] ends it, but cannot reap another one's child.
    pub fn enter(&self, target: &Target, command: &mut Command) -> Result<Child> {
        let (init, net) = self.place(target)?;
        Namespaces::open(init, net.as_deref())?.spawn(command)
    }

    /// The network namespace of a place, for work by threads of this program.
    pub fn netns(&self, target: &Target) -> Result<NetNs> {
        match self.place(target)? {
            (init, None) => fabric::netns(init),
            (_, Some(file)) => Ok(NetNs::open(&file)?),
        }
    }

    /// Ends the lab: every process, namespace, mount and file of it. Success when there is none.
    pub fn down(&self) -> Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        // No record: no lab, or an `up` that had not begun.
        let Some(state) = State::load(&self.dir)? else { return Ok(()) };
        let lock = Lock::take(&self.dir)?;
        // Read again: it may have changed while another held the lock.
        let state = State::load(&self.dir)?.unwrap_or(state);
        // Agents first: they may be this program's children, and a machine's PID 1 does not end before
        // everybody in the machine has been reaped.
        for agent in state.agents() {
            agent.kill(END).context("cannot end an agent of the lab")?;
        }
        // All machines at once: the kernel takes its time for each.
        thread::scope(|scope| {
            let ends: Vec<_> =
                state.machines().into_iter().map(|init| scope.spawn(move || init.kill(END))).collect();
            ends.into_iter().try_for_each(|end| match end.join() {
                Ok(result) => result.context(
                    "cannot end a machine of the lab; does the parent of a program in it not wait for that program?",
                ),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        for part in [self.manifests(), self.logs()] {
            gone(fs::remove_dir_all(&part)).with_context(|| format!("cannot remove {}", part.display()))?;
        }
        let record = state::file(&self.dir);
        let unfinished =
            atomic_file::leftovers(&record).with_context(|| format!("cannot read {}", self.dir.display()))?;
        for part in unfinished.into_iter().chain([record, self.dir.join("lock")]) {
            gone(fs::remove_file(&part)).with_context(|| format!("cannot remove {}", part.display()))?;
        }
        drop(lock);
        gone(fs::remove_dir(&self.dir)).with_context(|| {
            format!("the lab is down, but {} holds files that are not its own", self.dir.display())
        })
    }

    /// This lab, ended when the guard is dropped.
    pub fn guarded(self) -> Guard {
        Guard { lab: self, ends: true }
    }
}

/// The Pod of that name, or `namespace/name`, in a namespace; empty: the one in the name.
pub fn pod_key(name: &str, namespace: &str) -> Result<PodKey> {
    if !name.contains('/') {
        return Ok(PodKey::new(namespace, name));
    }
    let key: PodKey = name.parse()?;
    ensure!(
        namespace.is_empty() || namespace == key.namespace,
        "{name} is not in namespace {namespace}: give one of the two"
    );
    Ok(key)
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A lab that is removed when this value is dropped.
#[derive(Debug)]
pub struct Guard {
    lab: Lab,
    ends: bool,
}

impl Guard {
    /// The lab itself; it stays.
    pub fn keep(mut self) -> Lab {
        self.ends = false;
        self.lab.clone()
    }
}

impl Deref for Guard {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ends
            && let Err(error) = self.lab.down()
        {
            // If standard error cannot be written, there is nothing left to do.
            let _ = writeln!(
                io::stderr(),
                "cannot end the lab in {}: {error:#}: try `{} down`",
                self.lab.dir.display(),
                command(&self.lab.dir)
            );
        }
    }
}
