//! One agent a node: two would undo each other's work.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held as long as this agent runs; the kernel lets go of it however the agent ends.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// Whether its file is still the one that another agent would try to lock.
    pub fn is_in_place(&self) -> bool {
        let identity = |file: Metadata| (file.dev(), file.ino());
        let found = std::fs::metadata(&self.path).map(identity);
        found.is_ok_and(|found| self.file.metadata().map(identity).is_ok_and(|own| own == found))
    }
}

/// The file that is locked.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("lock")
}

/// Makes this agent the only one of the node.
///
/// # Errors
/// Another agent runs, or the directory cannot be used.
pub fn take(state_dir: &Path) -> Result<Lock> {
    let mut directory = std::fs::DirBuilder::new();
    directory.recursive(true).mode(0o700);
    directory
        .create(state_dir)
        .with_context(|| format!("cannot create the directory {}", state_dir.display()))?;
    let path = path(state_dir);
    // Whatever is there is only locked: it may be somebody else's file, or lead to one.
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Lock { file, path }),
        Err((_, Errno::EWOULDBLOCK)) => {
            bail!("another midonet-kube-node runs on this node (it holds {}): stop it first", path.display())
        }
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let first = take(&state_dir).unwrap();
        let error = take(&state_dir).unwrap_err().to_string();
        assert!(error.contains("another midonet-kube-node runs"), "{error}");
        drop(first);
        take(&state_dir).unwrap();
    }

    #[test]
    fn a_link_to_another_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other");
        std::fs::write(&other, "another's").unwrap();
        std::os::unix::fs::symlink(&other, path(directory.path())).unwrap();
        assert!(format!("{:#}", take(directory.path()).unwrap_err()).contains("lock"));
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "another's");
        // A file that is there keeps what is in it.
        std::fs::remove_file(path(directory.path())).unwrap();
        std::fs::rename(&other, path(directory.path())).unwrap();
        let lock = take(directory.path()).unwrap();
        assert!(lock.is_in_place());
        assert_eq!(std::fs::read_to_string(path(directory.path())).unwrap(), "another's");
        std::fs::remove_file(path(directory.path())).unwrap();
        assert!(!lock.is_in_place());
    }
}
