//! host-local's files: `<dataDir>/<network>/<address>` names the owner of the address.
//!
//! Every operation holds the directory's lock, as host-local does. A reservation appears whole or not at all: it is
//! written elsewhere, and linked to the address only if that is free, so that a crash at any point neither
//! allocates an address twice nor leaves a file that matches no owner. An owner's addresses are links to one file,
//! and a released file is kept for the next reservation: before ext4 takes a new inode, it examines each that was
//! deleted within minutes.
//!
//! Nothing is synced to the disk, nor does host-local. A power cut may take back a file, or leave it empty or with
//! a former owner's name, but it has also ended the Pods: no address is allocated twice while its Pod lives.
//! Garbage collection and the agent find such a reservation, since its owner does not exist.

mod directory;
mod files;
mod index;
mod last;
mod page;
mod pending;
mod reservation;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cni::Attachment;

use crate::error::Error;
use directory::Directory;
use files::PENDING;
use index::Index;
use last::Last;
use pending::keep;

pub(crate) use files::{FILES, INDEX_FILES, LAST};
pub(crate) use index::place as index_directory;
pub(crate) use pending::Pending;
pub(crate) use reservation::{Reservation, key};

/// The reservations of one network, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Store {
    directory: Directory,
    /// Where the index is, and a file for the next reservation.
    place: PathBuf,
    /// Who holds what, if that is known without reading everything.
    index: Option<Index>,
}

impl Store {
    /// Opens the directory, which is created if it does not exist, and waits for its lock.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        Directory::open(directory).map(Self::of)
    }

    /// Opens the directory if it exists, and waits for its lock.
    pub(crate) fn existing(directory: &Path) -> Result<Option<Self>, Error> {
        Ok(Directory::existing(directory)?.map(Self::of))
    }

    fn of(directory: Directory) -> Self {
        let place = index::place(directory.path());
        let index = Index::open(&place, directory.stat());
        Self { directory, place, index }
    }

    /// Where the reservations are.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether a reservation could be written.
    ///
    /// # Errors
    /// [`Error::Io`], as writing would fail.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        self.directory.writable()
    }

    /// The last address of a range set.
    pub(crate) fn last(&self, set: usize) -> Last<'_> {
        Last::read(&self.directory, set)
    }

    /// Writes a reservation for this owner, to be linked to free addresses.
    pub(crate) fn prepare(&self, owner: &Attachment) -> Result<Pending<'_>, Error> {
        Pending::prepare(&self.directory, &self.place, owner)
    }

    /// All files named by an address, and whether the directory is flat: nothing else could hide one.
    pub(crate) fn scan(&self) -> Result<(Vec<Reservation>, bool), Error> {
        reservation::scan(&self.directory)
    }

    /// Calls `tell` with every address that has a file, without reading the files: only such a file keeps an address
    /// from being reserved.
    pub(crate) fn addresses(&self, tell: impl FnMut(IpAddr)) -> Result<(), Error> {
        reservation::addresses(&self.directory, tell)
    }

    /// When the reservation's file was written.
    pub(crate) fn modified(&self, reservation: &Reservation) -> Result<SystemTime, Error> {
        reservation::modified(&self.directory, reservation)
    }

    /// The reservations whose files have exactly this content, but for white space around it.
    pub(crate) fn held(&mut self, content: &str) -> Result<Vec<Reservation>, Error> {
        let content = content.as_bytes();
        if let Some(found) = self.index.as_ref().and_then(|index| index.look_up(self.directory.fd(), content))
        {
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

    /// Releases what the failing call has reserved.
    pub(crate) fn undo(&self, taken: &[IpAddr]) {
        let gone = taken.iter().all(|address| self.directory.remove(address.to_string().as_ref()).is_ok());
        self.settle(|_| gone.then_some(()));
    }

    /// Releases these, which are all that their owners have. Returns the first error, after the rest was tried.
    pub(crate) fn release(&self, held: &[Reservation]) -> Result<(), Error> {
        let Some(last) = held.last() else { return Ok(()) };
        keep(&self.directory, &self.place, &last.name);
        held.iter().map(|r| self.directory.remove(&r.name)).fold(Ok(()), Result::and)?;
        let mut owners: Vec<&[u8]> = held.iter().map(Reservation::owner).collect();
        owners.dedup();
        self.settle(|index| owners.iter().try_for_each(|owner| index.put(owner, &[])));
        Ok(())
    }

    /// Releases all that is not to be kept; returns how many. Returns the first error, after the rest was tried.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Self, &Reservation) -> bool) -> Result<usize, Error> {
        let (all, flat) = self.scan()?;
        let (mut kept, stale): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| keep(self, r));
        let mut result = Ok(stale.len());
        for reservation in stale {
            if let Err(error) = self.directory.remove(&reservation.name) {
                result = result.and(Err(error));
                kept.push(reservation);
            }
        }
        if self.index.is_none() || !matches!(result, Ok(0)) {
            self.index = Index::build(&self.place, self.directory.fd(), &kept, flat);
        }
        result
    }

    /// Reads everything, deletes empty files, and builds the index again. Returns whether a file was deleted.
    ///
    /// A host-local that is killed between creating and writing a file leaves it empty: the lock is ours, so that
    /// process has ended, and nobody got the address.
    pub(crate) fn repair(&mut self) -> Result<(Vec<Reservation>, bool), Error> {
        let (mut all, flat) = self.scan()?;
        let _ = self.directory.remove(PENDING.as_ref());
        let before = all.len();
        all.retain(|r| !r.is_empty() || self.directory.remove(&r.name).is_err());
        self.index = Index::build(&self.place, self.directory.fd(), &all, flat);
        let removed = all.len() < before;
        Ok((all, removed))
    }

    /// Ends a change: with a valid index, or an invalid one.
    fn settle(&self, change: impl FnOnce(&Index) -> Option<()>) {
        if let Some(index) = &self.index {
            let _ = change(index).and_then(|()| index.seal(self.directory.fd()));
        }
    }
}

#[cfg(test)]
mod tests;
