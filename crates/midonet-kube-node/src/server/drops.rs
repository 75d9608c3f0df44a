//! What `midokube drops` shows: the datapath's table of drops, with the names of Pods, nodes, Services, rules and interfaces.

mod filter;
mod message;
mod row;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use datapath::drops::Drop;
use nodeapi::v1;
use nodeapi::v1::drops_server::Drops;
use plumbing::link;
use tonic::{Request, Response, Status};

use self::filter::{Filter, LARGEST_LIMIT as LARGEST};
use self::message::message;
use self::row::Row;
use super::answers::internal;
use super::near;
use super::turn::Turn;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::ends::{self, Who};
use crate::policies::Policies;

/// How long a call may wait for others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves [`Drops`]. One call is answered at a time: the table can take tens of MiB.
#[derive(Debug)]
pub struct DropsService {
    agent: Agent,
    turn: Turn,
}

impl DropsService {
    /// A service for this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent, turn: Turn::new("drops", PATIENCE) }
    }
}

#[tonic::async_trait]
impl Drops for DropsService {
    async fn list_drops(
        &self,
        request: Request<v1::ListDropsRequest>,
    ) -> Result<Response<v1::ListDropsReply>, Status> {
        let request = request.into_inner();
        self.turn.answer(&self.agent, move |agent| list(agent, &request)).await
    }
}

fn list(agent: &Agent, request: &v1::ListDropsRequest) -> Result<v1::ListDropsReply, Status> {
    let packets = agent.packets()?;
    let (filter, limit) = Filter::read(request)?;
    let clock = Clock::now();
    let policies = agent.policies();
    let mut drops = packets.drops().map_err(|error| internal(&error))?;
    drops.retain(|drop| filter.matches(drop, clock.uptime));
    drops.sort_unstable_by_key(|drop| {
        Reverse((drop.last, drop.packets, drop.source, drop.destination, drop.port))
    });
    if !filter.is_of_pods() {
        let matching = drops.len() as u64;
        drops.truncate(limit);
        return Ok(reply(named(agent, &drops), matching, policies, clock));
    }
    let mut rows = named(agent, &drops);
    rows.retain(|row| filter.matches_pods(row));
    if rows.is_empty()
        && let Some(pod) = filter.unknown_pod(|key| policies.is_some_and(|all| all.pod(key).is_some()))
    {
        return Err(Status::not_found(format!(
            "there is no Pod {pod} with addresses of its own, and no drop that is known to be its: filter by its address{}",
            near::pod(agent, pod.namespace().unwrap_or_default(), pod.name())
        )));
    }
    let matching = rows.len() as u64;
    rows.truncate(limit);
    Ok(reply(rows, matching, policies, clock))
}

/// The rows that had a packet in so much time, as messages: as many as a call returns at most, those seen last.
pub(super) fn since(agent: &Agent, since: Option<Duration>) -> Result<Vec<v1::Drop>, Status> {
    let since_seconds = since.map_or(0, |since| since.as_secs());
    let request = v1::ListDropsRequest { since_seconds, limit: LARGEST, ..v1::ListDropsRequest::default() };
    Ok(list(agent, &request)?.drops)
}

/// Rows as messages, in their order.
pub(super) fn messages(agent: &Agent, drops: &[Drop]) -> Vec<v1::Drop> {
    reply(named(agent, drops), 0, agent.policies(), Clock::now()).drops
}

/// The rows with the names of their ends.
fn named(agent: &Agent, drops: &[Drop]) -> Vec<Row> {
    let services = ends::services_of(agent, drops);
    let rows = drops.iter().zip(ends::of(agent, drops));
    let row = |(drop, [source, destination]): (&Drop, [Option<Who>; 2])| {
        let served = drop.destination.and_then(|address| services.get(&(address, drop.port, drop.protocol)));
        Row { drop: *drop, source, destination, endpoint_of: served.cloned().unwrap_or_default() }
    };
    rows.map(row).collect()
}

fn reply(rows: Vec<Row>, matching: u64, policies: Option<&Policies>, clock: Clock) -> v1::ListDropsReply {
    let rules = rows.iter().map(|row| policy::RuleId(row.drop.rule));
    let names = policies.map_or_else(|| vec![None; rows.len()], |policies| policies.rules_of(rules));
    let interfaces: BTreeSet<u32> = rows.iter().map(|row| row.drop.interface).collect();
    let interfaces: BTreeMap<u32, String> =
        interfaces.into_iter().filter_map(|index| Some((index, link::name_of(index)?))).collect();
    let drops = rows.into_iter().zip(names).map(|(row, name)| {
        let interface = interfaces.get(&row.drop.interface).map(String::as_str);
        message(row, name.as_deref(), interface, clock)
    });
    v1::ListDropsReply { drops: drops.collect(), matching }
}

#[cfg(test)]
#[path = "drops/tests.rs"]
mod tests;
