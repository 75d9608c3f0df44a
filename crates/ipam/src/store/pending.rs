//! Writing a reservation.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::Attachment;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::fstat;
use nix::unistd::linkat;

use super::{Store, index, key};
use crate::error::Error;

/// The file that is kept for the next reservation, beside the index. It has no other name.
pub(super) const SPARE: &str = "spare";

/// Where a reservation is written if that cannot be: in the network's folder, and it is no address. Only
/// whoever holds the lock writes it.
pub(super) const PENDING: &str = ".pending";

/// A reservation that waits for free addresses; without one it leaves nothing.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    store: &'a Store,
    path: PathBuf,
}

impl Store {
    /// Writes a reservation for this owner, to be linked to free addresses.
    pub(crate) fn prepare(&self, owner: &Attachment) -> Result<Pending<'_>, Error> {
        let path = self.place.join(SPARE);
        if let Some((file, length)) = self.spare(&path) {
            return Pending { store: self, path }.write(&file, length, owner);
        }
        let path = self.directory.join(PENDING);
        // One that is left may be a reservation's file under its second name: removed, never written.
        let file = create_new(&path).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => fs::remove_file(&path).and_then(|()| create_new(&path)),
            _ => Err(error),
        });
        let file = file.map_err(Error::io("create", &path))?;
        Pending { store: self, path }.write(&file, 0, owner)
    }

    /// Keeps a file that is about to be released. Without success the next reservation has a new one.
    pub(super) fn keep(&self, name: &Path) {
        let _ = linkat(&self.folder, name, AT_FDCWD, &self.place.join(SPARE), AtFlags::empty());
    }

    /// The spare file and its length, which is made if it is absent; `None` if there can be none that
    /// addresses may be names of.
    fn spare(&self, path: &Path) -> Option<(File, u64)> {
        for _ in 0..2 {
            let mut open = File::options();
            open.write(true).create(true).truncate(false).mode(0o600);
            let file = match open.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    index::make(&self.place)?;
                    continue;
                }
                Err(_) => return None,
            };
            let stat = fstat(&file).ok()?;
            // With another name it is a reservation, after a crash: it must not be written.
            let alone = stat.st_nlink == 1 && stat.st_dev == self.device;
            if alone && stat.st_mode == libc::S_IFREG | 0o600 {
                return Some((file, u64::try_from(stat.st_size).ok()?));
            }
            fs::remove_file(path).ok()?;
        }
        None
    }
}

impl Pending<'_> {
    fn write(self, file: &File, length: u64, owner: &Attachment) -> Result<Self, Error> {
        let content = key(owner).into_bytes();
        let shorten = |()| match content.len() as u64 {
            ours if ours < length => file.set_len(ours),
            _ => Ok(()),
        };
        file.write_all_at(&content, 0).and_then(shorten).map_err(Error::io("write", &self.path))?;
        Ok(self)
    }

    /// Takes the address if it is free. One reservation's file may have the names of several addresses.
    pub(crate) fn claim(&self, address: IpAddr) -> Result<bool, Error> {
        let name = address.to_string();
        match linkat(AT_FDCWD, &self.path, &self.store.folder, name.as_str(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.store.error("create", name.as_ref())(errno)),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}
