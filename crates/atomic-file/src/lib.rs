//! Replaces a file in one step: a reader sees the old contents or the new ones, never a part.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// What of a write must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The contents and the name: both are synced before [`replace`] returns.
    Synced,
    /// Nothing: for files that are made again after a reboot.
    Unsynced,
}

/// The most bytes of a file's name (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// What a temporary file's name has besides a part of the target's: dots, a process, a count, the suffix.
const AFFIXES: usize = 2 + 10 + 1 + 10 + SUFFIX.len();

const SUFFIX: &str = ".new";

/// Gives the file `path` these contents and this mode, whatever the umask is. Its directory is created if it is
/// missing; a link at `path` is replaced, not followed. After an error the former file is unchanged.
///
/// Until it is renamed, the new file is a hidden one in the same directory. Its name ends in `.new`: a container
/// runtime reads CNI configurations that end in .conf, .conflist or .json (libcni, `ConfFiles`), and executes
/// only what a configuration names.
///
/// # Errors
/// That of the system call that failed. It does not name the file.
pub fn replace(path: &Path, contents: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let temporary = temporary(path);
    let written =
        write(&temporary, contents, mode, durability).and_then(|()| fs::rename(&temporary, path)).and_then(
            |()| if durability == Durability::Synced { File::open(directory)?.sync_all() } else { Ok(()) },
        );
    if written.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The temporary files that processes left beside `path` when they were killed in [`replace`].
///
/// # Errors
/// The directory cannot be read. A missing one has no files.
pub fn leftovers(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = prefix(path);
    let entries = match fs::read_dir(directory_of(path)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| is_temporary(name, &prefix)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn write(temporary: &Path, contents: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    // One with this name is left of a killed process that had this one's id, and may be a link.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    if durability == Durability::Synced { file.sync_all() } else { Ok(()) }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        Some(directory) => directory,
        None => Path::new("/"),
    }
}

/// A name that no other thread and no other process of this machine uses at this time.
fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{}{}-{count}{SUFFIX}", prefix(path), process::id()))
}

/// What the names of a file's temporary ones begin with: a dot and as much of its own name as fits.
fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = (0..=name.len().min(LONGEST_NAME - AFFIXES)).rev().find(|end| name.is_char_boundary(*end));
    format!(".{}.", name.get(..end.unwrap_or(0)).unwrap_or_default())
}

/// Whether it is a temporary file of this prefix. Those of version 0.1.0 have no count.
fn is_temporary(name: &str, prefix: &str) -> bool {
    let middle = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX));
    middle.is_some_and(|middle| {
        let (process, count) = middle.split_once('-').unwrap_or((middle, "0"));
        process.parse::<u32>().is_ok() && count.parse::<u32>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn contents_and_mode_are_replaced_and_nothing_else_is_left() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file.json");
        for (contents, mode, durability) in
            [("first", 0o755, Durability::Synced), ("second", 0o600, Durability::Unsynced)]
        {
            replace(&path, contents.as_bytes(), mode, durability).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(names(path.parent().unwrap()), ["file.json"]);
        }
    }

    #[test]
    fn a_link_is_replaced_and_its_target_unchanged() {
        let root = tempfile::tempdir().unwrap();
        let (path, target) = (root.path().join("link"), root.path().join("target"));
        fs::write(&target, "target").unwrap();
        symlink(&target, &path).unwrap();
        replace(&path, b"new", 0o600, Durability::Synced).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "target");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn a_failure_leaves_the_former_file_and_no_temporary_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("directory");
        fs::create_dir_all(path.join("not empty")).unwrap();
        replace(&path, b"new", 0o600, Durability::Synced).unwrap_err();
        assert_eq!(names(root.path()), ["directory"]);
        replace(&path.join("not empty/x/.."), b"new", 0o600, Durability::Synced).unwrap_err();
    }

    #[test]
    fn readers_and_writers_at_the_same_time_see_whole_files() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let contents = |byte: u8| vec![byte; 100_000];
        replace(&path, &contents(b'a'), 0o600, Durability::Unsynced).unwrap();
        thread::scope(|scope| {
            for byte in [b'a', b'b', b'c'] {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        replace(path, &contents(byte), 0o600, Durability::Unsynced).unwrap();
                    }
                });
            }
            for _ in 0..200 {
                let read = fs::read(&path).unwrap();
                assert!(read.len() == 100_000 && read.iter().all(|byte| *byte == read[0]));
            }
        });
        assert_eq!(names(root.path()), ["file"]);
    }

    #[test]
    fn the_longest_names_work() {
        let root = tempfile::tempdir().unwrap();
        for name in ["n".repeat(255), "ä".repeat(127)] {
            let path = root.path().join(&name);
            replace(&path, b"x", 0o600, Durability::Unsynced).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"x");
        }
    }

    #[test]
    fn a_temporary_file_is_no_configuration_and_no_plugin() {
        for name in ["10-midonet.conflist", "midonet-kube-cni"] {
            let temporary = temporary(&Path::new("/directory").join(name));
            assert_eq!(temporary.parent(), Some(Path::new("/directory")));
            assert_eq!(temporary.extension().unwrap(), "new");
            assert!(is_temporary(temporary.file_name().unwrap().to_str().unwrap(), &prefix(Path::new(name))));
        }
    }

    #[test]
    fn leftovers_are_those_of_this_file_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("10-a.conflist");
        assert_eq!(leftovers(&root.path().join("missing/file")).unwrap(), Vec::<PathBuf>::new());
        let ours = [".10-a.conflist.1.new", ".10-a.conflist.4294967295-7.new"];
        let others = [
            "10-a.conflist",
            ".10-a.conflist.new",
            ".10-a.conflist.x.new",
            ".10-a.conflist.1-.new",
            ".10-b.1.new",
        ];
        for name in ours.iter().chain(&others) {
            fs::write(root.path().join(name), "").unwrap();
        }
        let mut found = leftovers(&path).unwrap();
        found.sort();
        assert_eq!(found, ours.map(|name| root.path().join(name)));
    }

    #[test]
    fn a_leftover_under_the_same_name_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let target = root.path().join("target");
        fs::write(&target, "target").unwrap();
        for count in 0..1000 {
            symlink(&target, root.path().join(format!(".file.{}-{count}.new", process::id()))).unwrap();
        }
        replace(&path, b"new", 0o600, Durability::Unsynced).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_to_string(&target).unwrap(), "target");
    }
}
