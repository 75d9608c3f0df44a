//! The command line of `midokube sysdump`.

use std::path::PathBuf;

use clap::Args;

use crate::nodes::{Cluster, Sockets};

pub(crate) const HELP: &str = "\
The archive has what doctor finds, and of each node its status, Services, connections, policies and drops (up to 1,000
each), settings, metrics, kernel and the end of its agent's log; names and addresses of Pods are in it. Passwords, tokens
and keys are taken out. Every node is asked, by the kubeconfig, through its agent's Pod; with --this-node the agent of
this node alone, or those at each --socket. How large it may get is told before, how large it is afterwards.
Exit status: 0: all is in it; 4: something is missing, which index.json names; 1: there is no archive.
Examples:
  midokube sysdump
  midokube sysdump /tmp/midonet.tar.gz
  midokube sysdump --this-node - | tar tz";

/// Of which nodes to collect what, and where to.
#[derive(Debug, Args)]
pub(crate) struct SysdumpArgs {
    /// The archive, or - for standard output [default: midokube-sysdump-TIME.tar.gz]
    #[arg(value_name = "FILE|-")]
    pub(super) file: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    pub(super) force: bool,
    /// How large all of it may get before it is compressed, in MiB: what is over that is left out and named.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    pub(super) max_size: u64,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    #[command(flatten)]
    pub(super) sockets: Sockets,
    /// Print what is of this node, for another midokube.
    #[arg(long, hide = true, requires = "this_node")]
    pub(super) parts: bool,
}
