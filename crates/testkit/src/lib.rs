//! What tests share: network namespaces, packets, random numbers, and the programs that a test needs.
//!
//! Nothing here skips: a test that lacks root, a tool or a built program fails and says what to do.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod netns;
pub mod packet;
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use netns::Namespace;
pub use random::Random;
use tempfile::TempDir;

/// Fails unless the test runs as root.
///
/// # Panics
/// It does not.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces: run it as root (sudo -E make test)"
    );
}

/// Fails unless a program is in PATH; `remedy` says how it gets there.
///
/// # Panics
/// It is not.
pub fn require_tool(name: &str, remedy: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join(name).is_file()));
    assert!(found, "this test needs the program {name}: {remedy}");
}

/// A program of this workspace, as built beside the running test.
///
/// # Panics
/// It is not built.
pub fn bin(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    // Tests lie in target/HOST/release/deps. What `make build` made lies in target/release and comes first: another
    // build may be writing to target/HOST/release meanwhile, one program after the other.
    let directories: Vec<&Path> = test.ancestors().skip(1).take(4).collect();
    let mut places = directories
        .iter()
        .rev()
        .flat_map(|directory| [directory.join("release").join(name), directory.join(name)]);
    let found = places.find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built beside {}: run make build first", test.display()))
}

/// Copies a program to a place where it is executed.
///
/// Another process copies it: a child that another thread forks meanwhile would inherit the file, open for writing,
/// and until it executes its own program the kernel refuses to execute this one (ETXTBSY).
///
/// # Panics
/// It cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--").args([from, to]));
}

/// A directory with copies of programs of this workspace, which a test replaces while they run.
///
/// # Panics
/// One is not built, or cannot be copied.
pub fn copies(programs: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory for programs");
    for name in programs {
        copy_program(&bin(name), &directory.path().join(name));
    }
    directory
}

/// A program that the test cluster's build put into its cache, such as `cni/host-local`.
///
/// # Panics
/// It is not there.
pub fn reference(name: &str) -> PathBuf {
    let cache = std::env::var_os("MIDOKUBE_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/midonet-kube")));
    let path = cache.unwrap_or_default().join("bin").join(name);
    assert!(path.is_file(), "{} is not there: run tests/cluster/build first", path.display());
    path
}

/// A name that no other test of this machine has: at most 15 characters if the prefix has at most 4.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{}-{count}", std::process::id())
}

/// Waits until something holds.
///
/// # Panics
/// It does not within the deadline.
pub fn wait_until(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !holds() {
        assert!(Instant::now() < end, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command that must succeed, and gives what it printed.
///
/// # Panics
/// It cannot be started or fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
