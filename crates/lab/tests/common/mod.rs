//! What the tests of labs share.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use lab::{Family, Guard, Lab, Options, Target};

pub(crate) fn options(nodes: u8, family: Family) -> Options {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Below /run on purpose: every machine hides that, and must see this directory nevertheless.
    let dir = PathBuf::from(format!("/run/lab-test-{}-{number}", std::process::id()));
    Options { dir, nodes, family, agents: false, ..Options::default() }
}

pub(crate) fn up(nodes: u8, family: Family) -> Guard {
    Lab::up(&options(nodes, family), &mut |_| {}).unwrap().guarded()
}

pub(crate) fn output(lab: &Lab, target: &Target, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    let child = lab.enter(target, command.args(args).stdout(Stdio::piped())).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
