//! Where the archive goes: never over what is there, unless that is wanted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// An open archive: a file of its owner alone, or standard output. A file that is not kept goes with this value.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    File { file: File, path: PathBuf, kept: bool },
}

impl Target {
    /// Opens it.
    ///
    /// # Errors
    /// There is a file already, or none can be made there; or standard output is a terminal.
    pub(super) fn open(path: &Path, force: bool) -> Result<Self> {
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                bail!("an archive is nothing for a terminal: name a file, or redirect standard output");
            }
            return Ok(Self::Stdout);
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let file = options.open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                anyhow::anyhow!(
                    "there is a file {} already: name another one, or give --force",
                    path.display()
                )
            }
            _ => anyhow::Error::new(error).context(format!("cannot make the archive {}", path.display())),
        })?;
        Ok(Self::File { file, path: path.to_owned(), kept: false })
    }

    /// Keeps the file, once all of it is written; gives its name and size.
    ///
    /// # Errors
    /// Not all of it is on disk.
    pub(super) fn keep(mut self) -> Result<Option<(PathBuf, u64)>> {
        let Self::File { file, path, kept } = &mut self else {
            io::stdout().flush().context("cannot write to standard output")?;
            return Ok(None);
        };
        file.sync_all().with_context(|| format!("cannot write the archive {}", path.display()))?;
        let size = file.metadata()?.len();
        *kept = true;
        Ok(Some((path.clone(), size)))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { path, kept: false, .. } = self {
            // A part of an archive is of no use; who cannot remove it cannot be helped.
            let _left = fs::remove_file(path);
        }
    }
}
