//! `last_reserved_ip.N`: the last allocated address of a range set, after which the next search starts.
//!
//! It is a hint: whatever it contains, no address is allocated twice.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::directory::{Directory, HERE};
use super::files::LAST;

/// The last address of one range set.
#[derive(Debug)]
pub(crate) struct Last<'a> {
    directory: &'a Directory,
    name: String,
    file: Option<File>,
    content: [u8; 64],
    length: usize,
}

impl<'a> Last<'a> {
    /// Reads the last address of this range set.
    pub(super) fn read(directory: &'a Directory, set: usize) -> Self {
        let name = format!("{LAST}{set}");
        let mut last = Self { directory, name, file: None, content: [0; 64], length: 0 };
        last.file = last.open(OFlag::O_RDWR).ok();
        if let Some(Ok(length)) = last.file.as_mut().map(|file| file.read(&mut last.content)) {
            last.length = length;
        }
        last
    }

    /// The address, if there is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let text = str::from_utf8(self.content.get(..self.length)?).ok()?;
        text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// Stores another one. A failure does not matter: the next search starts elsewhere.
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
        Ok(File::from(openat(self.directory.fd(), self.name.as_str(), flags | HERE, mode)?))
    }
}
