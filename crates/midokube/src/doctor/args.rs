//! The command line of `midokube doctor`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use terminal::{Format, units};

use crate::agent::Agent;
use crate::nodes::Cluster;

pub(crate) const HELP: &str = "\
Every node is asked, by the kubeconfig, through its agent's Pod; with --this-node the agent of this node alone, or those
at each --socket, as in a lab. Each node sends datagrams through its tunnels to up to 16 others and waits 3.5 seconds
for answers. Nothing is changed.
Exit status: 0: nothing is wrong; 4: something is; 1: no node could be asked. The fields of -o json and -o yaml are
described in docs/reference.md of the project, the findings in docs/troubleshooting.md.
Examples:
  midokube doctor
  midokube doctor -o json | jq -r '.findings[] | .what + \" \" + .object'
  midokube doctor --this-node";

/// Which nodes to look at, and how to show what is wrong.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    /// With --this-node, the agent's Unix socket; several: those of as many agents.
    #[arg(long, env = "MIDONETKUBE_SOCKET", default_value = nodeapi::SOCKET)]
    socket: Vec<PathBuf>,
    /// How long a node may take to answer, for example 20s or 1m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    pub(super) timeout: Duration,
    /// Print what this node knows, for another midokube.
    #[arg(long, hide = true, requires = "this_node")]
    pub(super) facts: bool,
}

impl DoctorArgs {
    /// The agents at the sockets.
    pub(super) fn agents(&self) -> Vec<Agent> {
        let agent = |socket: &PathBuf| Agent { socket: socket.clone(), timeout: self.timeout };
        self.socket.iter().map(agent).collect()
    }
}
