//! `midokube policy`: what NetworkPolicies and ClusterNetworkPolicies mean for the Pods of a node, and for those of manifests.

mod args;
mod diff;
mod explain;
mod list;
mod manifests;
mod preview;
mod target;
mod wait;

use std::process::ExitCode;

use anyhow::Result;

use args::PolicyListArgs;
pub(crate) use args::{HELP, PolicyArgs, PolicyCommand};
pub(crate) use list::document;

/// Asks the agent and prints its answer.
pub(crate) fn run(args: &PolicyArgs) -> Result<ExitCode> {
    match &args.command {
        Some(PolicyCommand::Explain(args)) => explain::run(args),
        Some(PolicyCommand::Preview(args)) => preview::run(args),
        Some(PolicyCommand::Wait(args)) => wait::run(args),
        Some(PolicyCommand::Diff(args)) => Ok(diff::run(args)),
        None => {
            let PolicyListArgs { pod, output, agent } = &args.list;
            list::run(pod.as_ref(), *output, agent)
        }
    }
}

#[cfg(test)]
mod tests;
