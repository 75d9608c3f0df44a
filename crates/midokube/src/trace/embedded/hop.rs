//! What every node runs for a trace: a question in, an answer out, as the agent's own messages.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nodeapi::{Message, Method, call};

use crate::agent::Agent;
use crate::trace::live::run_follow;

/// More than a question has.
const LARGEST: u64 = 1 << 20;

/// What another midokube asks of this node's agent.
#[derive(Debug, Args)]
pub(crate) struct HopArgs {
    what: What,
    #[command(flatten)]
    agent: Agent,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum What {
    Find,
    Packet,
    /// Question after question.
    Follow,
}

impl What {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Packet => "packet",
            Self::Follow => "follow",
        }
    }
}

/// Hands the question on standard input to the agent, and its answer to standard output.
pub(crate) fn run_hop(args: &HopArgs) -> Result<ExitCode> {
    match args.what {
        What::Follow => run_follow(&args.agent),
        What::Find => hand_over(&args.agent, &call::FIND_TRACE_END, "the addresses of that name"),
        What::Packet => hand_over(&args.agent, &call::TRACE_PACKET, "the trace"),
    }
}

/// One question, and its answer.
fn hand_over<Q: Message + Default, A: Message + Default>(
    agent: &Agent,
    method: &Method<Q, A>,
    what: &str,
) -> Result<ExitCode> {
    let mut question = Vec::new();
    io::stdin().take(LARGEST).read_to_end(&mut question).context("cannot read the question")?;
    let request = Q::decode(&*question).context("the question cannot be read: it is another midokube's")?;
    let answer = agent.ask(method, &request, what)?.encode_to_vec();
    io::stdout().write_all(&answer).context("cannot write the answer")?;
    Ok(ExitCode::SUCCESS)
}
