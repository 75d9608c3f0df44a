//! A machine of the lab: network, mount, PID and UTS namespaces and a PID 1 that keeps them. When that
//! process ends, everything in the machine ends with it.

pub(crate) mod init;
mod plan;

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::process::Process;
use init::{READY, Report};
pub(crate) use plan::Kept;

/// How long the kernel may take for a machine's namespaces and mounts.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes a machine. It sees the host's files, but can write only to directories of its own and to those of
/// `kept` that say so (see [`plan::plan`]). `record` is called with its PID 1 before that does anything: a
/// machine is never unknown to its lab.
pub(crate) fn start(
    name: &str,
    kept: &[Kept],
    record: impl FnOnce(Process) -> Result<()>,
) -> Result<Process> {
    let run_is_var_run = fs::canonicalize("/var/run").is_ok_and(|p| p == Path::new("/run"));
    let steps = plan::plan(kept, Path::is_dir, run_is_var_run);
    let prepared = init::prepare(&steps)?;
    let hostname = CString::new(name)?;
    let (go_read, go_write) = std::io::pipe()?;
    let (report_read, report_write) = std::io::pipe()?;

    let flags =
        libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::SIGCHLD;
    // SAFETY: a fork (no shared memory, no new stack). The child makes system calls only, see `init`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid == 0 {
        init::run(&hostname, &prepared, go_read.as_raw_fd(), report_write.as_raw_fd());
    }
    if pid < 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| {
            format!("cannot make the namespaces of {name}: run as root, with CAP_SYS_ADMIN and CAP_NET_ADMIN")
        });
    }
    drop((go_read, report_write));
    let process = Process::of(i32::try_from(pid)?)?;
    let set_up = || {
        record(process)?;
        (&go_write).write_all(&[1])?;
        check(&wait(report_read)?, &steps)
    };
    set_up().with_context(|| format!("cannot set up {name}")).inspect_err(|_| {
        let _ = process.kill(DEADLINE);
    })?;
    Ok(process)
}

fn wait(mut pipe: std::io::PipeReader) -> Result<Report> {
    let timeout = PollTimeout::try_from(DEADLINE).unwrap_or(PollTimeout::MAX);
    let ready = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout)?;
    if ready == 0 {
        bail!("its first process says nothing for {DEADLINE:?}");
    }
    let mut bytes = [0u8; size_of::<Report>()];
    pipe.read_exact(&mut bytes).context("its first process ended")?;
    let [a, b, c, d, e, f, g, h] = bytes;
    Ok(Report { step: u32::from_ne_bytes([a, b, c, d]), errno: i32::from_ne_bytes([e, f, g, h]) })
}

fn check(report: &Report, steps: &[plan::Step]) -> Result<()> {
    if report.step == READY {
        return Ok(());
    }
    let step = usize::try_from(report.step).ok().and_then(|index| steps.get(index));
    let what = step.map_or_else(|| format!("take step {}", report.step), ToString::to_string);
    Err(std::io::Error::from_raw_os_error(report.errno)).with_context(|| format!("cannot {what}"))
}
