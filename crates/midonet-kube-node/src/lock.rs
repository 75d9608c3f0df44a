//! One agent a node: two would undo each other's work.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held as long as this agent runs; the kernel lets go of it however the agent ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// The file that is locked.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("lock")
}

/// Makes this agent the only one of the node.
///
/// # Errors
/// Another agent runs, or the folder cannot be used.
pub fn take(state_dir: &Path) -> Result<Lock> {
    let mut folder = std::fs::DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(state_dir).with_context(|| format!("cannot create the folder {}", state_dir.display()))?;
    let path = path(state_dir);
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Lock { _file: file }),
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
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let first = take(&state_dir).unwrap();
        let error = take(&state_dir).unwrap_err().to_string();
        assert!(error.contains("another midonet-kube-node runs"), "{error}");
        drop(first);
        take(&state_dir).unwrap();
    }
}
