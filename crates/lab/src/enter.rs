//! Going into a machine: programs into all its namespaces, threads into one of them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::chdir;

use crate::process::Process;

/// The open namespaces of a machine, with its own or another (a Pod's) network.
pub(crate) struct Namespaces {
    pid: OwnedFd,
    others: [(OwnedFd, CloneFlags); 3],
}

impl Namespaces {
    /// Opens the namespaces of the machine whose PID 1 is `init`; `net` is a network namespace's file
    /// to use instead of the machine's own.
    pub(crate) fn open(init: Process, net: Option<&Path>) -> Result<Self> {
        let open = |kind: &str| -> Result<OwnedFd> {
            let path = PathBuf::from(format!("/proc/{}/ns/{kind}", init.pid));
            let path = net.filter(|_| kind == "net").map_or(path, Path::to_owned);
            Ok(File::open(&path).with_context(|| format!("cannot open namespace {}", path.display()))?.into())
        };
        let namespaces = Self {
            pid: open("pid")?,
            others: [
                (open("uts")?, CloneFlags::CLONE_NEWUTS),
                (open("net")?, CloneFlags::CLONE_NEWNET),
                (open("mnt")?, CloneFlags::CLONE_NEWNS),
            ],
        };
        // Only now it is certain that these were the machine's and not those of a later process.
        ensure!(
            init.alive(),
            "the machine is gone (process {} has ended): end the lab and make it anew",
            init.pid
        );
        Ok(namespaces)
    }

    /// Starts `command` inside, with `/` as its directory. A program is looked up inside, too.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        let mut others = Vec::new();
        for (fd, kind) in &self.others {
            others.push((fd.try_clone().context("cannot duplicate a namespace's descriptor")?, *kind));
        }
        let enter = move || {
            for (fd, kind) in &others {
                setns(fd, *kind)?;
            }
            chdir(c"/")?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls only.
        unsafe { command.pre_exec(enter) };
        let program = command.get_program().to_owned();
        // A PID namespace is for children: this thread stays where it is, and ends.
        on_a_thread(|| {
            setns(&self.pid, CloneFlags::CLONE_NEWPID).context("cannot enter a PID namespace")?;
            command.spawn().with_context(|| format!("cannot start {} in the lab", program.display()))
        })
    }
}

/// Runs `work` on a thread of its own whose file system is the machine's.
pub(crate) fn in_mounts<T: Send>(init: Process, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/proc/{}/ns/mnt", init.pid);
    let mounts = File::open(&path).with_context(|| format!("cannot open namespace {path}"))?;
    ensure!(init.alive(), "the machine is gone (process {} has ended)", init.pid);
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_FS).context("cannot detach a thread's directories")?;
        setns(&mounts, CloneFlags::CLONE_NEWNS).with_context(|| format!("cannot enter {path}"))?;
        work()
    })
}

/// Runs `work` on a thread of its own, so that what it does to its namespaces ends with it.
pub(crate) fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("lab".into()).spawn_scoped(scope, work)?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits for a child that was started here, at most until `deadline`, after which it is killed.
pub(crate) fn wait(child: &mut Child, deadline: std::time::Duration) -> Result<std::process::ExitStatus> {
    let process = Process::of(i32::try_from(child.id())?)?;
    if !process.wait(deadline)? {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::from(io::ErrorKind::TimedOut))
            .with_context(|| format!("not done within {deadline:?}, killed"));
    }
    Ok(child.wait()?)
}
