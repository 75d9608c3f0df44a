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

use super::directory::Directory;
use super::files::{PENDING, SPARE};
use super::index;
use super::reservation::key;
use crate::error::Error;

/// A reservation that waits for free addresses; without one it leaves nothing.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    directory: &'a Directory,
    path: PathBuf,
}

impl<'a> Pending<'a> {
    /// Writes a reservation for this owner, to be linked to free addresses. `place` is the index's directory.
    pub(super) fn prepare(directory: &'a Directory, place: &Path, owner: &Attachment) -> Result<Self, Error> {
        let path = place.join(SPARE);
        if let Some((file, length)) = spare(directory, place, &path) {
            return Self { directory, path }.write(&file, length, owner);
        }
        let path = directory.path().join(PENDING);
        // One that is left may be a reservation's file under its second name: removed, never written.
        let file = create_new(&path).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => fs::remove_file(&path).and_then(|()| create_new(&path)),
            _ => Err(error),
        });
        let file = file.map_err(Error::io("create", &path))?;
        Self { directory, path }.write(&file, 0, owner)
    }

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
        match linkat(AT_FDCWD, &self.path, self.directory.fd(), name.as_str(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.directory.error("create", name.as_ref())(errno)),
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

/// Keeps a file that is about to be released. If this fails, the next reservation has a new one.
pub(super) fn keep(directory: &Directory, place: &Path, name: &Path) {
    let _ = linkat(directory.fd(), name, AT_FDCWD, &place.join(SPARE), AtFlags::empty());
}

/// The spare file, which is created if it does not exist, and its length; `None` if there can be none that may be
/// linked to addresses.
fn spare(directory: &Directory, place: &Path, path: &Path) -> Option<(File, u64)> {
    for _ in 0..2 {
        let mut open = File::options();
        open.write(true).create(true).truncate(false).mode(0o600);
        let file = match open.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                index::create_directory(place)?;
                continue;
            }
            Err(_) => return None,
        };
        let stat = fstat(&file).ok()?;
        // With another name it is a reservation, after a crash: it must not be written.
        let alone = stat.st_nlink == 1 && stat.st_dev == directory.stat().st_dev;
        if alone && stat.st_mode == libc::S_IFREG | 0o600 {
            return Some((file, u64::try_from(stat.st_size).ok()?));
        }
        fs::remove_file(path).ok()?;
    }
    None
}
