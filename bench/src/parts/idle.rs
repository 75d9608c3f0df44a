//! What the agent costs a node on which nothing happens.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Family, Lab};

use crate::context::Bench;
use crate::results::{Better, Part, Table};

const NODE: &str = "node1";

/// How many Pods the node has.
const PODS: [usize; 2] = [0, 30];

/// After Pods were added the agent annotates them, and detects drift.
const SETTLE: Duration = Duration::from_secs(10);

/// How long a round takes: what the agent does every half minute is in each as often, and what it does every minute once.
const ROUND: Duration = Duration::from_secs(60);

/// Of this part alone, since each round is long.
const MOST_ROUNDS: usize = 5;

const CPU: &str = "idle/cpu";
const SWITCHES: &str = "idle/wake-ups";

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("idle", "The agent of a node on which nothing happens");
    part.note(
        "Two nodes, IPv4 and IPv6; objects from a directory of manifests. The figures are of all threads of the agent's \
         process. CPU: the time that they ran (schedstat), for each minute. Wake-ups: how often they stopped waiting \
         (voluntary context switches), for each second. Of rounds there are 5 at most, of a minute each.",
    );
    part.tables.push(Table::new(CPU, "CPU of an idle agent", "ms/min", Better::Lower, ""));
    part.tables.push(Table::new(SWITCHES, "wake-ups of an idle agent", "1/s", Better::Lower, ""));
    bench.progress.step("idle: nodes");
    let lab = bench.lab("idle", Family::Dual, 2, true)?;
    let mut there = 0;
    for pods in PODS {
        let case = format!("{pods} Pods");
        part.case(&case, "the node has so many Pods, which send nothing");
        while there < pods {
            bench.check()?;
            lab.add_pod(NODE, "bench", &format!("pod-{there}"))?;
            there += 1;
        }
        wait(bench, SETTLE)?;
        let rounds = bench.rounds.min(MOST_ROUNDS);
        for round in 1..=rounds {
            bench.progress.step(&format!("idle: {case}, round {round} of {rounds}"));
            let (before, start) = (Threads::read(&lab)?, Instant::now());
            wait(bench, ROUND)?;
            let (after, took) = (Threads::read(&lab)?, start.elapsed().as_secs_f64());
            let used = after.since(&before);
            part.record(CPU, &case, used.cpu.as_secs_f64() * 1e3 * 60.0 / took)?;
            part.record(SWITCHES, &case, f64::from(u32::try_from(used.switches)?) / took)?;
        }
    }
    Ok(part)
}

/// Sleeps, but not on when the run is interrupted.
fn wait(bench: &Bench, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        bench.check()?;
        thread::sleep(Duration::from_millis(200).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// What threads used since they were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    cpu: Duration,
    switches: u64,
}

/// The agent's threads, by number.
struct Threads(BTreeMap<String, Used>);

impl Threads {
    fn read(lab: &Lab) -> Result<Self> {
        let agent = lab.state()?.node(NODE)?.agent.context("the agent does not run")?;
        let tasks = format!("/proc/{}/task", agent.pid);
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            let directory = entry?.path();
            let read = |name: &str| fs::read_to_string(directory.join(name));
            // One that ended meanwhile has no files.
            let (Ok(status), Ok(schedule)) = (read("status"), read("schedstat")) else { continue };
            threads.insert(directory.display().to_string(), used(&status, &schedule)?);
        }
        ensure!(!threads.is_empty(), "the agent has no threads");
        Ok(Self(threads))
    }

    /// What all threads used since then. Of one that ended in between only that counts which it had used before.
    fn since(&self, before: &Self) -> Used {
        let mut sum = Used::default();
        for (thread, used) in &self.0 {
            let then = before.0.get(thread).copied().unwrap_or_default();
            sum.cpu += used.cpu.saturating_sub(then.cpu);
            sum.switches += used.switches.saturating_sub(then.switches);
        }
        sum
    }
}

/// From a thread's `status` (proc_pid_status(5)) and `schedstat` (Documentation/scheduler/sched-stats.rst).
fn used(status: &str, schedule: &str) -> Result<Used> {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    let switches = line.context("status has no voluntary_ctxt_switches")?.trim().parse()?;
    let cpu = schedule.split_whitespace().next().context("schedstat is empty: is CONFIG_SCHED_INFO off?")?;
    Ok(Used { cpu: Duration::from_nanos(cpu.parse()?), switches })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_figures_are_read() {
        let status = "Name:\tfiles\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t3\n";
        let wanted = Used { cpu: Duration::from_micros(1500), switches: 17 };
        assert_eq!(used(status, "1500000 20 5\n").unwrap(), wanted);
        assert!(used("Name:\tfiles\n", "1 2 3").is_err() && used(status, "").is_err());
    }

    #[test]
    fn threads_that_are_new_count_whole() {
        let threads = |figures: &[(&str, u64)]| {
            let used = |switches| Used { cpu: Duration::from_millis(switches), switches };
            Threads(figures.iter().map(|(name, switches)| ((*name).to_owned(), used(*switches))).collect())
        };
        let before = threads(&[("1", 10), ("2", 5)]);
        let used = threads(&[("1", 12), ("3", 4)]).since(&before);
        assert_eq!(used, Used { cpu: Duration::from_millis(6), switches: 6 });
    }
}
