//! `midokube doctor`: what is wrong in the whole cluster, and what to do.

mod args;
mod cluster;
mod facts;
mod finding;
mod gather;
mod judge;
mod text;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use terminal::{Format, output};

pub(crate) use args::{DoctorArgs, HELP};
use cluster::Cluster;
pub(crate) use finding::{Finding, Severity};
use view::View;

use crate::agent::Agent;
use crate::nodes::Nodes;

/// The exit status when something is wrong.
const FOUND: u8 = 4;

/// That of a cluster of which nothing is known.
const FAILED: u8 = 1;

/// Looks and prints what is wrong.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    if args.facts {
        let agent = args.sockets.agents().into_iter().next().ok_or_else(|| anyhow!("no socket is given"))?;
        output::write(&(serde_json::to_string(&gather::facts(&agent)?)? + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let view = look(&gather(args)?);
    output::write(&args.output.text(&view, text::text)?)?;
    Ok(match (view.is_known(), view.findings.is_empty()) {
        (false, _) => ExitCode::from(FAILED),
        (true, false) => ExitCode::from(FOUND),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn gather(args: &DoctorArgs) -> Result<Cluster> {
    if args.cluster.this_node {
        return Ok(gather::agents(&args.sockets.agents()));
    }
    gather::nodes(&Nodes::new(&args.cluster.kubernetes, args.sockets.timeout)?, args.sockets.timeout)
}

fn look(cluster: &Cluster) -> View {
    View::new(cluster, judge::judge(cluster))
}

/// What all nodes know, and what is wrong with that.
pub(crate) struct Examination {
    cluster: Cluster,
    view: View,
}

/// Examines the nodes of some agents, in their order.
pub(crate) fn examine_agents(agents: &[Agent]) -> Examination {
    Examination::new(gather::agents(agents))
}

/// Examines all nodes of a cluster.
///
/// # Errors
/// The API server does not say which there are.
pub(crate) fn examine_nodes(nodes: &Nodes, patience: Duration) -> Result<Examination> {
    Ok(Examination::new(gather::nodes(nodes, patience)?))
}

impl Examination {
    fn new(cluster: Cluster) -> Self {
        Self { view: look(&cluster), cluster }
    }

    /// The names of the nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.cluster.nodes.iter().map(|node| node.name.as_str())
    }

    /// What each node knows, or why it says nothing.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&str, Result<String>)> {
        self.cluster.nodes.iter().map(|node| {
            let facts = node.said.as_ref().map_err(|silence| anyhow!("{}", silence.why));
            (node.name.as_str(), facts.and_then(|facts| Ok(serde_json::to_string_pretty(facts)? + "\n")))
        })
    }

    /// What is wrong, the worst first.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.view.findings
    }

    /// The findings, as programs get them.
    ///
    /// # Errors
    /// They cannot be serialized.
    pub(crate) fn document(&self) -> Result<String> {
        Format::Json.text(&self.view, text::text)
    }

    /// The findings for people.
    pub(crate) fn text(&self) -> String {
        output::plain(&text::text(&self.view, true)) + "\n"
    }
}
