//! Executing another IPAM plugin, by the specification's rules: found in `CNI_PATH`, with the caller's
//! configuration and environment.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::json::Node;
use crate::{Allocation, Call, Error};

/// How long a plugin may take. A kubelet gives a whole sandbox four minutes.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long to wait for an installer that is writing the plugin's file.
const BUSY_DEADLINE: Duration = Duration::from_secs(5);

/// More output than this is no answer.
const LONGEST: u64 = 1 << 20;

/// A plugin that was started.
pub(crate) struct Running<'a> {
    plugin: &'a str,
    verb: &'static str,
    child: Child,
    since: Instant,
    stdout: File,
    stderr: File,
}

/// ADD: the answer is a result.
pub(crate) fn finish_add(running: Running<'_>) -> Result<Allocation, Error> {
    let plugin = running.plugin;
    let stdout = running.finish(DEADLINE)?;
    let garbage = |what: String| Error::Exec {
        plugin: plugin.to_owned(),
        what: format!("its answer to ADD is no CNI result: {what}"),
    };
    let value: Value = serde_json::from_slice(&stdout).map_err(|e| garbage(e.to_string()))?;
    let allocation = Allocation::read(&Node::root(&value)).map_err(|e| garbage(e.to_string()))?;
    if allocation.ips.is_empty() { Err(garbage("it has no ips".into())) } else { Ok(allocation) }
}

/// Any verb: what the plugin wrote on stdout, if it succeeded.
pub(crate) fn run(plugin: &str, verb: &'static str, call: &Call<'_>) -> Result<Vec<u8>, Error> {
    start(plugin, verb, call)?.finish(DEADLINE)
}

/// Starts the plugin, and leaves it to its work.
pub(crate) fn start<'a>(plugin: &'a str, verb: &'static str, call: &Call<'_>) -> Result<Running<'a>, Error> {
    let program = find(plugin, call.path)?;
    let fail = |what: String| Error::Exec { plugin: plugin.to_owned(), what };
    let io_fail = |error: io::Error| fail(format!("cannot run {}: {error}", program.display()));
    // Memory files instead of pipes: nothing to pump, nothing to block on, and a grandchild that keeps
    // its stdout open keeps nobody waiting.
    let mut stdin = memory(c"stdin")?;
    stdin.write_all(call.config.text()).and_then(|()| stdin.rewind()).map_err(io_fail)?;
    let (stdout, stderr) = (memory(c"stdout")?, memory(c"stderr")?);
    let mut command = Command::new(&program);
    command
        .process_group(0)
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", call.container_id)
        .env("CNI_IFNAME", call.ifname)
        .env("CNI_PATH", call.path);
    set_or_remove(&mut command, "CNI_NETNS", call.netns);
    set_or_remove(&mut command, "CNI_ARGS", Some(call.args).filter(|args| !args.is_empty()));
    command.stdin(stdin);
    command.stdout(stdout.try_clone().map_err(io_fail)?).stderr(stderr.try_clone().map_err(io_fail)?);
    let child = spawn(&mut command).map_err(io_fail)?;
    Ok(Running { plugin, verb, child, since: Instant::now(), stdout, stderr })
}

impl<'a> Running<'a> {
    /// Its name.
    pub(crate) fn plugin(&self) -> &'a str {
        self.plugin
    }

    /// What it wrote on stdout, if it succeeded.
    fn finish(mut self, deadline: Duration) -> Result<Vec<u8>, Error> {
        let plugin = self.plugin.to_owned();
        let finished = match wait(&mut self.child, self.since, deadline) {
            Ok(finished) => finished,
            Err(error) => return Err(Error::Exec { plugin, what: format!("cannot wait for it: {error}") }),
        };
        let errors = read(self.stderr);
        // What a plugin logs belongs where its caller logs.
        let _ = io::stderr().write_all(&errors);
        match finished {
            None => Err(Error::Timeout { plugin, verb: self.verb, seconds: deadline.as_secs() }),
            Some(status) if status.success() => Ok(read(self.stdout)),
            Some(status) => Err(error_of(plugin, status, &read(self.stdout), &errors)),
        }
    }
}

/// The first regular file of this name in `CNI_PATH`.
pub(crate) fn find(plugin: &str, path: &str) -> Result<PathBuf, Error> {
    if plugin.is_empty() || plugin.contains('/') {
        return Err(Error::Config(format!("ipam.type: \"{plugin}\" is no plugin's name")));
    }
    if path.is_empty() {
        return Err(Error::Args(format!("CNI_PATH is missing: the IPAM plugin {plugin} is searched there")));
    }
    let candidates =
        path.split(':').filter(|folder| !folder.is_empty()).map(|f| PathBuf::from(f).join(plugin));
    let found = candidates.into_iter().find(|file| file.metadata().is_ok_and(|m| m.is_file()));
    found.ok_or_else(|| Error::Exec {
        plugin: plugin.to_owned(),
        what: format!("there is no such file in CNI_PATH={path}: install it there or change ipam.type"),
    })
}

fn set_or_remove(command: &mut Command, name: &str, value: Option<&str>) {
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
}

/// Starts the plugin; its file may just be written ("text file busy").
fn spawn(command: &mut Command) -> io::Result<Child> {
    let start = Instant::now();
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && start.elapsed() < BUSY_DEADLINE =>
            {
                thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// Waits for the plugin; `None` if it took too long, and then it and what it started is dead.
fn wait(child: &mut Child, start: Instant, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: pidfd_open takes two integers and touches no memory; the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(fd).map(|fd| i32::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the kernel just gave this descriptor to us alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(0) if start.elapsed() < deadline => {}
            Ok(0) => {
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) => return child.wait().map(Some),
        }
    }
}

/// The error that a failed plugin reported, or what can be said in its place.
fn error_of(plugin: String, status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Error {
    let value: Result<Value, _> = serde_json::from_slice(stdout);
    if let Ok(value) = &value {
        let node = Node::root(value);
        let text =
            |name| node.get(name).ok().flatten().and_then(|n| n.text().ok()).unwrap_or_default().to_owned();
        let code = node.get("code").ok().flatten().and_then(|n| n.number().ok());
        if let Some(code) = code {
            return Error::Delegate { plugin, code, msg: text("msg"), details: text("details") };
        }
    }
    let said = if stdout.trim_ascii().is_empty() { stderr } else { stdout };
    let said =
        String::from_utf8_lossy(said.trim_ascii().get(..1000).unwrap_or(said.trim_ascii())).into_owned();
    let what = if said.is_empty() {
        format!("it failed without a message ({status})")
    } else {
        format!("it failed ({status}) and reported no CNI error, but: {said}")
    };
    Error::Exec { plugin, what }
}

fn memory(name: &std::ffi::CStr) -> Result<File, Error> {
    let file = memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from);
    file.map_err(|errno| {
        Error::io("create the memory file", name.to_string_lossy().into_owned())(errno.into())
    })
}

fn read(mut file: File) -> Vec<u8> {
    let mut content = Vec::new();
    let _ = file.rewind().and_then(|()| file.take(LONGEST).read_to_end(&mut content));
    content
}

#[cfg(test)]
mod tests;
