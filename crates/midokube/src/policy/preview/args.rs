//! The command line of `midokube policy preview`.

use std::path::PathBuf;

use clap::Args;
use terminal::Format;

use super::super::target::Target;
use crate::nodes::{Cluster, ThisNode};

pub(crate) const HELP: &str = "\
Nothing comes into force. Each policy replaces that of its name, as kubectl apply does; --delete is tried after that.
Every node is asked, by the kubeconfig, through its agent's Pod; with --this-node the agent of this node alone.
Exit status: 0: no connection would be cut; 4: some would be; 1: a node cannot be asked, or the policies cannot be
read. The fields of -o json and -o yaml are described in docs/reference.md of the project.
Examples:
  midokube policy preview -f policies/
  kubectl kustomize overlays/prod | midokube policy preview -f -
  midokube policy preview --delete networkpolicy/default/web --this-node -o json";

/// What to try, and how to show what it would change.
#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// Policies to be applied: a manifest, a directory of manifests, or - for standard input.
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required_unless_present = "delete")]
    pub(super) filename: Vec<PathBuf>,
    /// A policy to be deleted: networkpolicy/NAMESPACE/NAME or clusternetworkpolicy/NAME.
    #[arg(long, value_name = "KIND/NAME")]
    pub(super) delete: Vec<Target>,
    /// The namespace of NetworkPolicies that do not say theirs [default: the kubeconfig's, or default].
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// How many connections to show of each node at most; all are counted.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) limit: u32,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    #[command(flatten)]
    pub(super) node: ThisNode,
}
