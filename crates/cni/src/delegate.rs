//! Executing another plugin by the specification's rules: found in `CNI_PATH`, with the caller's environment and a
//! configuration on stdin.

use std::ffi::CStr;
use std::fmt::Display;
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

use crate::call::Call;
use crate::error::{Error as CniError, code};
use crate::json::Element;
use crate::result::CniResult;

/// How long a plugin may take. A kubelet gives a whole sandbox four minutes.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long to wait for an installer that is writing the plugin's file.
const BUSY_DEADLINE: Duration = Duration::from_secs(5);

/// The largest output that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Another plugin failed.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin}: {cause}")]
pub struct Error {
    /// The plugin's name.
    pub plugin: String,
    /// Why.
    pub cause: Cause,
}

/// Why a plugin failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The name leads out of `CNI_PATH`.
    #[error("this is no plugin's name")]
    Name,
    /// There is no `CNI_PATH`.
    #[error("CNI_PATH is missing: plugins are searched there")]
    NoPath,
    /// It is not in this `CNI_PATH`.
    #[error("there is no such file in CNI_PATH={0}: install it there")]
    NotInstalled(String),
    /// There is no memory file for what it reads or writes.
    #[error("cannot create a memory file: {}{}", .0, remedy(*.0))]
    Memory(Errno),
    /// It could not be run, or what it wrote is no CNI answer.
    #[error("{0}")]
    Exec(String),
    /// It did not answer in time.
    #[error("it did not finish {verb} within {seconds} seconds and was killed")]
    Timeout {
        /// What it was asked.
        verb: &'static str,
        /// The deadline.
        seconds: u64,
    },
    /// It reported this error.
    #[error("{}", .0.msg)]
    Reported(CniError),
}

impl Error {
    /// The CNI error code; `otherwise` is the caller's code for a plugin that could not be run.
    pub fn code(&self, otherwise: u32) -> u32 {
        match &self.cause {
            Cause::Reported(error) => error.code,
            Cause::Name => code::CONFIG,
            Cause::NoPath => code::ENVIRONMENT,
            Cause::Memory(_) => code::IO,
            Cause::Timeout { .. } => code::TRY_AGAIN,
            Cause::NotInstalled(_) | Cause::Exec(_) => otherwise,
        }
    }

    /// The details of the error that the plugin reported; often empty.
    pub fn details(&self) -> &str {
        match &self.cause {
            Cause::Reported(error) => &error.details,
            _ => "",
        }
    }
}

/// A plugin that was started.
pub struct Running<'a> {
    plugin: &'a str,
    verb: &'static str,
    child: Child,
    since: Instant,
    stdout: File,
    stderr: File,
}

/// Whether a plugin of this name is in `path`, which is a `CNI_PATH`.
pub fn is_installed(plugin: &str, path: &str) -> bool {
    find(plugin, path).is_ok()
}

/// Executes the plugin; returns what it wrote on stdout.
///
/// # Errors
/// [`Error`].
pub fn run(plugin: &str, verb: &'static str, call: &Call<'_>) -> Result<Vec<u8>, Error> {
    start(plugin, verb, call)?.finish()
}

/// Starts the plugin.
///
/// # Errors
/// [`Error`].
pub fn start<'a>(plugin: &'a str, verb: &'static str, call: &Call<'_>) -> Result<Running<'a>, Error> {
    let program = find(plugin, call.path)?;
    let fail = |error: io::Error| failed(plugin, format!("cannot run {}: {error}", program.display()));
    // Memory files instead of pipes: nothing to pump, nothing to block on, and a grandchild that keeps
    // its stdout open does not delay the answer.
    let memory = |name: &CStr| memfd_create(name, MFdFlags::MFD_CLOEXEC).map(File::from);
    let no_memory = |errno| Error { plugin: plugin.to_owned(), cause: Cause::Memory(errno) };
    let mut stdin = memory(c"stdin").map_err(no_memory)?;
    stdin.write_all(call.config.text()).and_then(|()| stdin.rewind()).map_err(fail)?;
    let stdout = memory(c"stdout").map_err(no_memory)?;
    let stderr = memory(c"stderr").map_err(no_memory)?;
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
    command.stdout(stdout.try_clone().map_err(fail)?).stderr(stderr.try_clone().map_err(fail)?);
    let child = spawn(&mut command).map_err(fail)?;
    Ok(Running { plugin, verb, child, since: Instant::now(), stdout, stderr })
}

impl<'a> Running<'a> {
    /// The plugin's name.
    pub fn plugin(&self) -> &'a str {
        self.plugin
    }

    /// Waits for the plugin; returns what it wrote on stdout.
    ///
    /// # Errors
    /// [`Error`].
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        self.finish_within(DEADLINE)
    }

    /// Waits for the plugin, which was started for ADD; returns its result.
    ///
    /// # Errors
    /// [`Error`].
    pub fn finish_add(self) -> Result<CniResult, Error> {
        let plugin = self.plugin;
        let stdout = self.finish()?;
        let value: Value = serde_json::from_slice(&stdout).map_err(|error| no_result(plugin, error))?;
        CniResult::read(&Element::root(&value)).map_err(|error| no_result(plugin, error))
    }

    fn finish_within(mut self, deadline: Duration) -> Result<Vec<u8>, Error> {
        let finished = wait(&mut self.child, self.since, deadline)
            .map_err(|error| failed(self.plugin, format!("cannot wait for it: {error}")))?;
        let errors = read(self.stderr);
        // What a plugin logs belongs where its caller logs.
        let _ = io::stderr().write_all(&errors);
        let cause = match finished {
            None => Cause::Timeout { verb: self.verb, seconds: deadline.as_secs() },
            Some(status) if status.success() => return Ok(read(self.stdout)),
            Some(status) => cause_of(status, &read(self.stdout), &errors),
        };
        Err(Error { plugin: self.plugin.to_owned(), cause })
    }
}

/// ADD's answer is no result that its caller can use.
pub fn no_result(plugin: &str, what: impl Display) -> Error {
    failed(plugin, format!("its answer to ADD is no CNI result: {what}"))
}

fn failed(plugin: &str, what: String) -> Error {
    Error { plugin: plugin.to_owned(), cause: Cause::Exec(what) }
}

/// The first regular file of this name in `CNI_PATH`.
fn find(plugin: &str, path: &str) -> Result<PathBuf, Error> {
    let fail = |cause| Error { plugin: plugin.to_owned(), cause };
    if plugin.is_empty() || plugin.contains('/') {
        return Err(fail(Cause::Name));
    }
    if path.is_empty() {
        return Err(fail(Cause::NoPath));
    }
    let directories = path.split(':').filter(|directory| !directory.is_empty());
    let mut candidates = directories.map(|directory| PathBuf::from(directory).join(plugin));
    let found = candidates.find(|file| file.metadata().is_ok_and(|file| file.is_file()));
    found.ok_or_else(|| fail(Cause::NotInstalled(path.to_owned())))
}

fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::EMFILE | Errno::ENFILE => {
            "; raise the number of files that the container runtime may open (LimitNOFILE)"
        }
        _ => "",
    }
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

/// Waits for the plugin; `None` if it took too long, and then it and its children have been killed.
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

/// The error that a failed plugin reported, or a description of the failure.
fn cause_of(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Cause {
    let value: Result<Value, _> = serde_json::from_slice(stdout);
    if let Ok(value) = &value {
        let root = Element::root(value);
        let text = |name| root.word(name).ok().flatten().unwrap_or_default().to_owned();
        if let Ok(Some(code)) = root.optional_number("code") {
            return Cause::Reported(CniError { code, msg: text("msg"), details: text("details") });
        }
    }
    let said = if stdout.trim_ascii().is_empty() { stderr } else { stdout }.trim_ascii();
    let said = String::from_utf8_lossy(said.get(..1000).unwrap_or(said));
    Cause::Exec(if said.is_empty() {
        format!("it failed without a message ({status})")
    } else {
        format!("it failed ({status}) and reported no CNI error, but: {said}")
    })
}

fn read(mut file: File) -> Vec<u8> {
    let mut content = Vec::new();
    let _ = file.rewind().and_then(|()| file.take(LARGEST).read_to_end(&mut content));
    content
}

#[cfg(test)]
mod tests;
