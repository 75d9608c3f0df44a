//! host-local's files: `<dataDir>/<network>/<address>` says whose the address is.
//!
//! Every operation holds the folder's lock, as host-local does. A reservation appears whole or not at
//! all: it is written elsewhere and linked to its own name only if the address is free, so that a crash at
//! any point neither gives an address twice nor leaves a file that nobody can match. An owner's addresses
//! are names of one file, and a file that is released is kept for the next reservation: before it takes a
//! new one, ext4 looks at each that was deleted within minutes.
//!
//! Nothing is synced to the disk, as host-local does not either. What a power cut takes back, or leaves
//! empty or with a former owner's name, belonged to Pods that it has ended, too: no address is given twice
//! while its Pod lives. Garbage collection and the agent find such a reservation: its owner is not there.

mod index;
mod last;
mod page;
mod pending;
mod scan;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cni::Attachment;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};

pub(crate) use index::place as index_directory;
pub(crate) use pending::Pending;
pub(crate) use scan::Reservation;

use crate::error::Error;
use index::Index;
use pending::{PENDING, SPARE};

/// What is in a network's directory besides the reservations, which are named by their addresses, and [`LAST`]N.
pub(crate) const FILES: [&str; 2] = [LOCK, PENDING];

/// What is in the directory of a network's index.
pub(crate) const INDEX_FILES: [&str; 2] = [index::FILE, SPARE];

/// The beginning of the names of hints where to search next.
pub(crate) const LAST: &str = "last_reserved_ip.";

/// host-local's.
const LOCK: &str = "lock";

/// How long to wait for the lock.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// How long to sleep before the second look at the lock, and between two looks at most. In between it is a
/// quarter of the time waited so far: nobody waits much longer than necessary, or looks often in vain.
const LOCK_PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(10)];

/// The reservations of one network, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    folder: OwnedFd,
    /// The folder's file system.
    device: u64,
    /// Where the index is, and a file for the next reservation.
    place: PathBuf,
    /// Who holds what, if that is known without reading everything.
    index: Option<Index>,
    _lock: File,
}

impl Store {
    /// Opens the folder, which is made if it is absent, and waits for its lock.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        if let Some(store) = Self::existing(directory)? {
            return Ok(store);
        }
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(Error::io("create", directory))?;
        let gone = || Error::io("open", directory)(Errno::ENOENT.into());
        Self::existing(directory)?.ok_or_else(gone)
    }

    /// Opens the folder if it is there, and waits for its lock.
    pub(crate) fn existing(directory: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = match open(directory, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("open", directory)(errno.into())),
        };
        let lock = lock(directory, &folder)?;
        let stat = fstat(&folder).map_err(|errno| Error::io("look at", directory)(errno.into()))?;
        let place = index::place(directory);
        let index = Index::open(&place, &stat);
        let directory = directory.to_owned();
        Ok(Some(Self { directory, folder, device: stat.st_dev, place, index, _lock: lock }))
    }

    /// Where the reservations are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a reservation could be written: the file system is writable and has room.
    ///
    /// # Errors
    /// [`Error::Io`], as writing would fail.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        let write = faccessat(&self.folder, ".", AccessFlags::W_OK, AtFlags::empty());
        let room = write.and_then(|()| fstatvfs(&self.folder)).and_then(|at| {
            let full = at.blocks() > 0 && at.blocks_free() == 0 || at.files() > 0 && at.files_free() == 0;
            if full { Err(Errno::ENOSPC) } else { Ok(()) }
        });
        room.map_err(self.error("write to", Path::new("")))
    }

    /// The reservations whose files say exactly this, but for white space around it.
    pub(crate) fn held(&mut self, content: &str) -> Result<Vec<Reservation>, Error> {
        let content = content.as_bytes();
        if let Some(found) = self.index.as_ref().and_then(|index| index.look_up(&self.folder, content)) {
            return Ok(found);
        }
        let mut all = self.repair()?.0;
        all.retain(|r| r.owner() == content);
        Ok(all)
    }

    /// Notes what this owner has, `held` before and `taken` now. To be called after all else.
    pub(crate) fn note(&self, owner: &Attachment, held: &[Reservation], taken: &[IpAddr]) {
        let held = held.iter().map(|r| r.name.display().to_string());
        let names: Vec<String> = held.chain(taken.iter().map(IpAddr::to_string)).collect();
        self.settle(|index| index.put(key(owner).as_bytes(), &names));
    }

    /// Gives back what was taken by the call that fails now.
    pub(crate) fn undo(&self, taken: &[IpAddr]) {
        let gone = taken.iter().all(|address| self.remove(address.to_string().as_ref()).is_ok());
        self.settle(|_| gone.then_some(()));
    }

    /// Gives these back, which are all that their owners have; the first error is told, after the rest
    /// was tried.
    pub(crate) fn release(&self, held: &[Reservation]) -> Result<(), Error> {
        let Some(last) = held.last() else { return Ok(()) };
        self.keep(&last.name);
        held.iter().map(|r| self.remove(&r.name)).fold(Ok(()), Result::and)?;
        let mut owners: Vec<&[u8]> = held.iter().map(Reservation::owner).collect();
        owners.dedup();
        self.settle(|index| owners.iter().try_for_each(|owner| index.put(owner, &[])));
        Ok(())
    }

    /// Gives back all that is not to be kept; says how many. The first error is told, after the rest was
    /// tried.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Self, &Reservation) -> bool) -> Result<usize, Error> {
        let (all, flat) = self.scan()?;
        let (mut kept, stale): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| keep(self, r));
        let mut result = Ok(stale.len());
        for reservation in stale {
            if let Err(error) = self.remove(&reservation.name) {
                result = result.and(Err(error));
                kept.push(reservation);
            }
        }
        if self.index.is_none() || !matches!(result, Ok(0)) {
            self.index = Index::build(&self.place, &self.folder, &kept, flat);
        }
        result
    }

    /// Reads everything; removes what a crash left empty, and makes the index anew. Says whether
    /// something was removed.
    ///
    /// An empty file is what a host-local leaves that died between creating and writing it: the lock is
    /// ours, so it is dead, and the address was never told to anybody.
    pub(crate) fn repair(&mut self) -> Result<(Vec<Reservation>, bool), Error> {
        let (mut all, flat) = self.scan()?;
        let _ = self.remove(PENDING.as_ref());
        let before = all.len();
        all.retain(|r| !r.is_empty() || self.remove(&r.name).is_err());
        self.index = Index::build(&self.place, &self.folder, &all, flat);
        let removed = all.len() < before;
        Ok((all, removed))
    }

    /// Ends a change: with the index told of it and believed, or not believed any more.
    fn settle(&self, change: impl FnOnce(&Index) -> Option<()>) {
        if let Some(index) = &self.index {
            let _ = change(index).and_then(|()| index.seal(&self.folder));
        }
    }

    /// Removes a file; success if it is gone already.
    fn remove(&self, name: &Path) -> Result<(), Error> {
        match unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir) {
            Err(errno) if errno != Errno::ENOENT => Err(self.error("remove", name)(errno)),
            _ => Ok(()),
        }
    }

    /// What went wrong with one of the files.
    fn error(&self, action: &'static str, name: &Path) -> impl FnOnce(Errno) -> Error {
        move |errno| Error::io(action, self.directory.join(name))(errno.into())
    }
}

/// How a file is opened that may have to be made: a pipe of its name is not waited for, and nothing is made or
/// written where a link leads.
const HERE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// Waits for the lock of a network's folder.
fn lock(directory: &Path, folder: &OwnedFd) -> Result<File, Error> {
    let file = openat(folder, LOCK, OFlag::O_RDONLY | OFlag::O_CREAT | HERE, Mode::from_bits_truncate(0o750));
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

/// What a reservation's file holds.
pub(crate) fn key(owner: &Attachment) -> String {
    format!("{}\r\n{}", owner.container_id.trim(), owner.ifname)
}

#[cfg(test)]
mod tests;
