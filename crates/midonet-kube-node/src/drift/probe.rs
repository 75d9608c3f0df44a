//! Asks the kernel what keeps packets from where they should go, though all that the agent made is whole: others' rules,
//! routes and settings. What it finds is reported as problems; what is safe to repair, the
//! backend repairs.

use std::time::Duration;

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use plumbing::probe::{Fault, Probe};
use tokio::time::Instant;
use tracing::warn;

use crate::agent::Agent;
use crate::backend::midonet;
use crate::problems::{Origin, Problem};
use crate::proxy::beside::Beside;

/// The least time between two probes.
const GAP: Duration = Duration::from_secs(1);

/// So many times as long as the last probe took of a processor there is none: with large tables of routes and rules it takes long.
/// Time that it waited for a processor does not count: a fault is to be noticed on a busy node, too.
const REST: u32 = 200;

/// The most time between two probes.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// Asks, but never too often.
#[derive(Debug, Default)]
pub struct Prober {
    probe: Probe,
    /// `None`: kube-proxy is meant to be there.
    beside: Option<Beside>,
    next: Option<Instant>,
    /// Whether something may have changed that was not probed.
    skipped: bool,
}

impl Prober {
    /// One that looks for kube-proxy, too, if this agent serves Services.
    pub fn new(serves_services: bool) -> Self {
        Self { beside: serves_services.then(Beside::default), ..Self::default() }
    }

    /// When a probe that was left out has to be made up for.
    pub fn wants(&self) -> Option<std::time::Instant> {
        self.next.filter(|_| self.skipped).map(Instant::into_std)
    }

    /// Probes, unless it did so just before, and replaces the problems that were found then. To be called whenever
    /// something may have changed, and now and then.
    pub async fn run(&mut self, agent: &Agent) {
        let start = Instant::now();
        self.skipped = self.next.is_some_and(|next| start < next);
        if self.skipped {
            return;
        }
        let (mut probe, mut beside) = (std::mem::take(&mut self.probe), self.beside.take());
        let probed = agent.blocking(move |agent| {
            let before = processor_time();
            let found = ask(agent, &mut probe);
            let kube_proxy = beside.as_mut().map(Beside::look);
            Ok((probe, beside, found, kube_proxy, processor_time().saturating_sub(before)))
        });
        let (found, kube_proxy, took) = match probed.await {
            Ok((probe, beside, found, kube_proxy, took)) => {
                (self.probe, self.beside) = (probe, beside);
                (found, kube_proxy, took)
            }
            Err(error) => (Err(error), None, Duration::ZERO),
        };
        match kube_proxy {
            Some(Ok(problems)) => agent.set_problems(Origin::KubeProxy, problems),
            Some(Err(error)) => warn!(error = format!("{error:#}"), "cannot look for kube-proxy"),
            None => {}
        }
        self.next = Some(Instant::now() + (took * REST).clamp(GAP, LONGEST_GAP));
        match found {
            Ok(faults) => agent.set_problems(Origin::Probe, faults.into_iter().map(problem).collect()),
            Err(error) => {
                warn!(error = format!("{error:#}"), "cannot ask the kernel what becomes of Pods' packets");
            }
        }
    }
}

/// What this thread had of a processor so far; zero, if the kernel does not tell.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn ask(agent: &Agent, probe: &mut Probe) -> Result<Vec<Fault>> {
    let peers = agent.peers().into_iter().map(|(name, peer)| (name.to_string(), peer.tunnel_address));
    let Some(question) = agent.backend().question(peers.collect()) else { return Ok(Vec::new()) };
    let mut faults = probe.faults(&question)?;
    if agent.packets().is_err() {
        faults.retain(midonet::concerns);
    }
    Ok(faults)
}

fn problem(Fault { what, object, problem, remedy }: Fault) -> Problem {
    Problem { what, object, problem, remedy }
}
