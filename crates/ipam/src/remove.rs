//! Removing what the allocator keeps of a network: its own files by their names, and nothing else.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::store::{FILES, INDEX_FILES, LAST, index_directory};

/// Removes all reservations of a network and the index of their owners, then the directories as far as they are
/// empty. Says whether there was anything. No process may be allocating meanwhile.
///
/// # Errors
/// The first file that cannot be removed, after the rest was tried.
pub fn remove(directory: &Path) -> io::Result<bool> {
    let index = index_directory(directory);
    let removed = [
        remove_files(directory, is_ours),
        remove_files(&index, |name| INDEX_FILES.iter().any(|own| name == *own)),
        // Of other networks there may be one, too.
        index.parent().map_or(Ok(false), remove_directory),
    ];
    removed.into_iter().try_fold(false, |any, one| Ok(one? || any))
}

/// A reservation, the lock, a hint where to search, or what a killed process was writing.
fn is_ours(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.parse::<IpAddr>().is_ok() || FILES.contains(&name) || name.strip_prefix(LAST).is_some_and(is_number)
}

fn remove_files(directory: &Path, is_ours: impl Fn(&OsStr) -> bool) -> io::Result<bool> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut result = Ok(false);
    for entry in entries {
        let entry = entry?;
        if is_ours(&entry.file_name()) && !entry.file_type()?.is_dir() {
            result = result.and(fs::remove_file(entry.path()).map(|()| true));
        }
    }
    Ok(result? | remove_directory(directory)?)
}

/// Removes a directory that is empty; one that is not is left.
fn remove_directory(directory: &Path) -> io::Result<bool> {
    match fs::remove_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if is_kept(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Not there, not empty, or a mount of a container's.
fn is_kept(error: &io::Error) -> bool {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
    matches!(error.kind(), NotFound | DirectoryNotEmpty | ResourceBusy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.display().to_string());
            if path.is_dir() {
                found.extend(tree(&path));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn only_known_files_go() {
        let root = tempfile::tempdir().unwrap();
        let (network, index) = (root.path().join("net"), root.path().join(".owners/net"));
        assert!(!remove(&network).unwrap(), "there is nothing");
        for directory in [&network, &index] {
            fs::create_dir_all(directory).unwrap();
        }
        for name in ["10.244.1.3", "fd44::3", "last_reserved_ip.0", "last_reserved_ip.17", "lock", ".pending"]
        {
            fs::write(network.join(name), "").unwrap();
        }
        for name in ["index", "spare"] {
            fs::write(index.join(name), "").unwrap();
        }
        assert!(remove(&network).unwrap());
        assert_eq!(tree(root.path()), Vec::<String>::new());

        let others = ["net/notes", "net/last_reserved_ip.x", "net/10.244.1.4/file", ".owners/other/index"];
        for name in others {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let before = tree(root.path());
        fs::write(network.join("10.244.1.5"), "").unwrap();
        assert!(remove(&network).unwrap());
        assert_eq!(tree(root.path()), before);
    }
}
