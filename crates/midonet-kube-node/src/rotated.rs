//! A file that only grows, up to a size; then it is renamed and a new one begins.
//!
//! Lines are in it as a whole or not at all. The agent is root: it follows no link, and writes into no file that somebody
//! else put there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The owner alone reads it: it says who talks to whom.
const MODE: u32 = 0o600;

/// Lines are put together up to so many bytes for one write.
const CHUNK: usize = 1 << 16;

/// The file, and those that it was before.
#[derive(Debug)]
pub(crate) struct Rotated {
    path: PathBuf,
    /// How long it gets, in bytes.
    most: u64,
    /// How many former files are kept.
    kept: u32,
    open: Option<File>,
}

/// It cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {why}", path.display())]
pub(crate) struct FileError {
    what: &'static str,
    path: PathBuf,
    why: String,
}

impl Rotated {
    /// A file at this path; nothing is opened yet.
    pub(crate) fn new(path: &Path, most: u64, kept: u32) -> Self {
        Self { path: path.to_owned(), most, kept, open: None }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds lines, which end without a line feed; without any it is opened. Returns how many are in it, and what became of the
    /// others. After an error the next call opens it anew.
    pub(crate) fn append(&mut self, lines: &[String]) -> (usize, Result<(), FileError>) {
        let mut written = 0;
        let result = self.write(lines, &mut written);
        if result.is_err() {
            self.open = None;
        }
        (written, result)
    }

    fn write(&mut self, lines: &[String], written: &mut usize) -> Result<(), FileError> {
        let mut size = self.ensure_open()?;
        let mut chunk = String::new();
        let mut lines = lines.iter().peekable();
        loop {
            let length = |line: &String| line.len() as u64 + 1;
            if let Some(line) = lines.peek()
                && size > 0
                && size + length(line) > self.most
            {
                self.rotate()?;
                size = self.ensure_open()?;
            }
            let (start, mut count) = (size, 0);
            chunk.clear();
            while let Some(line) = lines
                .next_if(|line| chunk.is_empty() || (size + length(line) <= self.most && chunk.len() < CHUNK))
            {
                chunk.push_str(line);
                chunk.push('\n');
                size += length(line);
                count += 1;
            }
            if chunk.is_empty() {
                return Ok(());
            }
            self.put(chunk.as_bytes(), start)?;
            *written += count;
        }
    }

    /// Writes all of it, or none.
    fn put(&mut self, bytes: &[u8], start: u64) -> Result<(), FileError> {
        let Some(file) = &mut self.open else { return Ok(()) };
        file.write_all(bytes).map_err(|error| {
            // The first error is the one that matters; should a part stay, the next one who opens it ends the line.
            let _ = file.set_len(start);
            fail("write to", &self.path, &error)
        })
    }

    /// Opens it, unless it is open and still there. Returns its length.
    fn ensure_open(&mut self) -> Result<u64, FileError> {
        let failed = |what| move |error: &io::Error, path: &Path| fail(what, path, error);
        if let Some(file) = &self.open {
            let is_it = match (file.metadata(), fs::symlink_metadata(&self.path)) {
                (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
                _ => false,
            };
            if !is_it {
                self.open = None;
            }
        }
        let file = match self.open.take() {
            Some(file) => file,
            None => self.open_anew()?,
        };
        let length = file.metadata().map_err(|error| failed("read")(&error, &self.path))?.len();
        self.open = Some(file);
        Ok(length)
    }

    fn open_anew(&self) -> Result<File, FileError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(MODE);
        // Not blocking: it may be a pipe that nobody reads.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let mut file = options.open(&self.path).map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => self.refuse("it is a symbolic link"),
            Some(libc::ENXIO) => self.refuse("it is no regular file"),
            _ => fail("open", &self.path, &error),
        })?;
        let meta = file.metadata().map_err(|error| fail("read", &self.path, &error))?;
        if !meta.is_file() {
            return Err(self.refuse("it is no regular file"));
        }
        if meta.nlink() != 1 {
            return Err(self.refuse("it has another name, too (a hard link)"));
        }
        if meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(self.refuse("it is another user's"));
        }
        if meta.mode() & 0o7777 != MODE {
            let narrowed = file.set_permissions(Permissions::from_mode(MODE));
            narrowed.map_err(|error| fail("change the mode of", &self.path, &error))?;
        }
        // Of somebody who was stopped in the middle of a line.
        let mut last = [b'\n'];
        if meta.len() > 0 {
            let read = file.read_exact_at(&mut last, meta.len() - 1);
            read.map_err(|error| fail("read", &self.path, &error))?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n").map_err(|error| fail("write to", &self.path, &error))?;
        }
        Ok(file)
    }

    /// Gives every file the next number; the last one goes.
    fn rotate(&mut self) -> Result<(), FileError> {
        self.open = None;
        for number in (0..self.kept).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(fail("rename", &from, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The file itself, and its former ones.
    fn numbered(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn refuse(&self, why: &str) -> FileError {
        FileError { what: "use", path: self.path.clone(), why: why.to_owned() }
    }
}

fn fail(what: &'static str, path: &Path, error: &io::Error) -> FileError {
    FileError { what, path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests;
