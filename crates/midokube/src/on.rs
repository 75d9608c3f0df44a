//! `midokube on`: what an agent of another node says, through the API server.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use terminal::{output, units};

use crate::nodes::{Kubernetes, Nodes, Question};

pub(crate) const HELP: &str = "\
The command is run by the API server in the Pod of that node's agent, with your own right to exec there. It is one of those
that ask this node's agent alone: status, services, service, connections, policy, drops, version. Options of its own follow
the command, those of the cluster come before the node.
Exit status: that of the command, or 1 when the node cannot be asked.
Examples:
  midokube on node1 status problems
  midokube on node1 policy explain default/a default/b tcp/80 -o json
  midokube on --context production node1 drops default/web";

/// Exit statuses with which a command has printed an answer.
const ANSWERS: &[u8] = &[0, 3, 4];

/// On which node to run what.
#[derive(Debug, Args)]
pub(crate) struct OnArgs {
    #[command(flatten)]
    cluster: Kubernetes,
    /// How long the node may take to answer, for example 5s or 1m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    timeout: Duration,
    /// The node's name.
    node: String,
    /// A command of midokube, and its options.
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl OnArgs {
    /// The command line that is run there.
    pub(crate) fn line(&self) -> impl Iterator<Item = &str> {
        ["midokube"].into_iter().chain(self.words.iter().map(String::as_str))
    }
}

/// Runs it there, and prints what it prints.
pub(crate) fn run(args: &OnArgs) -> Result<ExitCode> {
    let nodes = Nodes::new(&args.cluster, args.timeout)?;
    let question = Question { words: args.words.clone(), input: None, answers: ANSWERS };
    let (_, said) =
        nodes.ask(&question, |name| name == args.node)?.into_iter().next().with_context(|| {
            let near = nodes.near(&args.node);
            format!(
                "no node {} has an agent: `midokube doctor` lists the nodes that have one{near}",
                args.node
            )
        })?;
    let said = match said {
        Ok(said) => said,
        Err(why) => bail!("node {}: {why}", args.node),
    };
    output::write(&String::from_utf8_lossy(&said.stdout))?;
    Ok(ExitCode::from(said.code))
}
