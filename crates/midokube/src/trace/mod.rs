//! Where a packet goes, and its reply: judged by the programs and tables of the nodes that it comes to, or simulated where a
//! MidoNet is the network. Nothing is sent.

mod args;
mod embedded;
mod midonet;
mod text;
mod view;

use std::fmt::Display;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use terminal::output;

use crate::nodes::Nodes;
pub(crate) use args::{HELP, TraceArgs};
pub(crate) use embedded::{HopArgs, run_hop};
use view::View;

/// The exit status of a packet that does not arrive, or has no reply.
const LOST: u8 = 4;

/// That of one of which it is not known.
const UNKNOWN: u8 = 1;

/// Traces and prints. A cluster whose objects have been translated for a MidoNet has its network.
pub(crate) fn run(args: &TraceArgs) -> Result<ExitCode> {
    if args.cluster.this_node {
        return show(args, &embedded::of_agents(args)?);
    }
    let nodes = Nodes::new(&args.cluster, args.timeout)?;
    if midonet::is_there(&nodes)? {
        return show(args, &midonet::trace(&nodes, args)?);
    }
    show(args, &embedded::of_nodes(&nodes, args)?)
}

fn show<T: Display + Serialize>(args: &TraceArgs, view: &View<T>) -> Result<ExitCode> {
    output::write(&args.output.text(view, |view, _| text::text(view))?)?;
    Ok(match (&view.outcome.unknown, view.is_answered()) {
        (true, _) => ExitCode::from(UNKNOWN),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(LOST),
    })
}
