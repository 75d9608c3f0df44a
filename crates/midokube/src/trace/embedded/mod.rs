//! An embedded network: each node that the packet comes to judges it by its own programs and tables.

mod ask;
mod hop;
mod path;
#[cfg(test)]
mod tests;
mod walk;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail};

pub(in crate::trace) use self::ask::{Agents, Cluster};
pub(crate) use self::hop::{HopArgs, run_hop};
use self::path::Path;
pub(in crate::trace) use self::walk::{Ask, Found};
use self::walk::{Start, walk};
use super::args::{Packet, Place, Target};
use super::view::{End, View};
use crate::agent::Agent;
use crate::nodes::Nodes;

/// Asks the agents at the sockets.
///
/// # Errors
/// None of them knows who sends, or to whom.
pub(super) fn of_agents(agents: Vec<Agent>, packet: &Packet) -> Result<View<Path>> {
    trace(Agents::new(agents)?, packet)
}

/// Asks the agents of a cluster.
///
/// # Errors
/// The API server does not answer, or there is no such Pod or Service.
pub(super) fn of_nodes(nodes: &Nodes, timeout: Duration, packet: &Packet) -> Result<View<Path>> {
    trace(Cluster::new(nodes, timeout), packet)
}

fn trace(mut ask: impl Ask, packet: &Packet) -> Result<View<Path>> {
    let (node, sources) = ask.home(&packet.from)?;
    let (name, targets) = match &packet.to {
        Target::Address(address) => (address.to_string(), vec![*address]),
        Target::Service(service) => (format!("Service {service}"), ask.find(&node, &packet.to)?.addresses),
        Target::Place(place) => (place.to_string(), ask.find(&node, &packet.to)?.addresses),
    };
    let address = choose(packet, &sources, &name, &targets)?;
    let start = Start {
        node,
        pod: match &packet.from {
            Place::Pod(name) => Some(name.clone()),
            Place::Node(_) => None,
        },
        destination: address,
        port: packet.port.clone(),
        source_port: packet.source_port.unwrap_or_default(),
    };
    let walked = walk(&mut ask, &start)?;
    let ends = [End { name: packet.from.to_string(), address: walked.source }, End { name, address }];
    Ok(View::new("embedded", ends, &packet.port, walked.parts, walked.outcome, Vec::new()))
}

/// The address of the target `name` that a packet is for.
///
/// # Errors
/// They have no family in common that the packet may be of.
pub(in crate::trace) fn choose(
    packet: &Packet,
    sources: &[IpAddr],
    name: &str,
    targets: &[IpAddr],
) -> Result<IpAddr> {
    let is_wanted = |address| packet.family.is_none_or(|family| family.has(address));
    let Some(address) = common(sources, targets, is_wanted) else {
        bail!(
            "{} and {name} have no addresses of one family{}",
            packet.from,
            match packet.family {
                Some(_) => " that --family allows",
                None => "",
            }
        )
    };
    Ok(address)
}

/// The first target of a family that the source has, too; of a source whose addresses are not known, the first.
fn common(sources: &[IpAddr], targets: &[IpAddr], wanted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let fits = |target: &IpAddr| {
        sources.is_empty() || sources.iter().any(|source| source.is_ipv4() == target.is_ipv4())
    };
    targets.iter().copied().find(|target| wanted(*target) && fits(target))
}
