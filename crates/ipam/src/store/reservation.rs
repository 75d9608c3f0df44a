//! Reading reservations: all of them, or the addresses alone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::Attachment;
use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};

use super::directory::Directory;
use crate::error::Error;

/// The longest content that is read, in bytes; an owner's name is much shorter.
const LONGEST: usize = 1024;

/// A reservation.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) address: IpAddr,
    /// The file, relative to the network's directory.
    pub(super) name: PathBuf,
    content: Vec<u8>,
}

/// All files named by an address, in subdirectories, too, as the reference implementation reads them; and whether the
/// directory is flat: every file is a regular one in the directory itself.
pub(super) fn scan(directory: &Directory) -> Result<(Vec<Reservation>, bool), Error> {
    let (mut found, mut flat) = (Vec::new(), true);
    let mut subdirectories = vec![PathBuf::new()];
    while let Some(subdirectory) = subdirectories.pop() {
        directory.list(&subdirectory, |name, kind| {
            let address = address(name);
            let name = subdirectory.join(name);
            match (kind, address) {
                (Type::Directory, _) => {
                    flat = false;
                    subdirectories.push(name);
                }
                (Type::File | Type::Symlink, Some(address)) => {
                    flat &= kind == Type::File;
                    match read(directory.fd(), &name) {
                        Ok(content) => found.push(Reservation { address, name, content }),
                        // It was just deleted by hand.
                        Err(Errno::ENOENT) => {}
                        Err(errno) => return Err(directory.error("read", &name)(errno)),
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok((found, flat))
}

/// Calls `tell` with every address that has a file, without reading the files.
pub(super) fn addresses(directory: &Directory, mut tell: impl FnMut(IpAddr)) -> Result<(), Error> {
    directory.list(Path::new(""), |name, _| {
        address(name).map(&mut tell);
        Ok(())
    })
}

/// When the reservation's file was written.
pub(super) fn modified(directory: &Directory, reservation: &Reservation) -> Result<SystemTime, Error> {
    let name = &reservation.name;
    let stat =
        fstatat(directory.fd(), name.as_path(), AtFlags::empty()).map_err(directory.error("stat", name))?;
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let since = Duration::new(u64::try_from(stat.st_mtime).unwrap_or_default(), nanoseconds);
    Ok(SystemTime::UNIX_EPOCH + since)
}

/// The content of a reservation's file.
pub(crate) fn key(owner: &Attachment) -> String {
    format!("{}\r\n{}", owner.container_id.trim(), owner.ifname)
}

impl Reservation {
    /// Reads the reservation of this name.
    pub(super) fn read(directory: &OwnedFd, name: &str) -> Option<Self> {
        let content = read(directory, name.as_ref()).ok()?;
        Some(Self { address: name.parse().ok()?, name: name.into(), content })
    }

    /// The owner that the file names, without white space around it.
    pub(crate) fn owner(&self) -> &[u8] {
        self.content.trim_ascii()
    }

    /// Whether the file has no content at all.
    pub(super) fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

/// The address that a file is named by.
fn address(name: &OsStr) -> Option<IpAddr> {
    name.to_str()?.parse().ok()
}

/// A file's content. Whatever has an address's name, it is not waited for.
fn read(directory: &OwnedFd, name: &Path) -> Result<Vec<u8>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut content = [0; LONGEST];
    let length = file
        .read(&mut content)
        .map_err(|error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(content.get(..length).unwrap_or_default().to_vec())
}
