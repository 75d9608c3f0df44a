//! The node's own settings that the agent changed, so that they can be restored. As they, the record is
//! gone after a reboot.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use atomic_file::Durability;
use plumbing::sysctl::{self, Before};

/// Adds to the record what was changed; of a setting that is in it already the first value counts.
///
/// # Errors
/// The record cannot be written.
pub fn record(state_dir: &Path, changed: &[Before]) -> Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut record = recorded(state_dir)?;
    for before in changed {
        record.entry(before.setting.clone()).or_insert_with(|| before.value.clone());
    }
    let path = path(state_dir);
    atomic_file::replace(&path, &serde_json::to_vec(&record)?, 0o600, Durability::Synced)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Gives every setting in the record its former value. Returns which.
///
/// # Errors
/// Names the record or the setting.
pub fn restore(state_dir: &Path) -> Result<Vec<String>> {
    let record = recorded(state_dir)?;
    for (setting, value) in &record {
        sysctl::set(setting, value)?;
    }
    Ok(record.into_iter().map(|(setting, value)| format!("{setting}={value}")).collect())
}

/// The record.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("settings-before.json")
}

/// The settings that the agent changed, and the values that they had before.
///
/// # Errors
/// The record cannot be read.
pub fn recorded(state_dir: &Path) -> Result<BTreeMap<String, String>> {
    let path = path(state_dir);
    match std::fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged: remove it", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts() {
        let directory = tempfile::tempdir().unwrap();
        let before =
            |setting: &str, value: &str| Before { setting: setting.to_owned(), value: value.to_owned() };
        record(directory.path(), &[]).unwrap();
        assert!(recorded(directory.path()).unwrap().is_empty());
        record(directory.path(), &[before("ipv4/ip_forward", "0")]).unwrap();
        let more = [before("ipv4/ip_forward", "2"), before("ipv6/conf/all/forwarding", "0")];
        record(directory.path(), &more).unwrap();
        let record: Vec<_> = recorded(directory.path()).unwrap().into_iter().collect();
        let want = [("ipv4/ip_forward", "0"), ("ipv6/conf/all/forwarding", "0")];
        assert_eq!(record, want.map(|(setting, value)| (setting.to_owned(), value.to_owned())));
    }
}
