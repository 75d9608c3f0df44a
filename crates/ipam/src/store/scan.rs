//! Reading a network's folder: all that it holds, or the names alone.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

use super::Store;
use crate::error::Error;

/// The longest content that is looked at; an owner's name is much shorter.
const LONGEST: usize = 1024;

/// A reservation that was found.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) address: IpAddr,
    /// The file, relative to the network's folder.
    pub(super) name: PathBuf,
    content: Vec<u8>,
}

impl Store {
    /// All files named by an address, in subfolders too, as the reference walks; and whether there is
    /// nothing else that could hide one: every file is a regular one in the folder itself.
    pub(crate) fn scan(&self) -> Result<(Vec<Reservation>, bool), Error> {
        let (mut found, mut flat) = (Vec::new(), true);
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            self.list(&folder, |name, kind| {
                let address = address(name);
                let name = folder.join(name);
                match (kind, address) {
                    (Type::Directory, _) => {
                        flat = false;
                        folders.push(name);
                    }
                    (Type::File | Type::Symlink, Some(address)) => {
                        flat &= kind == Type::File;
                        match read(&self.folder, &name) {
                            Ok(content) => found.push(Reservation { address, name, content }),
                            // What was deleted by hand in this moment is no reservation any more.
                            Err(Errno::ENOENT) => {}
                            Err(errno) => return Err(self.error("read", &name)(errno)),
                        }
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok((found, flat))
    }

    /// Tells every address that has a file, by its name alone: only such a file keeps an address from
    /// being taken.
    pub(crate) fn names(&self, mut tell: impl FnMut(IpAddr)) -> Result<(), Error> {
        self.list(Path::new(""), |name, _| {
            address(name).map(&mut tell);
            Ok(())
        })
    }

    /// When the reservation's file was written.
    pub(crate) fn modified(&self, reservation: &Reservation) -> Result<SystemTime, Error> {
        let name = &reservation.name;
        let stat =
            fstatat(&self.folder, name.as_path(), AtFlags::empty()).map_err(self.error("look at", name))?;
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
        let since = Duration::new(u64::try_from(stat.st_mtime).unwrap_or_default(), nanoseconds);
        Ok(SystemTime::UNIX_EPOCH + since)
    }

    /// Tells every entry of this folder, whose path is relative.
    fn list(
        &self,
        folder: &Path,
        mut tell: impl FnMut(&OsStr, Type) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = Path::new(".").join(folder);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let here = Dir::openat(&self.folder, path.as_path(), flags, Mode::empty());
        for entry in here.map_err(self.error("list", folder))?.iter() {
            let entry = entry.map_err(self.error("list", folder))?;
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
        let stat = fstatat(&self.folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Some(Type::Directory),
            SFlag::S_IFREG => Some(Type::File),
            SFlag::S_IFLNK => Some(Type::Symlink),
            _ => Some(Type::Fifo),
        }
    }
}

impl Reservation {
    /// Reads the reservation of this name.
    pub(super) fn read(folder: &OwnedFd, name: &str) -> Option<Self> {
        let content = read(folder, name.as_ref()).ok()?;
        Some(Self { address: name.parse().ok()?, name: name.into(), content })
    }

    /// What the file says, without white space around it.
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
fn read(folder: &OwnedFd, name: &Path) -> Result<Vec<u8>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::empty())?);
    let mut content = [0; LONGEST];
    let length = file
        .read(&mut content)
        .map_err(|error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(content.get(..length).unwrap_or_default().to_vec())
}
