//! A file system for the files of one input: a thread whose root is an empty tmpfs that nobody else sees
//! and that ends with the program. Whatever path an input makes up, it leads nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot};

type Work = Box<dyn FnOnce() + Send>;

/// Does something on the thread whose root is the tmpfs. A panic there ends the program, as everywhere in
/// a fuzz target.
pub fn run(work: impl FnOnce() + Send + 'static) {
    static THREAD: OnceLock<Mutex<(SyncSender<Work>, Receiver<()>)>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, work) = sync_channel::<Work>(0);
        let (done, receiver) = sync_channel(0);
        thread::spawn(move || {
            enter();
            for work in work {
                work();
                done.send(()).expect("the fuzzer waits");
            }
        });
        Mutex::new((sender, receiver))
    });
    let (sender, done) = &*thread.lock().expect("no panic is survived");
    sender.send(Box::new(work)).expect("the thread waits for work");
    done.recv().expect("the thread answers");
}

fn enter() {
    // Mounts of this thread alone.
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace needs root: run it with sudo");
    let (none, here) = (None::<&str>, std::env::temp_dir());
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("keep mounts to itself");
    mount(none, &here, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).expect("mount a tmpfs");
    chroot(&here).and_then(|()| chdir("/")).expect("make it the root");
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Thing {
    /// A directory.
    Directory,
    /// A file, and what it holds.
    File(Vec<u8>),
    /// A symbolic link, and where it leads.
    Link(PathBuf),
    /// A pipe or a device.
    Special,
}

/// Everything there is below a directory.
pub fn everything(directory: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("tmpfs knows the type"));
            let thing = if kind.is_dir() {
                directories.push(path.clone());
                Thing::Directory
            } else if kind.is_symlink() {
                Thing::Link(fs::read_link(&path).expect("read a link"))
            } else if !kind.is_file() {
                Thing::Special
            } else {
                Thing::File(fs::read(&path).expect("read a file"))
            };
            found.insert(path, thing);
        }
    }
    found
}

/// Empties the sandbox.
pub fn clear() {
    for entry in fs::read_dir("/").into_iter().flatten().flatten() {
        let gone = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        gone.expect("empty the sandbox");
    }
}
