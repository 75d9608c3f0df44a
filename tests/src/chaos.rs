//! Killing the agent at any moment, and upgrading it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use lab::{Lab, Process};
use testkit::Random;

use crate::DEADLINE;

/// Kills an agent, and its next one while it starts, and has the last become ready.
///
/// # Errors
/// It cannot be killed, or does not become ready.
pub fn kill_and_restart(lab: &Lab, node: &str, random: &mut Random) -> Result<()> {
    let agent = || Ok::<_, anyhow::Error>(lab.state()?.node(node)?.agent);
    let kill = || agent()?.map_or(Ok(()), |agent| agent.kill(DEADLINE));
    kill()?;
    let early = Duration::from_millis(random.below(150));
    thread::scope(|scope| {
        let starting = scope.spawn(|| lab.start_agent(node));
        thread::sleep(early);
        let killed = kill();
        // Ready, if it was faster than the second kill.
        let _ended = starting.join();
        killed
    })?;
    // Or not yet started when it was to be killed.
    if agent()?.is_some_and(Process::alive) { Ok(()) } else { lab.start_agent(node) }
}

/// Puts another build of the agent in the place of the one in a directory, as an upgrade does: here by other bytes.
///
/// # Panics
/// It cannot be written.
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub fn replace_build(programs: &Path) {
    let agent = programs.join("midonet-kube-node");
    let mut bytes = fs::read(testkit::bin("midonet-kube-node")).unwrap();
    bytes.extend(b"another build");
    let new = programs.join("new");
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, &agent).unwrap();
}

/// The same with a build some of whose maps are others: here by their sizes, which these arguments set.
///
/// # Panics
/// It cannot be written.
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub fn replace_maps(programs: &Path, arguments: &str) {
    let agent = programs.join("midonet-kube-node");
    let build = programs.join("other-maps");
    fs::rename(&agent, &build).unwrap();
    let script = format!("#!/bin/sh\nexec {} {arguments} \"$@\"\n", build.display());
    fs::write(&agent, script).unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
}
