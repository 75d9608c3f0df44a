//! Who holds what, without reading every reservation: each has a second name, that of its owner, in
//! `<dataDir>/.owners/<network>`, where no network can be.
//!
//! host-local knows nothing of them. So they are believed only if they belong to the very files that
//! the addresses name. Otherwise everything is read, and they are made anew.

use std::fs::{self, DirEntry};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use super::{Reservation, Store};

/// The second names of this network's reservations.
fn folder(directory: &Path) -> Option<PathBuf> {
    Some(directory.parent()?.join(".owners").join(directory.file_name()?))
}

impl Store {
    /// The reservations with exactly one of these contents; `None` if only reading all of them can tell.
    pub(super) fn indexed(&self, contents: &[&[u8]]) -> Option<Vec<Reservation>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).ok()?.flatten() {
            if entry.file_name().to_str()?.parse::<IpAddr>().is_ok() {
                files.push(entry.ino());
            }
            // What is in a folder that somebody made has no second name.
            if entry.file_type().ok()?.is_dir() {
                return None;
            }
        }
        let owners: Vec<_> = fs::read_dir(folder(&self.directory)?).ok()?.flatten().collect();
        let mut named: Vec<u64> = owners.iter().map(DirEntryExt::ino).collect();
        files.sort_unstable();
        named.sort_unstable();
        if files != named {
            return None;
        }
        let mut found = Vec::new();
        for name in owners.iter().map(DirEntry::file_name) {
            let (owner, address) = name.to_str()?.rsplit_once(' ')?;
            let Some(content) = contents.iter().find(|content| text(content).as_deref() == Some(owner))
            else {
                continue;
            };
            let path = self.directory.join(address);
            if fs::read(&path).ok()?.trim_ascii() != *content {
                return None;
            }
            let modified = fs::metadata(&path).ok()?.modified().ok()?;
            let address = address.parse().ok()?;
            found.push(Reservation { address, modified, path, content: content.to_vec() });
        }
        Some(found)
    }

    /// Gives these reservations, which are all there are, their second names. What fails only costs time.
    pub(super) fn index(&self, all: &[Reservation]) {
        let Some(folder) = folder(&self.directory) else { return };
        let made = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&folder),
        };
        let _ = made.and_then(|()| all.iter().try_for_each(Reservation::name_owner));
    }
}

impl Reservation {
    /// Gives the reservation its second name.
    pub(super) fn name_owner(&self) -> io::Result<()> {
        let name = self.second_name().ok_or(io::ErrorKind::InvalidData)?;
        fs::hard_link(&self.path, name)
    }

    /// The second name; `None` for an owner that no file can be named after.
    pub(super) fn second_name(&self) -> Option<PathBuf> {
        Some(folder(self.path.parent()?)?.join(format!("{} {}", text(self.owner())?, self.address)))
    }
}

/// A reservation's content as a part of a file's name.
fn text(content: &[u8]) -> Option<String> {
    let text = str::from_utf8(content).ok()?.replace("\r\n", " ");
    (!text.contains(['/', '\0'])).then_some(text)
}
