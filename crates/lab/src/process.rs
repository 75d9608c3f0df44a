//! A process that outlives the program that started it, identified so that no other process is ever signalled.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde::{Deserialize, Serialize};

/// A process: its id and when it was started. The kernel gives ids out again, both together it does
/// not, within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process id, as the host counts.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat`, see proc(5).
    pub start: u64,
}

impl Process {
    /// Names a process that is known to run: one's own child, for example.
    pub fn of(pid: i32) -> Result<Self> {
        let (_, start) = stat(pid)?.with_context(|| format!("process {pid} is gone already"))?;
        Ok(Self { pid, start })
    }

    /// Whether it still runs. A zombie does not.
    pub fn alive(self) -> bool {
        matches!(stat(self.pid), Ok(Some((state, start))) if start == self.start && !matches!(state, 'Z' | 'X'))
    }

    /// Sends SIGKILL and waits until it is gone; success when it is gone already.
    pub fn kill(self, deadline: Duration) -> Result<()> {
        self.stop(libc::SIGKILL, deadline)
    }

    /// Sends SIGTERM, waits, and after `patience` sends SIGKILL.
    pub fn terminate(self, patience: Duration) -> Result<()> {
        self.stop(libc::SIGTERM, patience).or_else(|_| self.kill(Duration::from_secs(60)))
    }

    /// Waits until it has ended, at most `deadline`; whether it has. A child of this program stays to
    /// be reaped.
    pub fn wait(self, deadline: Duration) -> Result<bool> {
        match self.open()? {
            Some(fd) => ended(&fd, deadline),
            None => Ok(true),
        }
    }

    fn stop(self, signal: libc::c_int, deadline: Duration) -> Result<()> {
        let Some(fd) = self.open()? else { return Ok(()) };
        // SAFETY: plain integers and a null pointer; the descriptor is open.
        let sent = unsafe {
            let info = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal, info, 0)
        };
        if sent != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ESRCH) {
                return Err(error).with_context(|| format!("cannot signal process {}", self.pid));
            }
        }
        if !ended(&fd, deadline)? {
            bail!("process {} did not end within {deadline:?} of signal {signal}", self.pid);
        }
        // Ours to reap only if this very program started it; the error says that it did not.
        let _ = waitid(Id::PIDFd(fd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        Ok(())
    }

    /// A descriptor for this very process, `None` when it is gone.
    fn open(self) -> Result<Option<OwnedFd>> {
        // The descriptor first, the check after it: what is signalled is then what was checked.
        let Some(fd) = pidfd(self.pid).with_context(|| format!("cannot open process {}", self.pid))? else {
            return Ok(None);
        };
        let started = stat(self.pid)?.map(|(_, start)| start);
        Ok((started == Some(self.start)).then_some(fd))
    }
}

fn ended(fd: &OwnedFd, deadline: Duration) -> Result<bool> {
    let until = Instant::now() + deadline;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for a process"),
        }
    }
}

/// The running kernel's identity: start times of another boot mean nothing.
pub(crate) fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
}

fn pidfd(pid: i32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// State and start time of a process, `None` when there is none of that id.
fn stat(pid: i32) -> Result<Option<(char, u64)>> {
    let path = format!("/proc/{pid}/stat");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(parse_stat(&text).with_context(|| format!("{path} reads strangely: {text:?}"))?)),
        // ESRCH: it ended between open and read.
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {path}")),
    }
}

/// Fields 3 and 22. The second field is a name in parentheses that may itself hold anything.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_name_with_parentheses_and_spaces() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(parse_stat(text), Some(('S', 98765)));
        assert_eq!(parse_stat("7 (x) S 1"), None);
    }

    #[test]
    fn a_reused_id_is_not_signalled() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let real = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        let other = Process { start: real.start + 1, ..real };
        assert!(real.alive() && !other.alive());
        other.kill(Duration::from_secs(60)).unwrap();
        assert!(real.alive(), "a process of another start time was killed");
        real.kill(Duration::from_secs(60)).unwrap();
        assert!(!real.alive());
        real.kill(Duration::from_secs(60)).unwrap();
        let _ = child.wait();
    }
}
