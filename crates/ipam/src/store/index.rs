//! Who holds what, without reading every reservation: in `<dataDir>/.owners/<network>`, where no network
//! can be, each owner has a symbolic link to the names of the addresses it holds.
//!
//! host-local knows nothing of it, so whether the index is complete is told by two times. At the end of
//! each change the modification time of the network's folder is set to one in the past, and that of the
//! index to exactly an hour later. Whoever else makes or removes a file in either of them, and a crash
//! before the end of a change, leaves the present time there, and the index is not believed: everything
//! is read, and it is made anew. What it says of an owner is compared with the files themselves, too.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::{Mode, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::Reservation;

/// How far in the past the folder's time is set: no clock that is put right by seconds or hours gives
/// this time a second time, also on file systems that count whole seconds.
const PAST: Duration = Duration::from_secs(100_003);

/// How much later the index's time is. Copying both folders gives them about the same time.
const LATER: Duration = Duration::from_secs(3600);

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The index of a network's reservations; it is complete as long as only its owner changes something.
#[derive(Debug)]
pub(super) struct Index(OwnedFd);

impl Index {
    /// Opens the index of the network whose folder this is, if it can be believed.
    pub(super) fn open(directory: &Path, network: &OwnedFd) -> Option<Self> {
        let index = open(&place(directory)?, FOLDER, Mode::empty()).ok()?;
        let (ours, theirs) = (fstat(&index).ok()?, fstat(network).ok()?);
        let later = i64::try_from(LATER.as_secs()).ok()?;
        let complete = ours.st_mtime - theirs.st_mtime == later && ours.st_mtime_nsec == theirs.st_mtime_nsec;
        complete.then_some(Self(index))
    }

    /// Makes the index of these reservations, which are all there are. What fails only costs time, and so
    /// do folders in the network's folder: their changes leave no trace outside of them.
    pub(super) fn build(
        directory: &Path,
        network: &OwnedFd,
        all: &[Reservation],
        flat: bool,
    ) -> Option<Self> {
        if !flat {
            return None;
        }
        let place = place(directory)?;
        let index = open(&place, FOLDER, Mode::empty()).or_else(|_| {
            DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(|_| Errno::EIO)?;
            open(&place, FOLDER, Mode::empty())
        });
        let index = Self(index.ok()?);
        let mut wanted: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
        for reservation in all {
            if let Some(link) = link(reservation.owner()) {
                wanted.entry(link).or_default().push(reservation.name.to_str()?.to_owned());
            }
        }
        let mut wanted: HashMap<Vec<u8>, String> =
            wanted.into_iter().map(|(link, names)| (link, target(names))).collect();
        for name in index.names()? {
            let kept = wanted.get(name.as_bytes()).is_some_and(|target| {
                readlinkat(&index.0, name.as_c_str()).is_ok_and(|found| found == target.as_str())
            });
            if kept {
                wanted.remove(name.as_bytes());
            } else {
                unlinkat(&index.0, name.as_c_str(), UnlinkatFlags::NoRemoveDir).ok()?;
            }
        }
        for (link, target) in wanted {
            symlinkat(target.as_str(), &index.0, link.as_slice()).ok()?;
        }
        index.seal(network)?;
        Some(index)
    }

    /// The reservations whose files say exactly this; `None` if only reading all of them can tell.
    pub(super) fn look_up(&self, network: &OwnedFd, content: &[u8]) -> Option<Vec<Reservation>> {
        let names = match readlinkat(&self.0, link(content)?.as_slice()) {
            Ok(names) => names.into_string().ok()?,
            Err(Errno::ENOENT) => return Some(Vec::new()),
            Err(_) => return None,
        };
        let read = |name| Reservation::read(network, name).filter(|found| found.owner() == content);
        names.split(',').map(read).collect()
    }

    /// Notes that the owner of files that say this has these and no others.
    pub(super) fn put(&self, content: &[u8], names: Vec<String>) -> Option<()> {
        // What has no link is not looked up here either.
        let Some(link) = link(content) else { return Some(()) };
        let link = link.as_slice();
        let remove = || match unlinkat(&self.0, link, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Some(()),
            Err(_) => None,
        };
        if names.is_empty() {
            return remove();
        }
        let target = target(names);
        match symlinkat(target.as_str(), &self.0, link) {
            Err(Errno::EEXIST) => {
                remove()?;
                symlinkat(target.as_str(), &self.0, link).ok()
            }
            other => other.ok(),
        }
    }

    /// Says that the index is complete now.
    pub(super) fn seal(&self, network: &OwnedFd) -> Option<()> {
        let time = SystemTime::now().checked_sub(PAST)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let set = |fd, time| futimens(fd, &TimeSpec::UTIME_OMIT, &TimeSpec::from_duration(time)).ok();
        set(&self.0, time + LATER)?;
        set(network, time)
    }

    fn names(&self) -> Option<Vec<CString>> {
        let mut here = Dir::openat(&self.0, ".", FOLDER, Mode::empty()).ok()?;
        let names: Result<Vec<CString>, Errno> =
            here.iter().map(|entry| Ok(entry?.file_name().to_owned())).collect();
        let mut names = names.ok()?;
        names.retain(|name| !matches!(name.as_bytes(), b"." | b".."));
        Some(names)
    }
}

/// Where the index of the network with this folder is.
fn place(directory: &Path) -> Option<PathBuf> {
    Some(directory.parent()?.join(".owners").join(directory.file_name()?))
}

/// The name of an owner's link: what its files say, with a space between container and interface;
/// `None` if no link can have it.
fn link(content: &[u8]) -> Option<Vec<u8>> {
    let plain = |byte: &u8| *byte > b' ' && *byte != b'/' && *byte != 0x7f;
    let at = content.windows(2).position(|pair| pair == b"\r\n");
    let (id, ifname) =
        at.map_or((content, None), |at| (content.get(..at).unwrap_or_default(), content.get(at + 2..)));
    let clean = |part: &[u8]| !part.is_empty() && part.iter().all(plain);
    let link = match ifname {
        Some(ifname) if clean(id) && clean(ifname) => [id, b" ", ifname].concat(),
        None if clean(id) && !matches!(id, b"." | b"..") => id.to_vec(),
        _ => return None,
    };
    (link.len() <= 255).then_some(link)
}

/// What an owner's link points to.
fn target(mut names: Vec<String>) -> String {
    names.sort_unstable();
    names.join(",")
}
