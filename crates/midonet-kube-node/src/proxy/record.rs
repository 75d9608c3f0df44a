//! What an agent served last, for the next one: it is gone after a reboot, as the kernel's tables are.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use atomic_file::Durability;
use model::HealthCheck;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::state::HealthChecks;

/// A Service's entry, by its namespace and name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    port: u16,
    local_endpoints: u32,
}

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("health-checks.json")
}

/// `None`: no agent served Services since the node booted.
pub(super) fn read(path: &Path) -> Option<HealthChecks> {
    let text = std::fs::read(path).ok()?;
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&text)
        .inspect_err(
            |error| warn!(%error, path = %path.display(), "the record of health checks is damaged: not used"),
        )
        .ok()?;
    let check = |(key, Entry { port, local_endpoints }): (String, Entry)| {
        (key.into(), HealthCheck { port, local_endpoints })
    };
    Some(entries.into_iter().map(check).collect())
}

/// Writes the record.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &Path, checks: &HealthChecks) -> io::Result<()> {
    let entry = |HealthCheck { port, local_endpoints }: HealthCheck| Entry { port, local_endpoints };
    let entries: BTreeMap<&str, Entry> = checks.iter().map(|(key, check)| (&**key, entry(*check))).collect();
    atomic_file::replace(path, &serde_json::to_vec(&entries)?, 0o600, Durability::Unsynced)
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
