//! The product executes no process but other CNI plugins: an IPAM plugin, and portmap for a Pod with a hostPort.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::TestLab;
use lab::{Family, Target};

/// A directory in which every program is started under strace, which notes what it executes.
fn traced(programs: &Path, notes: &Path) -> tempfile::TempDir {
    testkit::require_tool("strace", "apt-get install strace");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(notes).unwrap();
    for name in ["midonet-kube-node", "midonet-kube-cni"] {
        let wrapper = directory.path().join(name);
        let text = format!(
            "#!/bin/sh\nexec strace -f -qq -e trace=execve,execveat -o {}/{name}.$$ {} \"$@\"\n",
            notes.display(),
            programs.join(name).display()
        );
        std::fs::write(&wrapper, text).unwrap();
        std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    }
    directory
}

/// The programs that were executed, by file name, without the traced ones themselves.
fn executed(notes: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for note in std::fs::read_dir(notes).unwrap() {
        let text = std::fs::read_to_string(note.unwrap().path()).unwrap();
        all.extend(text.lines().filter(|line| line.contains("exec")).map(|line| {
            let path = line.split('"').nth(1).unwrap_or(line);
            path.rsplit('/').next().unwrap().to_owned()
        }));
    }
    all
}

#[test]
fn nothing_is_executed_but_other_plugins() {
    let notes = tempfile::tempdir().unwrap();
    let wrappers = traced(&e2e::programs(), notes.path());
    let lab = TestLab::with_programs(2, Family::Dual, &[], wrappers.path()).unwrap();
    // The agent installed the plugin that lies beside it, not the wrapper.
    let wrapper = wrappers.path().join("midonet-kube-cni");
    let installed = "/opt/cni/bin/midonet-kube-cni";
    lab.stdout(&Target::Node("node1".into()), "cp", &[wrapper.to_str().unwrap(), installed]).unwrap();
    let pod = lab.add_pod("node1", "default", "a").unwrap();
    lab.check_pod(&pod.key).unwrap();
    lab.delete_pod(&pod.key).unwrap();
    drop(lab);

    let mut programs = executed(notes.path());
    assert!(programs.len() >= 5, "two agents and three calls of the plugin were traced: {programs:?}");
    programs.sort();
    programs.dedup();
    assert_eq!(programs, ["midonet-kube-cni", "midonet-kube-node"]);
}
