//! Trying paths: a few threads, each path by TCP, UDP and ICMP echo from inside its namespace.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::probe::{self, EchoServer};
use lab::{Lab, State};
use terminal::output::explain;

use super::paths::{self, Path};

/// How long one protocol may take on one path. A working path takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(5);

/// Paths tried at the same time: they mostly wait when something is wrong.
const AT_ONCE: usize = 8;

/// What became of a path: why it does not work, empty when it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) path: Path,
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    pub(crate) fn works(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Answers everywhere in the lab until the servers are dropped.
pub(crate) fn serve(lab: &Lab, state: &State) -> Result<Vec<EchoServer>> {
    let places = paths::servers(state)?;
    places.iter().map(|(place, addresses)| EchoServer::start(&lab.netns(place)?, addresses)).collect()
}

/// Tries every path; `done` hears how many are.
pub(crate) fn check(
    lab: &Lab,
    paths: &[Path],
    cancelled: &AtomicBool,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Outcome>> {
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !cancelled.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = paths.get(index) else { break };
                    let problems = try_path(lab, path);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((index, Outcome { path: path.clone(), problems }));
                    }
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    ensure!(!cancelled.load(Ordering::Relaxed), "interrupted");
    let Ok(mut outcomes) = outcomes.into_inner() else { bail!("a thread that tried paths panicked") };
    ensure!(outcomes.len() == paths.len(), "only {} of {} paths were tried", outcomes.len(), paths.len());
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

fn try_path(lab: &Lab, path: &Path) -> Vec<String> {
    let netns = match lab.netns(&path.from) {
        Ok(netns) => netns,
        Err(error) => return vec![explain(&error)],
    };
    let mut results = Vec::new();
    if path.has_ports() {
        results
            .push(probe::tcp_echo(&netns, path.address, DEADLINE).and_then(|seen| source("TCP", path, seen)));
        results
            .push(probe::udp_echo(&netns, path.address, DEADLINE).and_then(|seen| source("UDP", path, seen)));
    }
    results.push(probe::ping(&netns, path.address, DEADLINE).map(drop));
    results.into_iter().filter_map(Result::err).map(|error| explain(&error)).collect()
}

fn source(protocol: &str, path: &Path, seen: IpAddr) -> Result<()> {
    let allowed = || path.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    path.sources
        .contains(&seen)
        .then_some(())
        .with_context(|| format!("{protocol}: the other end saw source {seen} instead of {}", allowed()))
}
