//! PID 1 of a machine: a copy of this process that makes the machine's mounts and then only reaps.
//!
//! It runs in the child of a bare clone(2) of a program that may have threads. So nothing here
//! allocates, locks or panics: it makes system calls with what was prepared before.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use anyhow::{Context, Result};

use super::plan::{KEPT_MAX, Step};

/// What PID 1 tells its maker: which step failed and why, or [`READY`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) step: u32,
    pub(super) errno: i32,
}

/// In place of a step: everything is set up.
pub(super) const READY: u32 = u32::MAX;

/// A step with its strings in the kernel's form.
pub(super) struct Prepared {
    step: Call,
}

enum Call {
    MakePrivate,
    ReadOnly,
    Hold(usize, CString),
    Restore(usize, CString),
    Mkdir(CString),
    Whiteout(CString),
    Mount(CString, CString, CString),
    Bind(CString, CString),
}

pub(super) fn prepare(steps: &[Step]) -> Result<Vec<Prepared>> {
    steps.iter().map(|step| Ok(Prepared { step: call(step)? })).collect()
}

fn call(step: &Step) -> Result<Call> {
    Ok(match step {
        Step::MakePrivate => Call::MakePrivate,
        Step::ReadOnly => Call::ReadOnly,
        Step::Hold(slot, dir) => Call::Hold(*slot, path(dir)?),
        Step::Restore(slot, dir) => Call::Restore(*slot, path(dir)?),
        Step::Mkdir(dir) => Call::Mkdir(path(dir)?),
        Step::Whiteout(file) => Call::Whiteout(path(file)?),
        Step::Mount { fstype, target, data } => {
            Call::Mount(CString::new(*fstype)?, path(target)?, CString::new(data.as_str())?)
        }
        Step::Bind(from, to) => Call::Bind(path(from)?, path(to)?),
    })
}

fn path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).with_context(|| format!("{} has a NUL byte", path.display()))
}

/// Becomes PID 1: waits for a byte on `go` (its maker has noted this process), sets up, reports on
/// `report`, reaps until it is killed. An end of file on `go` means that the maker is gone.
pub(super) fn run(hostname: &CStr, steps: &[Prepared], go: RawFd, report: RawFd) -> ! {
    // SAFETY: system calls on descriptors and memory of this process, which is a copy of its own.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::setsid();
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stdio in 0..3 {
            libc::dup2(null, stdio);
        }
        close_all_but(go, report);
        libc::prctl(libc::PR_SET_NAME, hostname.as_ptr());

        let mut byte = 0u8;
        if libc::read(go, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(1);
        }
        let outcome = set_up(hostname, steps);
        libc::write(report, (&raw const outcome).cast(), size_of::<Report>());
        if outcome.step != READY {
            libc::_exit(1);
        }
        close_range(3, u32::MAX);
        reap()
    }
}

/// Keeps what is in `/proc/PID/fd` of a long-lived process to its standard streams and `a`, `b`.
fn close_all_but(a: RawFd, b: RawFd) {
    let (low, high) = (a.min(b).unsigned_abs(), a.max(b).unsigned_abs());
    close_range(3, low.saturating_sub(1));
    close_range(low + 1, high.saturating_sub(1));
    close_range(high + 1, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    if first <= last {
        // SAFETY: this process uses no descriptor of the range any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

fn set_up(hostname: &CStr, steps: &[Prepared]) -> Report {
    let mut held = [-1; KEPT_MAX];
    for (index, prepared) in (0u32..).zip(steps) {
        if !apply(&prepared.step, &mut held) {
            return Report { step: index, errno: errno() };
        }
    }
    // SAFETY: pointer and length are of one string; "/" is one.
    unsafe {
        libc::sethostname(hostname.as_ptr(), hostname.count_bytes());
        libc::chdir(c"/".as_ptr());
    }
    Report { step: READY, errno: 0 }
}

fn apply(call: &Call, held: &mut [RawFd; KEPT_MAX]) -> bool {
    let none = ptr::null();
    // SAFETY: every pointer is a string that lives in the step, or null where the kernel allows it.
    unsafe {
        match call {
            Call::MakePrivate => {
                libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, ptr::null()) == 0
            }
            Call::ReadOnly => read_only(),
            Call::Hold(slot, dir) => {
                let fd = open_tree(libc::AT_FDCWD, dir, libc::AT_RECURSIVE.unsigned_abs());
                match held.get_mut(*slot) {
                    Some(place) => *place = fd,
                    None => return false,
                }
                fd >= 0
            }
            Call::Restore(slot, dir) => move_mount(held.get(*slot).copied().unwrap_or(-1), dir),
            Call::Mkdir(dir) => libc::mkdir(dir.as_ptr(), 0o755) == 0 || errno() == libc::EEXIST,
            // What overlayfs takes for one: a character device of the numbers 0 and 0.
            Call::Whiteout(file) => libc::mknod(file.as_ptr(), libc::S_IFCHR, libc::makedev(0, 0)) == 0,
            Call::Mount(fstype, target, data) => {
                libc::mount(fstype.as_ptr(), target.as_ptr(), fstype.as_ptr(), 0, data.as_ptr().cast()) == 0
            }
            Call::Bind(from, to) => {
                libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND | libc::MS_REC, ptr::null()) == 0
            }
        }
    }
}

/// mount_setattr(2) on `/` and all below it.
fn read_only() -> bool {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attributes = Attributes { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 };
    let (here, all, size) = (libc::AT_FDCWD, libc::AT_RECURSIVE, size_of::<Attributes>());
    // SAFETY: a string, plain integers, and a structure of the size that is said.
    unsafe {
        libc::syscall(libc::SYS_mount_setattr, here, c"/".as_ptr(), all, &raw const attributes, size) == 0
    }
}

/// open_tree(2): a detached copy of the mount at `path`, or of the file `dir` itself when `path` is
/// empty and `flags` say so. Returns a descriptor, negative on failure (see `errno`).
pub(crate) fn open_tree(dir: RawFd, path: &CStr, flags: u32) -> RawFd {
    let flags = flags | libc::OPEN_TREE_CLONE | libc::O_CLOEXEC.unsigned_abs();
    // SAFETY: a string and plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) };
    RawFd::try_from(fd).unwrap_or(-1)
}

/// move_mount(2): mounts a detached tree at `target`; `false` on failure (see `errno`).
pub(crate) fn move_mount(tree: RawFd, target: &CStr) -> bool {
    let (here, flags) = (libc::AT_FDCWD, libc::MOVE_MOUNT_F_EMPTY_PATH);
    // SAFETY: two strings and plain integers.
    unsafe { libc::syscall(libc::SYS_move_mount, tree, c"".as_ptr(), here, target.as_ptr(), flags) == 0 }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn reap() -> ! {
    // SAFETY: a signal set of this frame, and null where the kernel allows it.
    unsafe {
        let mut child: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child);
        libc::sigaddset(&raw mut child, libc::SIGCHLD);
        loop {
            while libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) > 0 {}
            libc::sigwaitinfo(&raw const child, ptr::null_mut());
        }
    }
}
