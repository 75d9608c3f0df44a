//! Killing the agent at any moment.

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
