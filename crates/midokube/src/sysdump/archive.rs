//! A tar archive (POSIX ustar), compressed, that never gets larger than it may.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

/// Bytes of a block.
const BLOCK: usize = 512;

/// The archive as it is written.
pub(super) struct Archive<W: Write> {
    tar: Builder<GzEncoder<W>>,
    /// Seconds since 1970: every file's.
    time: u64,
    left: u64,
    written: u64,
}

/// Why a file is not in the archive.
#[derive(Debug)]
pub(super) enum Refused {
    /// The archive would get larger than it may.
    TooLarge,
    /// It cannot be written at all.
    Io(io::Error),
}

impl<W: Write> Archive<W> {
    /// An archive of at most so many bytes before compression.
    pub(super) fn new(out: W, time: u64, most: u64) -> Self {
        let tar = Builder::new(GzEncoder::new(out, Compression::default()));
        Self { tar, time, left: most, written: 0 }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`Refused`]; with [`Refused::TooLarge`] nothing of it was written.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> Result<(), Refused> {
        let size = (BLOCK + content.len().next_multiple_of(BLOCK)) as u64;
        let Some(left) = self.left.checked_sub(size) else { return Err(Refused::TooLarge) };
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(Refused::Io)?;
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(self.time);
        header.set_cksum();
        self.tar.append(&header, content).map_err(Refused::Io)?;
        self.written += size;
        self.left = left;
        Ok(())
    }

    /// Ends it; gives the bytes before compression, and what it was written to.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn finish(self) -> io::Result<(u64, W)> {
        Ok((self.written, self.tar.into_inner()?.finish()?))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_reads_it() {
        testkit::require_tool("tar", "apt-get install tar");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar.gz");
        let long = format!("{}/{}", "d".repeat(140), "n".repeat(90));
        let files = [
            ("empty", Vec::new()),
            ("a/b.txt", b"hello\n".to_vec()),
            (long.as_str(), vec![b'x'; 512]),
            ("odd", vec![7; 1025]),
        ];
        let mut archive = Archive::new(std::fs::File::create(&path).unwrap(), 1_700_000_000, 1 << 20);
        for (name, content) in &files {
            archive.add(name, content).unwrap();
        }
        let (written, _) = archive.finish().unwrap();
        assert_eq!(written, (4 + 1 + 1 + 3) * 512);
        let run = Command::new("tar").arg("xzf").arg(&path).arg("-C").arg(directory.path()).output().unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
        for (name, content) in &files {
            assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), *content, "{name}");
        }
    }

    #[test]
    fn it_never_gets_larger_than_it_may() {
        let mut archive = Archive::new(Vec::new(), 0, 2048);
        archive.add("a", &[1; 512]).unwrap();
        assert!(matches!(archive.add("b", &[1; 513]), Err(Refused::TooLarge)));
        archive.add("c", &[1; 512]).unwrap();
        assert!(matches!(archive.add("d", &[]), Err(Refused::TooLarge)));
        let (written, bytes) = archive.finish().unwrap();
        assert!(written == 2048 && !bytes.is_empty());
    }

    #[test]
    fn a_name_that_fits_nowhere_is_refused() {
        let mut archive = Archive::new(Vec::new(), 0, 1 << 20);
        for name in ["n".repeat(101), format!("{}/n", "d".repeat(156)), format!("d/{}", "n".repeat(101))] {
            assert!(matches!(archive.add(&name, b"x"), Err(Refused::Io(_))), "{name}");
        }
        assert_eq!(archive.finish().unwrap().0, 0);
    }
}
