//! The command line of `midokube policy`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use nodeapi::v1::{ExplainPolicyRequest, PodName, PolicyEnd};
use terminal::Format;

use super::preview::{self, PreviewArgs};
use super::wait::{self, WaitArgs};
use crate::agent::Agent;
use crate::name::Name;
use crate::port::Port;

pub(crate) const HELP: &str = "\
Policies stand in the order in which they are asked: ClusterNetworkPolicies of the tier Admin by priority,
NetworkPolicies, and where none applies those of the tier Baseline. ALLOWED counts connections, DENIED packets, of
all Pods of this node. -o wide shows each rule.
Exit status: 0, or 1 when there is no such Pod, or the agent cannot be asked. The fields of -o json and -o yaml are
described in docs/reference.md of the project.
Examples:
  midokube policy
  midokube policy default/web -o wide
  midokube policy explain default/client default/web tcp/80
  midokube policy explain default/client 192.0.2.1 icmp -o json
  midokube policy preview -f policies/";

pub(crate) const EXPLAIN_HELP: &str = "\
The verdicts are looked up in the tables in the kernel. A Pod's node decides about what it sends and what comes to it:
of a Pod of another node ask there. The address of a Service stands for its endpoints.
Exit status: 0 if it passes, as far as this node decides; 4 if it does not; 1 when there is no such Pod, or the agent
cannot be asked.
Examples:
  midokube policy explain default/client default/web tcp/80
  midokube policy explain 192.0.2.1 default/web udp/53";

pub(crate) const DIFF_HELP: &str = "\
Read are NetworkPolicies, ClusterNetworkPolicies, Namespaces, and as ends of connections Pods, Deployments,
StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs, and every address outside. + is allowed by NEW alone, - by OLD
alone. -o wide names every end.
Exit status: 0 if both allow the same, 1 if they differ, 2 if they cannot be compared.
Examples:
  midokube policy diff main/deploy branch/deploy
  midokube policy diff <(helm template old) <(helm template new) -o json";

/// What to show of policies, and how.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: Option<PolicyCommand>,
    #[command(flatten)]
    pub(crate) list: PolicyListArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show what becomes of a connection, by which rule, and why.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Show which live connections other policies would cut or let pass, before they are applied.
    #[command(after_help = preview::HELP)]
    Preview(PreviewArgs),
    /// Wait until every node enforces a policy, or until none does any more.
    #[command(after_help = wait::HELP)]
    Wait(WaitArgs),
    /// Show which connections one folder of manifests allows and another one does not, without a cluster.
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
}

/// What to compare, and how.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A manifest or a directory of manifests: what was.
    pub(crate) old: PathBuf,
    /// Another one: what is to be.
    pub(crate) new: PathBuf,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Whose policies to show, and how.
#[derive(Debug, Args)]
pub(crate) struct PolicyListArgs {
    /// A Pod of this node [default: all].
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) pod: Option<Name>,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

/// Which connection to explain, and how.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Who begins it: a Pod or an address.
    #[arg(value_name = "POD|IP")]
    source: End,
    /// With whom: a Pod or an address.
    #[arg(value_name = "POD|IP")]
    destination: End,
    /// The protocol, and the destination's port: tcp/80, udp/53, sctp/7, icmp.
    #[arg(value_name = "PROTOCOL/PORT")]
    port: Port,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

impl ExplainArgs {
    /// What the agent is asked.
    pub(crate) fn request(&self) -> ExplainPolicyRequest {
        let end = |end: &End| match end {
            End::Pod(Name { namespace, name }) => PolicyEnd {
                pod: Some(PodName { namespace: namespace.clone(), name: name.clone() }),
                address: String::new(),
            },
            End::Address(address) => PolicyEnd { pod: None, address: address.to_string() },
        };
        ExplainPolicyRequest {
            source: Some(end(&self.source)),
            destination: Some(end(&self.destination)),
            protocol: self.port.protocol.to_owned(),
            port: self.port.number.into(),
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Pod(Name),
    Address(IpAddr),
}

impl FromStr for End {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let pod = text.parse().map(Self::Pod);
        pod.map_err(|_| "a Pod (for example default/web) or an address is expected")
    }
}
