//! A network's directory: opening and locking it, and its entries.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};

use super::files::LOCK;
use crate::error::Error;

/// How long to wait for the lock.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// The first and the longest pause between two attempts to lock. In between it is a quarter of the time waited so
/// far.
const LOCK_PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(10)];

/// The flags for files that may have to be created: FIFOs are not waited for, and symbolic links are not followed.
pub(super) const HERE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// A network's directory, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    /// As it was when it was opened.
    stat: FileStat,
    _lock: File,
}

impl Directory {
    /// Opens the directory, which is created if it does not exist, and waits for its lock.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if let Some(directory) = Self::existing(path)? {
            return Ok(directory);
        }
        let created = DirBuilder::new().recursive(true).mode(0o755).create(path);
        created.map_err(Error::io("create", path))?;
        let gone = || Error::io("open", path)(Errno::ENOENT.into());
        Self::existing(path)?.ok_or_else(gone)
    }

    /// Opens the directory if it exists, and waits for its lock.
    pub(super) fn existing(path: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = match open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("open", path)(errno.into())),
        };
        let lock = lock(path, &fd)?;
        let stat = fstat(&fd).map_err(|errno| Error::io("stat", path)(errno.into()))?;
        Ok(Some(Self { path: path.to_owned(), fd, stat, _lock: lock }))
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Its status when it was opened.
    pub(super) fn stat(&self) -> &FileStat {
        &self.stat
    }

    /// Whether a reservation could be written: the file system is writable and not full.
    ///
    /// # Errors
    /// [`Error::Io`], as writing would fail.
    pub(super) fn writable(&self) -> Result<(), Error> {
        let write = faccessat(&self.fd, ".", AccessFlags::W_OK, AtFlags::empty());
        let space = write.and_then(|()| fstatvfs(&self.fd)).and_then(|at| {
            let full = at.blocks() > 0 && at.blocks_free() == 0 || at.files() > 0 && at.files_free() == 0;
            if full { Err(Errno::ENOSPC) } else { Ok(()) }
        });
        space.map_err(self.error("write to", Path::new("")))
    }

    /// Deletes a file; none is success.
    pub(super) fn remove(&self, name: &Path) -> Result<(), Error> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(errno) if errno != Errno::ENOENT => Err(self.error("remove", name)(errno)),
            _ => Ok(()),
        }
    }

    /// Calls `tell` with every entry of this subdirectory, whose path is relative.
    pub(super) fn list(
        &self,
        subdirectory: &Path,
        mut tell: impl FnMut(&OsStr, Type) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = Path::new(".").join(subdirectory);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let here = Dir::openat(&self.fd, path.as_path(), flags, Mode::empty());
        for entry in here.map_err(self.error("list", subdirectory))?.iter() {
            let entry = entry.map_err(self.error("list", subdirectory))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                let kind = entry.file_type().or_else(|| self.kind(&path.join(name)));
                tell(name, kind.unwrap_or(Type::File))?;
            }
        }
        Ok(())
    }

    /// A file's kind, on file systems whose lists do not tell it.
    fn kind(&self, name: &Path) -> Option<Type> {
        let stat = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Some(Type::Directory),
            SFlag::S_IFREG => Some(Type::File),
            SFlag::S_IFLNK => Some(Type::Symlink),
            _ => Some(Type::Fifo),
        }
    }

    /// The error of an operation on one of the files.
    pub(super) fn error(&self, action: &'static str, name: &Path) -> impl FnOnce(Errno) -> Error {
        move |errno| Error::io(action, self.path.join(name))(errno.into())
    }
}

/// Waits for the lock of a network's directory.
fn lock(directory: &Path, fd: &OwnedFd) -> Result<File, Error> {
    let file = openat(fd, LOCK, OFlag::O_RDONLY | OFlag::O_CREAT | HERE, Mode::from_bits_truncate(0o750));
    let path = || directory.join(LOCK);
    let file = File::from(file.map_err(|errno| Error::io("open", path())(errno.into()))?);
    let start = Instant::now();
    let [first, longest] = LOCK_PAUSES;
    loop {
        match file.try_lock() {
            // Closing it unlocks it: that cannot fail.
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() > LOCK_DEADLINE => {
                return Err(Error::Locked { path: path(), seconds: LOCK_DEADLINE.as_secs() });
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path())(error)),
        }
        thread::sleep((first + start.elapsed() / 4).min(longest));
    }
}
