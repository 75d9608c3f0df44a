use std::os::unix::fs::{chown, symlink};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

fn lines(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("line {number:04}")).collect()
}

/// A line has so many bytes in the file.
const LINE: u64 = 10;

fn append(file: &mut Rotated, lines: &[String]) {
    let (written, result) = file.append(lines);
    result.unwrap();
    assert_eq!(written, lines.len());
}

fn read(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn refused(file: &mut Rotated, want: &str) {
    let (written, result) = file.append(&lines(0, 3));
    let error = result.unwrap_err().to_string();
    assert!(
        written == 0 && error.contains(want) && error.contains(&file.path.display().to_string()),
        "{error}"
    );
}

#[test]
fn files_are_as_long_as_they_may_be_and_the_oldest_go() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    let mut file = Rotated::new(&path, 4 * LINE, 2);
    // As many as fit into one file and one more; more at once than in all files; one by one.
    append(&mut file, &lines(0, 5));
    assert_eq!(
        (names(root.path()), read(&path)),
        (vec!["deny.log".into(), "deny.log.1".into()], lines(4, 5))
    );
    append(&mut file, &lines(5, 30));
    for number in 30..33 {
        append(&mut file, &lines(number, number + 1));
    }
    assert_eq!(names(root.path()), ["deny.log", "deny.log.1", "deny.log.2"]);
    assert_eq!(read(&path), lines(32, 33));
    assert_eq!(read(&root.path().join("deny.log.1")), lines(28, 32));
    assert_eq!(read(&root.path().join("deny.log.2")), lines(24, 28));
    for name in names(root.path()) {
        assert_eq!(fs::metadata(root.path().join(name)).unwrap().mode() & 0o7777, MODE);
    }
    // Another agent goes on with it.
    let mut next = Rotated::new(&path, 4 * LINE, 2);
    append(&mut next, &lines(33, 34));
    assert_eq!(read(&path), lines(32, 34));
}

#[test]
fn a_line_that_is_longer_than_a_file_has_one_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    let mut file = Rotated::new(&path, LINE, 3);
    append(&mut file, &["x".repeat(100), "y".repeat(3), "z".repeat(200_000)]);
    assert_eq!(read(&path)[0].len(), 200_000);
    assert_eq!(read(&root.path().join("deny.log.1")), ["yyy"]);
    assert_eq!(read(&root.path().join("deny.log.2")), ["x".repeat(100)]);
}

#[test]
fn what_somebody_removed_or_renamed_or_cut_begins_anew() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    let mut file = Rotated::new(&path, 4 * LINE, 1);
    append(&mut file, &lines(0, 1));
    fs::rename(&path, root.path().join("elsewhere")).unwrap();
    append(&mut file, &lines(1, 2));
    assert_eq!(read(&path), lines(1, 2));
    fs::remove_file(&path).unwrap();
    append(&mut file, &lines(2, 4));
    assert_eq!(read(&path), lines(2, 4));
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    append(&mut file, &lines(4, 8));
    assert_eq!(read(&path), lines(4, 8));
    assert_eq!(names(root.path()), ["deny.log", "elsewhere"]);
}

#[test]
fn a_line_that_somebody_did_not_end_is_ended() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    fs::write(&path, "half a li").unwrap();
    append(&mut Rotated::new(&path, 1000, 1), &lines(0, 1));
    assert_eq!(read(&path), ["half a li", "line 0000"]);
}

#[test]
fn links_and_what_is_no_file_of_ours_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    let target = root.path().join("target");
    fs::write(&target, "target\n").unwrap();
    let mut file = Rotated::new(&path, 1000, 1);
    symlink(&target, &path).unwrap();
    refused(&mut file, "it is a symbolic link");
    fs::remove_file(&path).unwrap();
    symlink(root.path().join("nothing"), &path).unwrap();
    refused(&mut file, "it is a symbolic link");
    fs::remove_file(&path).unwrap();
    fs::hard_link(&target, &path).unwrap();
    refused(&mut file, "a hard link");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    refused(&mut file, "it is no regular file");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(&mut file, "cannot open");
    fs::remove_dir(&path).unwrap();
    refused(&mut Rotated::new(&root.path().join("missing/deny.log"), 1000, 1), "No such file");
    if nix::unistd::geteuid().is_root() {
        fs::write(&path, "").unwrap();
        chown(&path, Some(12345), None).unwrap();
        refused(&mut file, "another user's");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "target\n");
    assert!(!root.path().join("nothing").exists());
    // Once there is nothing in the way it goes on; one that others may read is narrowed.
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    append(&mut file, &lines(0, 1));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
}

#[test]
fn links_in_the_place_of_former_files_are_replaced_and_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    let target = root.path().join("target");
    fs::write(&target, "target\n").unwrap();
    symlink(&target, root.path().join("deny.log.1")).unwrap();
    append(&mut Rotated::new(&path, LINE, 1), &lines(0, 2));
    assert_eq!(read(&root.path().join("deny.log.1")), lines(0, 1));
    assert_eq!(fs::read_to_string(&target).unwrap(), "target\n");
}

#[test]
fn nothing_is_written_beyond_its_size_while_it_cannot_be_renamed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deny.log");
    let mut file = Rotated::new(&path, 2 * LINE, 1);
    fs::create_dir(root.path().join("deny.log.1")).unwrap();
    let (written, result) = file.append(&lines(0, 5));
    let error = result.unwrap_err().to_string();
    assert!(written == 2 && error.contains("cannot rename"), "{written} {error}");
    refused(&mut file, "cannot rename");
    assert_eq!(read(&path), lines(0, 2));
    fs::remove_dir(root.path().join("deny.log.1")).unwrap();
    append(&mut file, &lines(5, 6));
    assert_eq!((read(&path), read(&root.path().join("deny.log.1"))), (lines(5, 6), lines(0, 2)));
}

/// In a mount namespace of its own, which goes with the thread.
#[test]
fn on_a_full_disk_lines_are_there_as_a_whole_or_not_at_all() {
    testkit::require_root();
    let full_disk = || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let root = tempfile::tempdir().unwrap();
        mount(Some("none"), root.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        let path = root.path().join("deny.log");
        let mut file = Rotated::new(&path, 20_000, 1);
        let mut sum = 0;
        let error = loop {
            let (written, result) = file.append(&lines(sum, sum + 700));
            sum += written;
            if let Err(error) = result {
                break error.to_string();
            }
            // Another file takes the space that removed files give back.
            let _ = OpenOptions::new()
                .append(true)
                .create(true)
                .open(root.path().join("other"))
                .unwrap()
                .write(&[0; 8192]);
        };
        assert!(error.contains("No space left on device"), "{error}");
        let whole = |path: &Path| read(path).iter().all(|line| line.len() == 9);
        let is_whole = || whole(&path) && whole(&root.path().join("deny.log.1"));
        assert!(is_whole());
        for _ in 0..3 {
            let (written, result) = file.append(&lines(sum, sum + 700));
            assert_eq!(written, 0);
            assert_eq!(result.unwrap_err().to_string(), error, "it is told once");
            assert!(is_whole());
        }
        fs::remove_file(root.path().join("other")).unwrap();
        append(&mut file, &lines(sum, sum + 700));
        assert!(is_whole());
        assert_eq!(read(&path).last().unwrap(), &format!("line {:04}", sum + 699));
        drop(file);
        nix::mount::umount(root.path()).unwrap();
    };
    std::thread::spawn(full_disk).join().unwrap();
}
