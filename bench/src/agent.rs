//! The agent's process on a node of a lab: when it is ready, and what it takes.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Lab, Target};

use crate::http;
use crate::machine::{field, kibibytes};

/// An agent that is not ready by then never is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts it: seconds until it is ready.
pub(crate) fn start(lab: &Lab, node: &str) -> Result<f64> {
    let netns = lab.netns(&Target::Node(node.to_owned()))?;
    let begin = Instant::now();
    lab.start_agent(node)?;
    while http::get(&netns, "/readyz")?.is_none() {
        ensure!(begin.elapsed() < PATIENCE, "the agent is not ready after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// A figure of its memory (proc_pid_status(5)), in MiB.
pub(crate) fn memory(lab: &Lab, node: &str, name: &str) -> Result<f64> {
    let path = format!("/proc/{}/status", pid(lab, node)?);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = field(&text, name).and_then(|value| kibibytes(&value));
    let kib = u32::try_from(kib.with_context(|| format!("{path} has no {name}"))?)?;
    Ok(f64::from(kib) / 1024.0)
}

/// How long its threads have run (Documentation/scheduler/sched-stats.rst).
pub(crate) fn cpu(lab: &Lab, node: &str) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{}/task", pid(lab, node)?))? {
        // A thread may end meanwhile.
        let schedule = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let ran = schedule.split_whitespace().next().and_then(|ran| ran.parse().ok());
        sum += Duration::from_nanos(ran.unwrap_or(0));
    }
    Ok(sum)
}

/// The value of a series of its metrics.
pub(crate) fn metric(lab: &Lab, node: &str, series: &str) -> Result<f64> {
    let page = http::get(&lab.netns(&Target::Node(node.to_owned()))?, "/metrics")?;
    let page = page.context("the agent has no metrics")?;
    http::metric(&page, series).with_context(|| format!("the agent has no series {series}"))
}

fn pid(lab: &Lab, node: &str) -> Result<i32> {
    Ok(lab.state()?.node(node)?.agent.context("the agent does not run")?.pid)
}
