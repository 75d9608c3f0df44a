//! host-local's files: `<dataDir>/<network>/<address>` says whose the address is.
//!
//! Every operation holds the folder's lock, as host-local does. A reservation appears whole or not at
//! all: it is written under another name and linked to its own only if the address is free, so that a
//! crash at any point neither gives an address twice nor leaves a file that nobody can match.

mod index;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;

use crate::{Attachment, Error};

/// How long to wait for the lock.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// The longest content that is looked at; an owner's name is much shorter.
const LONGEST: usize = 1024;

/// Where a reservation is written before it gets its name. Only whoever holds the lock writes it,
/// and its name is no address.
const PENDING: &str = ".pending";

/// The reservations of one network, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    _lock: Flock<File>,
}

/// A reservation that was found.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) address: IpAddr,
    /// When the file was written.
    pub(crate) modified: SystemTime,
    path: PathBuf,
    content: Vec<u8>,
}

/// A reservation that waits for a free address; without one it leaves nothing.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    store: &'a Store,
    path: PathBuf,
    content: Vec<u8>,
}

impl Store {
    /// Opens the folder if it is there, and waits for its lock.
    pub(crate) fn existing(directory: &Path) -> Result<Option<Self>, Error> {
        match fs::metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::open(directory).map(Some),
        }
    }

    /// Opens the folder, which is made if it is absent, and waits for its lock.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(Error::io("create", directory))?;
        let path = directory.join("lock");
        let file = OpenOptions::new().read(true).custom_flags(libc::O_CREAT).mode(0o750).open(&path);
        let mut file = file.map_err(Error::io("open", &path))?;
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self { directory: directory.to_owned(), _lock: lock }),
                Err((_, Errno::EWOULDBLOCK)) if start.elapsed() > LOCK_DEADLINE => {
                    return Err(Error::Locked { path, seconds: LOCK_DEADLINE.as_secs() });
                }
                Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
                Err((_, errno)) => return Err(Error::io("lock", path)(errno.into())),
            };
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Where the reservations are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a reservation for this owner, to be linked to a free address.
    pub(crate) fn prepare(&self, owner: &Attachment) -> Result<Pending<'_>, Error> {
        let path = self.directory.join(PENDING);
        // One that is left may be a reservation's file under its second name: unlinked, never written.
        remove(&path)?;
        let content = key(owner).into_bytes();
        let pending = Pending { store: self, path, content };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&pending.path);
        file.and_then(|mut file| file.write_all(&pending.content))
            .map_err(Error::io("write", &pending.path))?;
        Ok(pending)
    }

    /// The address that was given last of this range set.
    pub(crate) fn last_reserved(&self, set: usize) -> Option<IpAddr> {
        fs::read_to_string(self.last_file(set)).ok()?.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// Remembers the address that was given last. A failure is no failure of the reservation: the next
    /// search starts elsewhere, and that is all.
    pub(crate) fn set_last_reserved(&self, set: usize, address: IpAddr) {
        let mut open = OpenOptions::new();
        let file = open.write(true).create(true).truncate(true).mode(0o600).open(self.last_file(set));
        let _ = file.and_then(|mut file| file.write_all(address.to_string().as_bytes()));
    }

    /// The reservations of this owner: by its whole key, or if there is none, those that an old
    /// host-local wrote for its container.
    pub(crate) fn held_by(&self, owner: &Attachment) -> Result<Vec<Reservation>, Error> {
        let (key, id) = (key(owner), owner.container_id.trim());
        let contents = [key.as_bytes(), id.as_bytes()];
        let mut found = match self.indexed(&contents) {
            Some(found) => found,
            None => {
                let mut all = self.reservations()?;
                self.index(&all);
                all.retain(|r| contents.contains(&r.owner()));
                all
            }
        };
        if found.iter().any(|r| r.owner() == key.as_bytes()) {
            found.retain(|r| r.owner() == key.as_bytes());
        }
        Ok(found)
    }

    /// All files named by an address, in subfolders too, as the reference walks. They are opened by
    /// the folder's descriptor: looking up a whole path takes the kernel longer than the rest.
    pub(crate) fn reservations(&self) -> Result<Vec<Reservation>, Error> {
        let mut found = Vec::new();
        let mut folders = vec![self.directory.clone()];
        let mut content = [0; LONGEST];
        while let Some(folder) = folders.pop() {
            let here = File::open(&folder).map_err(Error::io("open", &folder))?;
            for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
                let entry = entry.map_err(Error::io("list", &folder))?;
                let name = entry.file_name();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                } else if let Some(Ok(address)) = name.to_str().map(str::parse) {
                    let file =
                        openat(&here, name.as_os_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
                    let read = file.map_err(io::Error::from).and_then(|file| {
                        let mut file = File::from(file);
                        Ok((file.metadata()?.modified()?, file.read(&mut content)?))
                    });
                    match read {
                        Ok((modified, length)) => {
                            let content = content.get(..length).unwrap_or_default().to_vec();
                            found.push(Reservation { address, modified, path: entry.path(), content });
                        }
                        // What was deleted by hand in this moment is no reservation any more.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(Error::io("read", entry.path())(error)),
                    }
                }
            }
        }
        Ok(found)
    }

    fn last_file(&self, set: usize) -> PathBuf {
        self.directory.join(format!("last_reserved_ip.{set}"))
    }
}

impl Reservation {
    /// Gives the address back.
    pub(crate) fn release(&self) -> Result<(), Error> {
        remove(&self.path)?;
        self.second_name().map_or(Ok(()), |name| remove(&name))
    }

    /// Whether one of these attachments, or of their containers in the old format, has it.
    pub(crate) fn is_of(&self, owners: &[Attachment]) -> bool {
        let has =
            |o: &Attachment| self.owner() == key(o).as_bytes() || self.owner() == o.container_id.as_bytes();
        owners.iter().any(has)
    }

    /// What the file says, without white space around it.
    pub(crate) fn owner(&self) -> &[u8] {
        self.content.trim_ascii()
    }
}

impl Pending<'_> {
    /// Takes the address if it is free. After success this reservation is used up.
    pub(crate) fn claim(&self, address: IpAddr) -> Result<bool, Error> {
        let place = self.store.directory.join(address.to_string());
        match fs::hard_link(&self.path, &place) {
            Ok(()) => {}
            // An empty file is what a host-local leaves that died between creating and writing it: the
            // lock is ours, so it is dead, and its address was never told to anybody.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::symlink_metadata(&place) {
                    Ok(found) if found.is_file() && found.len() == 0 => {
                        fs::rename(&self.path, &place).map_err(Error::io("reclaim", &place))?;
                    }
                    _ => return Ok(false),
                }
            }
            Err(error) => return Err(Error::io("create", place)(error)),
        }
        let (modified, content) = (SystemTime::now(), self.content.clone());
        let _ = Reservation { address, modified, path: place, content }.name_owner();
        Ok(true)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes an address's file; success if it is gone already.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What a reservation's file holds.
fn key(owner: &Attachment) -> String {
    format!("{}\r\n{}", owner.container_id.trim(), owner.ifname)
}
