//! Network namespaces: opened by path, entered on a thread of their own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use crate::{Error, Result};

/// ioctl(2) on a namespace's file: which type of namespace it is (ioctl_ns(2)).
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// A network namespace, kept alive by this value.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    name: String,
}

impl NetNs {
    /// Opens the namespace that a file stands for, as `CNI_NETNS` names it.
    ///
    /// # Errors
    /// There is no such file, or it is no network namespace.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let what = || format!("open the network namespace {name}");
        // Non-blocking: the path is somebody's word, and a FIFO would wait for its writer.
        let mut options = File::options();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(|error| Error::new(what(), error))?;
        // SAFETY: this request takes no argument and touches no memory.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != libc::CLONE_NEWNET {
            return Err(Error::other(what(), "the file is no network namespace"));
        }
        Ok(Self { file, name })
    }

    /// The namespace that this thread is in.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn current() -> Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace that a process is in.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of_process(pid: i32) -> Result<Self> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// Device and inode: equal for two files of one namespace, and for nothing else.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn identity(&self) -> Result<(u64, u64)> {
        let meta =
            self.file.metadata().map_err(|error| Error::new(format!("look at {}", self.name), error))?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Does something inside the namespace, on a thread of its own, and waits for it.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let what = || format!("enter the network namespace {}", self.name);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, || {
                setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                Ok(work())
            });
            let thread = thread.map_err(|error| Error::new(what(), error))?;
            match thread.join() {
                Ok(result) => result.map_err(|error| Error::new(what(), error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
