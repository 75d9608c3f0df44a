//! The index: a table of owners and the addresses they hold, so that not every reservation has to be read. It is in
//! `<dataDir>/.owners/<network>`, where no network can be.
//!
//! host-local does not know the index, so two times show whether it is complete. Each change ends with setting the
//! modification time of the network's directory to one in the past, and that of the index later by an interval that
//! belongs to this boot of the machine. If another program creates or deletes a file in the directory, or this one
//! is killed before the end of a change, the directory has the present time; after a power cut there is another
//! boot. Then the index is invalid: everything is read, and the index is built again. What the index says of an
//! owner is also compared with the files themselves.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use nix::sys::stat::{FileStat, fstat, futimens};
use nix::sys::time::TimeSpec;

use super::files::{INDEX, SPARE};
use super::page;
use super::reservation::Reservation;

/// How far in the past the directory's time is set: no clock that is put right by seconds or hours gives
/// this time a second time, also on file systems that count whole seconds. More than [`later`] at most.
const PAST: Duration = Duration::from_secs(100_003);

/// The index of a network's reservations; complete as long as nobody else changes something.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    pages: usize,
}

impl Index {
    /// Opens the index of the network whose directory this is, if it is valid.
    pub(super) fn open(place: &Path, network: &FileStat) -> Option<Self> {
        let file = file(place, false).ok()?;
        let stat = fstat(&file).ok()?;
        let seconds = u64::try_from(stat.st_mtime - network.st_mtime).ok()?;
        let complete = stat.st_mtime_nsec == network.st_mtime_nsec && seconds == later()?.as_secs();
        let pages = usize::try_from(stat.st_size).ok()? / page::SIZE;
        (complete && pages > 0).then_some(Self { file, pages })
    }

    /// Makes the index of these reservations, which are all there are. What fails only costs time, and so
    /// do directorys in the network's directory: their changes leave no trace outside of them.
    pub(super) fn build(place: &Path, network: &OwnedFd, all: &[Reservation], flat: bool) -> Option<Self> {
        if !flat {
            return None;
        }
        let mut owners: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for reservation in all {
            if let Some(owner) = page::owner(reservation.owner()) {
                owners.entry(owner).or_default().push(reservation.name.to_str()?.to_owned());
            }
        }
        let owners = owners.into_iter().map(|(owner, names)| (owner, names.join(","))).collect();
        let content = page::layout(&owners)?;
        delete_former_files(place);
        let file = file(place, true).ok().or_else(|| {
            create_directory(place)?;
            file(place, true).ok()
        })?;
        file.write_all_at(&content, 0).ok()?;
        file.set_len(u64::try_from(content.len()).ok()?).ok()?;
        let index = Self { file, pages: content.len() / page::SIZE };
        index.seal(network)?;
        Some(index)
    }

    /// The reservations whose files have exactly this content; `None` if all of them have to be read.
    pub(super) fn look_up(&self, network: &OwnedFd, content: &[u8]) -> Option<Vec<Reservation>> {
        let owner = page::owner(content)?;
        let (_, page) = self.page(&owner)?;
        let Some(names) = page::find(&page, &owner) else { return Some(Vec::new()) };
        let read = |name| Reservation::read(network, name).filter(|found| found.owner() == content);
        str::from_utf8(names).ok()?.split(',').map(read).collect()
    }

    /// Notes that the owner of files that say this has these and no others.
    pub(super) fn put(&self, content: &[u8], names: &[String]) -> Option<()> {
        // Who has no name here is not looked up here either.
        let Some(owner) = page::owner(content) else { return Some(()) };
        let (at, page) = self.page(&owner)?;
        self.file.write_all_at(&page::replace(&page, &owner, &names.join(","))?, at).ok()
    }

    /// Marks the index as complete.
    pub(super) fn seal(&self, network: &OwnedFd) -> Option<()> {
        let time = SystemTime::now().checked_sub(PAST)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        futimens(&self.file, &TimeSpec::UTIME_OMIT, &TimeSpec::from_duration(time + later()?)).ok()?;
        futimens(network, &TimeSpec::UTIME_OMIT, &TimeSpec::from_duration(time)).ok()
    }

    /// The owner's page, and where it is.
    fn page(&self, owner: &[u8]) -> Option<(u64, [u8; page::SIZE])> {
        let at = u64::try_from(page::number(owner, self.pages) * page::SIZE).ok()?;
        let mut page = [0; page::SIZE];
        self.file.read_exact_at(&mut page, at).ok()?;
        Some((at, page))
    }
}

/// Where the index of the network with this directory is, and what else is kept for it.
pub(crate) fn place(directory: &Path) -> PathBuf {
    directory.with_file_name(".owners").join(directory.file_name().unwrap_or_default())
}

/// Creates that directory.
pub(super) fn create_directory(place: &Path) -> Option<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(place).ok()
}

fn file(place: &Path, create: bool) -> std::io::Result<File> {
    let mut open = File::options();
    open.read(true).write(true).create(create).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    open.open(place.join(INDEX))
}

/// Deletes what an earlier version kept there.
fn delete_former_files(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.file_name() != INDEX && entry.file_name() != SPARE {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// How much later the index's time is than the directory's: between one hour and twenty, by the machine's
/// boot. What a power cut leaves of a change may be its times without its content.
fn later() -> Option<Duration> {
    static LATER: OnceLock<Option<Duration>> = OnceLock::new();
    *LATER.get_or_init(|| {
        let mut digits = [0; 4];
        File::open("/proc/sys/kernel/random/boot_id").ok()?.read_exact(&mut digits).ok()?;
        let seconds = u64::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?;
        Some(Duration::from_secs(3600 + seconds))
    })
}
