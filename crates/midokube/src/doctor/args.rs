//! The command line of `midokube doctor`.

use clap::Args;
use terminal::Format;

use crate::nodes::{Cluster, Sockets};

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
    #[command(flatten)]
    pub(super) sockets: Sockets,
    /// Print what this node knows, for another midokube.
    #[arg(long, hide = true, requires = "this_node")]
    pub(super) facts: bool,
}
