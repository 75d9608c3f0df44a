//! `last_reserved_ip.N`: the address that was given last of a range set, where the next search starts.
//!
//! It is a hint: whatever it says, after whatever crash, no address is given twice.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{HERE, Store};

/// The last address of one range set.
#[derive(Debug)]
pub(crate) struct Last<'a> {
    store: &'a Store,
    name: String,
    file: Option<File>,
    content: [u8; 64],
    length: usize,
}

impl Store {
    /// The last address of this range set.
    pub(crate) fn last(&self, set: usize) -> Last<'_> {
        let name = format!("{}{set}", super::LAST);
        let mut last = Last { store: self, name, file: None, content: [0; 64], length: 0 };
        last.file = last.open(OFlag::O_RDWR).ok();
        if let Some(Ok(length)) = last.file.as_mut().map(|file| file.read(&mut last.content)) {
            last.length = length;
        }
        last
    }
}

impl Last<'_> {
    /// The address, if there is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let text = str::from_utf8(self.content.get(..self.length)?).ok()?;
        text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// Remembers another one. A failure is no failure of the reservation: the next search starts
    /// elsewhere, and that is all.
    ///
    /// The file is written over, since truncating it first would make ext4 write it to the disk at once.
    pub(crate) fn set(self, address: IpAddr) {
        let _ = self.write(&address.to_string());
    }

    fn write(mut self, text: &str) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open(OFlag::O_WRONLY | OFlag::O_CREAT)?,
        };
        if self.length > text.len() {
            file.set_len(u64::try_from(text.len()).map_err(io::Error::other)?)?;
        }
        file.write_all_at(text.as_bytes(), 0)
    }

    fn open(&self, flags: OFlag) -> io::Result<File> {
        let mode = Mode::from_bits_truncate(0o600);
        Ok(File::from(openat(&self.store.folder, self.name.as_str(), flags | HERE, mode)?))
    }
}
