//! What an agent served last, for the next one: it is gone after a reboot, as the kernel's tables are.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use atomic_file::Durability;
use tracing::warn;

use super::state::{HealthCheck, HealthChecks};

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("health-checks.json")
}

/// `None`: no agent served Services since the node booted.
pub(super) fn read(path: &Path) -> Option<HealthChecks> {
    let text = std::fs::read(path).ok()?;
    match serde_json::from_slice::<BTreeMap<String, HealthCheck>>(&text) {
        Ok(checks) => Some(checks.into_iter().map(|(key, check)| (key.into(), check)).collect()),
        Err(error) => {
            warn!(%error, path = %path.display(), "the record of health checks is damaged: not used");
            None
        }
    }
}

/// Writes the record, if it is another one.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &Path, checks: &HealthChecks) -> io::Result<()> {
    let checks: BTreeMap<&str, &HealthCheck> = checks.iter().map(|(key, check)| (&**key, check)).collect();
    let text = serde_json::to_vec(&checks)?;
    if std::fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    atomic_file::replace(path, &text, 0o600, Durability::Unsynced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_agent_reads_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = path(directory.path());
        assert_eq!(read(&file), None);
        for checks in [
            HealthChecks::new(),
            [("shop/web".into(), HealthCheck { port: 30100, local_endpoints: 2 })].into(),
        ] {
            write(&file, &checks).unwrap();
            assert_eq!(read(&file), Some(checks));
        }
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), None);
    }
}
