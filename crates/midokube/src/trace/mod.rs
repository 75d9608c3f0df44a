//! Where a packet goes, and its reply: judged by the programs and tables of the nodes that it comes to, or simulated where a
//! MidoNet is the network. Nothing is sent.

mod args;
mod embedded;
mod live;
mod midonet;
mod text;
mod view;

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;
use terminal::output;

use crate::agent::Agent;
use crate::nodes::Nodes;
pub(crate) use args::{HELP, Packet, Place, TraceArgs};
pub(crate) use embedded::{HopArgs, run_hop};
use view::{Outcome, View};

/// The exit status of a packet that does not arrive, or has no reply.
const LOST: u8 = 4;

/// That of one of which it is not known.
const UNKNOWN: u8 = 1;

/// Traces and prints. A cluster whose objects have been translated for a MidoNet has its network.
pub(crate) fn run(args: &TraceArgs) -> Result<ExitCode> {
    if args.cluster.this_node {
        if args.live {
            let mut agents = embedded::Agents::new(args.sockets.agents())?;
            let mut follow = live::Agents(agents.by_node().clone());
            return live::run(args, &mut agents, &mut follow);
        }
        return show(args, &embedded::of_agents(args.sockets.agents(), &args.packet)?);
    }
    let timeout = args.sockets.timeout;
    let nodes = Nodes::new(&args.cluster.kubernetes, timeout)?;
    if midonet::is_there(&nodes)? {
        if args.live {
            bail!(
                "a MidoNet carries this cluster's packets: --live cannot follow them; MidoNet's own flow tracing can"
            );
        }
        return show(args, &midonet::trace(&nodes, &args.packet)?);
    }
    if args.live {
        let mut follow = live::Cluster::new(&nodes, timeout);
        return live::run(args, &mut embedded::Cluster::new(&nodes, timeout), &mut follow);
    }
    show(args, &embedded::of_nodes(&nodes, timeout, &args.packet)?)
}

/// What becomes of a packet, as programs get it: by the agents at some sockets.
///
/// # Errors
/// None of them knows who sends, or to whom.
pub(crate) fn document_of_agents(agents: Vec<Agent>, packet: &Packet) -> Result<Value> {
    document(&embedded::of_agents(agents, packet)?)
}

/// The same by the nodes of a cluster.
///
/// # Errors
/// The API server does not answer, or there is no such Pod or Service.
pub(crate) fn document_of_nodes(nodes: &Nodes, timeout: Duration, packet: &Packet) -> Result<Value> {
    if midonet::is_there(nodes)? {
        return document(&midonet::trace(nodes, packet)?);
    }
    document(&embedded::of_nodes(nodes, timeout, packet)?)
}

/// What a trace says, for who asks why something does not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether the packet arrives, and its reply; `None`: a node on the path did not tell.
    pub(crate) answered: Option<bool>,
    pub(crate) why: String,
    /// What to do about it; may be empty.
    pub(crate) remedy: String,
    /// What was done with the packet: the node, the stage and what it did, of each. Nothing where a MidoNet is the network.
    pub(crate) steps: Vec<[String; 3]>,
}

/// What becomes of a packet, in short: by the nodes of a cluster.
///
/// # Errors
/// As of [`document_of_nodes`].
pub(crate) fn tell(nodes: &Nodes, timeout: Duration, packet: &Packet) -> Result<Told> {
    if midonet::is_there(nodes)? {
        return Ok(told(midonet::trace(nodes, packet)?.outcome, Vec::new()));
    }
    let view = embedded::of_nodes(nodes, timeout, packet)?;
    // Those of the reply have nothing to do with who gets the packet.
    let steps = view.parts.first().into_iter().flat_map(|part| part.trace.steps());
    let steps = steps.map(|step| step.map(str::to_owned)).collect();
    Ok(told(view.outcome, steps))
}

fn told(outcome: Outcome, steps: Vec<[String; 3]>) -> Told {
    let Outcome { answered, why, remedy, unknown, .. } = outcome;
    Told { answered: (!unknown).then_some(answered), why, remedy, steps }
}

/// A path also has its lines for people: what it is depends on the network.
fn document<T: Display + Serialize>(view: &View<T>) -> Result<Value> {
    let mut document = serde_json::to_value(view)?;
    let parts = document.get_mut("parts").and_then(Value::as_array_mut);
    for (part, of) in parts.into_iter().flatten().zip(&view.parts) {
        let text = of.trace.to_string();
        if let Some(part) = part.as_object_mut() {
            part.insert("lines".to_owned(), text.lines().collect());
        }
    }
    Ok(document)
}

fn show<T: Display + Serialize>(args: &TraceArgs, view: &View<T>) -> Result<ExitCode> {
    output::write(&args.output.text(view, |view, _| text::text(view))?)?;
    Ok(match (&view.outcome.unknown, view.is_answered()) {
        (true, _) => ExitCode::from(UNKNOWN),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(LOST),
    })
}
