//! What `midokube doctor` asks of each node: whether packets come through to the others.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use nodeapi::v1;
use nodeapi::v1::paths_server::Paths;
use tonic::{Request, Response, Status};

use super::answers::internal;
use super::turn::Turn;
use crate::agent::Agent;
use crate::paths::{self, Answers, Kind, Outcome, Probe, Probed, Target};

/// How long a call may wait for others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves [`Paths`]. One call is answered at a time.
#[derive(Debug)]
pub struct PathsService {
    agent: Agent,
    turn: Turn,
}

impl PathsService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent, turn: Turn::new("paths", PATIENCE) }
    }
}

#[tonic::async_trait]
impl Paths for PathsService {
    async fn probe_paths(
        &self,
        request: Request<v1::ProbePathsRequest>,
    ) -> Result<Response<v1::ProbePathsReply>, Status> {
        let limit = match request.into_inner().limit as usize {
            0 => paths::LIMIT,
            some => some.min(paths::LIMIT),
        };
        self.turn.answer(&self.agent, move |agent| probe(agent, limit)).await
    }
}

fn probe(agent: &Agent, limit: usize) -> Result<v1::ProbePathsReply, Status> {
    let status = agent.backend().status();
    let Some(network) = status.network else {
        return Err(Status::failed_precondition("there is no network yet: see `midokube status`"));
    };
    let peers = agent.peers();
    let addresses = network.local.node_addresses.iter().map(ipnet::IpNet::addr);
    let asked: Vec<_> =
        addresses.map(|address| (address, paths::targets(agent.node_name(), address, &peers))).collect();
    let nonce = u64::try_from(now().as_nanos()).unwrap_or_default();
    // Families do not wait for each other.
    let probed: Vec<Result<Probed>> = thread::scope(|scope| {
        let mtu = network.mtu;
        let start = |(from, targets): (IpAddr, Vec<Target>)| {
            scope.spawn(move || paths::probe(from, mtu, &targets, limit, nonce))
        };
        let running: Vec<_> = asked.into_iter().map(start).collect();
        let end = |one: thread::ScopedJoinHandle<'_, plumbing::Result<Probed>>| {
            Ok(one.join().map_err(|_| anyhow!("probing paths panicked"))??)
        };
        running.into_iter().map(end).collect()
    });
    let (mut all, mut heard) = (Vec::new(), BTreeSet::new());
    for one in probed {
        let mut one = one.map_err(|error| internal(&error))?;
        all.extend(one.probes.iter().map(message));
        heard.append(&mut one.heard);
    }
    Ok(v1::ProbePathsReply {
        paths: all,
        heard: heard.into_iter().collect(),
        peers: peers.len().try_into().unwrap_or(u32::MAX),
        now_unix_ms: u64::try_from(now().as_millis()).unwrap_or_default(),
    })
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn message(probe: &Probe) -> v1::PathProbe {
    let answer = |kind| Some(answer(&probe.answers, kind));
    v1::PathProbe {
        node: probe.target.node.clone(),
        family: probe.target.family().to_owned(),
        large_bytes: probe.large,
        plain: answer(Kind::Plain),
        checksummed: answer(Kind::Checksummed),
        unchecked: answer(Kind::Unchecked),
        listens: probe.listens,
    }
}

fn answer(answers: &Answers, kind: Kind) -> v1::PathAnswer {
    let (outcome, mtu, problem) = match answers.get(kind) {
        Some(Outcome::Answered) => ("answered", 0, String::new()),
        Some(Outcome::TooBig(mtu)) => ("too_big", *mtu, String::new()),
        Some(Outcome::Refused(problem)) => ("refused", 0, problem.clone()),
        None => ("lost", 0, String::new()),
    };
    v1::PathAnswer { outcome: outcome.to_owned(), mtu, problem }
}
