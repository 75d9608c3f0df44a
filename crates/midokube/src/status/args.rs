//! The command line of `midokube status`.

use clap::{Args, ValueEnum};
use terminal::Format;

use crate::agent::Agent;
use crate::name::Namespaces;
use crate::watch::Repeat;

pub(crate) const HELP: &str = "\
Exit status: 0 when the node is ready, 3 when it is not, 1 when the agent cannot be asked,
2 for an invalid command line. Ctrl-C ends --watch.
The fields of -o json and -o yaml are described in docs/reference.md of the project.
Examples:
  midokube status
  midokube status ports -n kube-system -o wide
  midokube status drops ignored --watch
  midokube status peers -o json | jq -r '.peers[].node'";

/// What to show of an agent's answer, and how.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The parts to show [default: all].
    #[arg(value_name = "PART")]
    pub(crate) parts: Vec<Part>,
    #[command(flatten)]
    pub(crate) namespaces: Namespaces,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

/// A part of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The agent: ready or why not, version, source of objects.
    Agent,
    /// The node's network: addresses, MTU, tunnels.
    Network,
    /// The Pods' ports, their traffic and limits.
    Ports,
    /// The other nodes.
    Peers,
    /// Services: how many are served, and how full the tables are.
    Services,
    /// Policies: how many sets and classes there are, how many Pods are closed, and how full the tables are.
    Policy,
    /// Problems while Pods are served, with their remedies.
    Problems,
    /// Leaks that are not repaired.
    Leaks,
    /// Packets that were forwarded or answered.
    Traffic,
    /// Packets that were dropped: they are invalid or not carried, or something is wrong.
    Drops,
    /// Dropped packets that every healthy host sends: multicast, IPv6 neighbour discovery.
    Ignored,
}

/// Which parts of the status are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// None: all.
    pub(crate) parts: Vec<Part>,
    /// Whose ports; `None`: everybody's.
    pub(crate) namespace: Option<String>,
}

impl Selection {
    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}
