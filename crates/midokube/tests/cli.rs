//! The program as people meet it: what it says and how it ends. As root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Output};

fn midokube(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_midokube")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn down_without_a_lab_is_success_and_everything_else_says_what_to_do() {
    let nowhere = ["lab", "--dir", "/nowhere"];
    let run = |arguments: &[&str]| midokube(&[nowhere.as_slice(), arguments].concat());
    assert!(run(&["down"]).status.success());
    for arguments in [["status"].as_slice(), &["exec", "node1", "true"], &["pod", "add", "node1", "a"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("`midokube lab --dir /nowhere up`"),
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
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let dir = format!("/run/midokube-cli-test-{}", std::process::id());
    let output = midokube(&["lab", "--dir", &dir, "demo", "--bin-dir", binaries.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("the agent of node1 has ended") && said.contains("broken on purpose"), "{said}");
    assert!(!Path::new(&dir).exists());
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = midokube(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("midokube"));
    }
}
