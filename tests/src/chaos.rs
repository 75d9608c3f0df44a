//! Chance, and what it is used for: killing the agent at any moment.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use lab::{Lab, Process};

use crate::DEADLINE;

/// Numbers that look random (xorshift64*), always the same after the same seed: a failure can be tried again.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The seed of everything random, or one that follows from it.
    pub fn new(variant: u64) -> Self {
        Self(0x6d69_646f_6b75_6265 ^ (variant << 32))
    }

    /// Any number below the limit, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// Whether a thing of that probability happens.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

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
