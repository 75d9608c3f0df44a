use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// A fresh network namespace with its loopback up; it goes with this value.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
    directory: PathBuf,
}

impl Namespace {
    /// Makes one. It has a file of its own, so that programs can be told of it by path.
    ///
    /// # Panics
    /// The test does not run as root, or the kernel refuses.
    pub fn new() -> Self {
        crate::require_root();
        let directory = std::env::temp_dir().join(crate::unique("mk-netns-"));
        std::fs::create_dir(&directory).expect("make a directory for a namespace");
        let path = directory.join("net");
        File::create(&path).expect("make a file for a namespace");
        let file = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
                let own = Path::new("/proc/thread-self/ns/net");
                mount(Some(own), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                    .expect("keep the namespace");
                File::open(own).expect("open the namespace")
            });
            thread.join().expect("make a namespace")
        });
        let namespace = Self { file, path, directory };
        crate::run(namespace.command("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// Its file, as `CNI_NETNS` would name it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does something inside it, on a thread of its own.
    ///
    /// # Panics
    /// It cannot be entered; and with `work`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run inside it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = self.file.try_clone().expect("keep the namespace for a command");
        // SAFETY: between fork and exec only setns(2) is called, which allocates nothing.
        unsafe {
            command.pre_exec(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?));
        }
        command
    }

    /// Runs a line of shell inside it; it must succeed. Returns what it printed.
    ///
    /// # Panics
    /// It does not.
    pub fn sh(&self, line: &str) -> String {
        crate::run(self.command("sh").args(["-c", line]))
    }

    /// Runs `ip` with these words inside it; it must succeed.
    ///
    /// # Panics
    /// It does not.
    pub fn ip(&self, words: &str) -> String {
        crate::run(self.command("ip").args(words.split_whitespace()))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Detached: a process of the test may still be inside, and the namespace ends with the last user.
        let _gone = umount2(&self.path, MntFlags::MNT_DETACH);
        let _gone = std::fs::remove_file(&self.path);
        let _gone = std::fs::remove_dir(&self.directory);
    }
}
