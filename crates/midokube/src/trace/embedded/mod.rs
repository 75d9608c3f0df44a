//! An embedded network: each node that the packet comes to judges it by its own programs and tables.

mod ask;
mod hop;
mod path;
#[cfg(test)]
mod tests;
mod walk;

use std::net::IpAddr;

use anyhow::{Result, bail};

use self::ask::{Agents, Cluster};
pub(crate) use self::hop::{HopArgs, run_hop};
use self::path::Path;
use self::walk::{Ask, Start, walk};
use super::args::{Place, Target, TraceArgs};
use super::view::{End, View};
use crate::nodes::Nodes;

/// Asks the agents at the sockets.
///
/// # Errors
/// None of them knows who sends, or to whom.
pub(super) fn of_agents(args: &TraceArgs) -> Result<View<Path>> {
    trace(Agents::new(args.agents())?, args)
}

/// Asks the agents of a cluster.
///
/// # Errors
/// The API server does not answer, or there is no such Pod or Service.
pub(super) fn of_nodes(nodes: &Nodes, args: &TraceArgs) -> Result<View<Path>> {
    trace(Cluster::new(nodes, args.timeout), args)
}

fn trace(mut ask: impl Ask, args: &TraceArgs) -> Result<View<Path>> {
    let (node, sources) = ask.home(&args.from)?;
    let (name, targets) = match &args.to {
        Target::Address(address) => (address.to_string(), vec![*address]),
        Target::Service(service) => (format!("Service {service}"), ask.find(&node, &args.to)?),
        Target::Place(place) => (place.to_string(), ask.find(&node, &args.to)?),
    };
    let address = common(&sources, &targets, |address| args.family.is_none_or(|family| family.has(address)));
    let Some(address) = address else {
        bail!(
            "{} and {name} have no addresses of one family{}",
            args.from,
            match args.family {
                Some(_) => " that --family allows",
                None => "",
            }
        )
    };
    let start = Start {
        node,
        pod: match &args.from {
            Place::Pod(name) => Some(name.clone()),
            Place::Node(_) => None,
        },
        destination: address,
        port: args.port.clone(),
        source_port: args.source_port.unwrap_or_default(),
    };
    let walked = walk(&mut ask, &start)?;
    let ends = [End { name: args.from.to_string(), address: walked.source }, End { name, address }];
    Ok(View::new("embedded", ends, &args.port, walked.parts, walked.outcome, Vec::new()))
}

/// The first target of a family that the source has, too; of a source whose addresses are not known, the first.
fn common(sources: &[IpAddr], targets: &[IpAddr], wanted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let fits = |target: &IpAddr| {
        sources.is_empty() || sources.iter().any(|source| source.is_ipv4() == target.is_ipv4())
    };
    targets.iter().copied().find(|target| wanted(*target) && fits(target))
}
