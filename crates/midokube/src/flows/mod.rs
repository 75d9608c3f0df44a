//! `midokube flows`: who talks to whom, on all nodes.

mod args;
mod ask;
mod filter;
mod follow;
mod groups;
mod merge;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use terminal::output;

pub(crate) use args::{FlowsArgs, HELP};
use ask::Source;
pub(crate) use ask::{of_agent, of_nodes};
pub(crate) use filter::{Condition, Filter};
pub(crate) use merge::merge;
pub(crate) use view::{DENIED, End, Flow, Node, View};

/// The exit status if a node has no answer.
const FAILED: u8 = 1;

/// Asks and prints the answers, once or again and again.
pub(crate) fn run(args: &FlowsArgs) -> Result<ExitCode> {
    let mut source = Source::new(args)?;
    if args.follow {
        return follow::follow(args, &mut source);
    }
    let view = source.ask(args.since)?;
    let failed = view.has_errors();
    output::write(&shown(args, view)?)?;
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// An answer as it is asked for: what matches, grouped or not.
fn shown(args: &FlowsArgs, mut view: View) -> Result<String> {
    let filter = args.filter();
    let unknown = filter.unknown(&view.flows);
    view.flows.retain(|flow| filter.matches(flow));
    view.unknown = unknown;
    match args.by {
        Some(by) => args.output.text(&groups::Groups::new(by, view), text::groups),
        None => {
            view.cut_to(usize::try_from(args.limit).unwrap_or(usize::MAX));
            args.output.text(&view, text::flows)
        }
    }
}

#[cfg(test)]
mod tests;
