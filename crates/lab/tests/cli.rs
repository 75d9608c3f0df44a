//! The program: what it says and how it ends. As root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

fn midokube_lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_midokube-lab")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn without_a_lab_down_succeeds_and_other_commands_name_the_remedy() {
    let run = |arguments: &[&str]| midokube_lab(&[&["--dir", "/nowhere"], arguments].concat());
    assert!(run(&["down"]).status.success());
    for arguments in [["status"].as_slice(), &["exec", "node1", "true"], &["pod", "add", "node1", "a"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("`midokube-lab --dir /nowhere up`"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_failed_up_leaves_nothing() {
    let binaries = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\n[ \"$1\" = install ] && exit 0\necho broken on purpose >&2\nexit 3\n";
    for name in ["midonet-kube-node", "midonet-kube-cni"] {
        let path = binaries.path().join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let dir = format!("/run/midokube-cli-test-{}", std::process::id());
    let output = midokube_lab(&["--dir", &dir, "demo", "--bin-dir", binaries.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("the agent of node1 has ended") && said.contains("broken on purpose"), "{said}");
    assert!(!Path::new(&dir).exists());
}

/// The record of a lab of which nothing runs.
fn lab() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let record = json!({
        "format": 1, "boot_id": "another", "family": "46", "cluster_cidrs": [], "binaries": "/", "agent_args": [],
        "fabric": null, "outside": null, "pods": [],
        "nodes": [{"name": "node1", "init": {"pid": 1, "start": 1}, "agent": null, "addresses": [], "pod_cidrs": []}],
    });
    fs::write(dir.path().join("lab.json"), record.to_string()).unwrap();
    dir
}

/// Every command that prints something and needs no running lab.
fn commands(lab: &TempDir) -> Vec<Command> {
    let mut commands = Vec::new();
    for format in ["table", "wide", "json", "yaml"] {
        commands.push(vec!["status", "-o", format]);
    }
    for words in ["--help", "--version", "help", "help exec", "demo --help", "--dir /nowhere down"] {
        commands.push(words.split(' ').collect());
    }
    let command = |arguments: Vec<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_midokube-lab"));
        if !arguments.contains(&"--dir") {
            command.arg("--dir").arg(lab.path());
        }
        command.args(arguments);
        command
    };
    commands.into_iter().map(command).collect()
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let lab = lab();
    for mut command in commands(&lab) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{command:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let lab = lab();
    for mut command in commands(&lab) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(said.contains("cannot write to standard output: No space left"), "{command:?}: {said}");
    }
}
