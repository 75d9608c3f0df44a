//! Network namespaces: opened by path, entered for the duration of a function.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::error::{Error, Result};

/// ioctl(2) on a namespace's file: which type of namespace it is (ioctl_ns(2)).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// ioctl(2) on a socket: a descriptor of the namespace that it is in (linux/sockios.h).
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// A network namespace, kept alive by this value.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    name: String,
}

impl NetNs {
    /// Opens the namespace of a file, as in `CNI_NETNS`.
    ///
    /// # Errors
    /// There is no such file, or it is no network namespace.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let what = || format!("open the network namespace {name}");
        // Non-blocking: the path is not trusted, and opening a FIFO would wait for its writer.
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

    /// The namespace that a socket is in. Far cheaper than a look-up in /proc.
    ///
    /// # Errors
    /// This process may not administer networks.
    pub(crate) fn of_socket(socket: &impl AsRawFd) -> Result<Self> {
        // SAFETY: this request takes no argument and touches no memory; the result is checked.
        let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
        let fd = Errno::result(fd).map_err(|errno| Error::new("find a socket's namespace", errno.into()))?;
        // SAFETY: the kernel just gave this descriptor to us alone.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file, name: "of this process".into() })
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
        let meta = self
            .file
            .metadata()
            .map_err(|error| Error::new(format!("read the identity of {}", self.name), error))?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Runs `work` in the namespace: this thread enters it, and returns afterwards.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.visit(&Self::current()?, work)
    }

    /// The same, for a thread that knows its own namespace.
    pub(crate) fn visit<T>(&self, home: &Self, work: impl FnOnce() -> T) -> Result<T> {
        self.enter()?;
        let _home = Home(home);
        Ok(work())
    }

    fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::new(format!("enter the network namespace {}", self.name), errno.into()))
    }
}

/// Where a thread returns to, also when it panics.
struct Home<'a>(&'a NetNs);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.enter() {
            // Everything that this thread did next would affect the wrong namespace.
            eprintln!("{error}: cannot go on");
            process::abort();
        }
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
