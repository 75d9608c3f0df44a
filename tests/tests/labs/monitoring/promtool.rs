//! promtool, as `tests/promtool` gets it. Without one, tests fail and say what to do.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::documents::repository;
use serde_json::Value;

/// Runs promtool in that directory, gives it this input, and takes no complaint.
pub(super) fn promtool(arguments: &[&str], directory: Option<&Path>, input: &str) {
    let mut command = Command::new(repository().join("tests/promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn().unwrap();
    let input = input.to_owned();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without reading everything; then its words say why.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {}\n{}{}", output.status, said[0], said[1]);
}

/// Has promtool run tests, beside a file `rules.yaml` with these rules.
pub(super) fn tests_pass(rules: &str, tests: &Value) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yaml"), rules).unwrap();
    // JSON is YAML.
    std::fs::write(directory.path().join("tests.yaml"), tests.to_string()).unwrap();
    promtool(&["test", "rules", "tests.yaml"], Some(directory.path()), "");
}
