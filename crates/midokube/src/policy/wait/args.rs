//! The command line of `midokube policy wait`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use terminal::{Format, units};

use super::super::target::Target;
use super::view::Version;
use super::what::What;
use crate::agent::Agent;
use crate::nodes::Cluster;

pub(crate) const HELP: &str = "\
The policy is read at the API server, by the kubeconfig, and every node asked, through its agent's Pod, until all have
that version in force: for new connections, and for those that live. If it changes meanwhile, the new version counts.
With --this-node the agent of this node alone is asked, until it has the policy in force in whatever version.
Exit status: 0: it is in force on every node; 1: it is not when the time is up (the nodes are named, with the reason),
there is no such policy, or the API server cannot be asked.
Examples:
  kubectl apply -f web.yaml && midokube policy wait networkpolicy/web -n default
  midokube policy wait clusternetworkpolicy/base --timeout 5m
  midokube policy wait networkpolicy/web -n default --for delete";

/// How long an agent may take to answer, which it does from memory.
const AGENT: Duration = Duration::from_secs(5);

/// What to wait for, and how to show it.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The policy: networkpolicy/NAME or clusternetworkpolicy/NAME.
    #[arg(value_name = "KIND/NAME")]
    target: Target,
    /// The namespace of a NetworkPolicy [default: the kubeconfig's, or default].
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Until what is so on every node.
    #[arg(long = "for", value_enum, default_value_t, value_name = "WHAT")]
    until: What,
    /// How long to wait, for example 30s or 5m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    pub(super) timeout: Duration,
    /// The version to wait for: what other nodes than this are asked with.
    #[arg(long, hide = true, requires = "this_node")]
    pub(super) at_least: Option<Version>,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    /// The agent's Unix socket.
    #[arg(long, env = "MIDONETKUBE_SOCKET", default_value = nodeapi::SOCKET)]
    socket: PathBuf,
}

impl WaitArgs {
    /// The agent of this node.
    pub(super) fn agent(&self) -> Agent {
        Agent { socket: self.socket.clone(), timeout: AGENT }
    }

    /// What is waited for.
    pub(super) fn what(&self) -> What {
        self.until
    }

    /// The policy, in a namespace if it is not said in which.
    pub(super) fn target(&self, namespace: &str) -> Target {
        self.target.clone().within(self.namespace.as_deref().unwrap_or(namespace))
    }
}
