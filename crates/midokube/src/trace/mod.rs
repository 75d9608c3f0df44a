//! Where a packet goes in a network that a MidoNet is: device by device, rule by rule.
//!
//! The Translations are read at the API server, and what they tell MidoNet is simulated here. Nothing is sent, and MidoNet is
//! not asked.

mod args;
mod cluster;
mod remedy;
#[cfg(test)]
mod tests;
mod text;
mod topology;
mod view;
mod walk;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use terminal::output;

use crate::nodes::Nodes;
pub(crate) use args::{HELP, TraceArgs};

/// How long the API server may take to list everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The exit status of a packet that does not arrive, or has no reply.
const LOST: u8 = 4;

/// Reads, simulates and prints.
pub(crate) fn run(args: &TraceArgs) -> Result<ExitCode> {
    let nodes = Nodes::new(&args.cluster, PATIENCE)?;
    let (snapshot, from, to) =
        nodes.with_client(async |client| cluster::read(client, &args.from, &args.to).await)??;
    let view = walk::walk(&snapshot, &from, &to, &args.port, args.seed)?;
    output::write(&args.output.text(&view, |view, _| text::text(view))?)?;
    Ok(if view.is_answered() { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
}
