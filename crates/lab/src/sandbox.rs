//! A Pod's network namespace: made on a thread, kept by a mount at `/run/netns/ID` in its node.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::enter::{in_mounts, on_a_thread};
use crate::machine::init::{move_mount, open_tree};
use crate::process::Process;
use crate::wire;

/// Makes the namespace, its loopback interface up, and mounts it at `path` in the machine.
pub(crate) fn create(init: Process, path: &Path) -> Result<()> {
    let tree = on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        wire::loopback_up()?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        // A detached mount can be carried into the node, whose /proc does not know this process.
        let fd = open_tree(namespace.as_raw_fd(), c"", libc::AT_EMPTY_PATH.unsigned_abs());
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("cannot hold on to a network namespace");
        }
        // SAFETY: the kernel just gave us this descriptor, nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    })?;
    let target = CString::new(path.as_os_str().as_bytes())?;
    in_mounts(init, || {
        File::create_new(path).with_context(|| format!("cannot make {}", path.display()))?;
        if move_mount(tree.as_raw_fd(), &target) {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        let _ = fs::remove_file(path);
        Err(error).with_context(|| format!("cannot mount a network namespace at {}", path.display()))
    })
}

/// Lets go of the namespace; success when it is gone already.
pub(crate) fn remove(init: Process, path: &Path) -> Result<()> {
    in_mounts(init, || {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::Error::ENOENT | nix::Error::EINVAL) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", path.display())),
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    })
}
