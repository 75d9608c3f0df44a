//! The command line of `midokube flows`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use terminal::{Format, units};

use super::filter::{Condition, Filter, Verdict};
use super::groups::By;
use crate::name::{Name, Namespaces};
use crate::nodes::{Cluster, Sockets};
use crate::port::Port;

pub(crate) const HELP: &str = "\
A flow is one connection, also if two nodes see it, and of what is dropped one row for each source, destination, port and
reason. A flow is listed if it matches all options and none of --not; the last packet of those that stand first came
last. Nodes remember an hour, as far as they have space. Every node is asked, by the kubeconfig, through its agent's Pod;
with --this-node the agent of this node alone, or those at each --socket, as in a lab. Nodes record flows if their
agents run with --flows on.
Exit status: 0, or 1 when a node cannot be asked, which is named. Ctrl-C ends --follow. The fields of -o json and
-o yaml are described in docs/reference.md of the project.
Examples:
  midokube flows
  midokube flows shop/web --since 10m
  midokube flows -n shop --not port=udp/53 --not namespace=kube-system -o wide
  midokube flows --verdict deny --by reason
  midokube flows --service shop/db -f
  midokube flows --this-node -o json";

/// Which flows to show, and how.
#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    /// Those of a Pod, at either end [default: all].
    #[arg(value_name = "NAMESPACE/POD")]
    pub(super) pod: Option<Name>,
    #[command(flatten)]
    pub(super) namespaces: Namespaces,
    /// Those with this address, of either end or of the Service.
    #[arg(long, value_name = "IP")]
    pub(super) address: Option<IpAddr>,
    /// Those to this port, of the server or of the Service: tcp/80, udp/53, sctp/7, icmp.
    #[arg(long, value_name = "PROTOCOL/PORT")]
    pub(super) port: Option<Port>,
    /// Those that policy let pass, or did not.
    #[arg(long, value_enum)]
    pub(super) verdict: Option<Verdict>,
    /// Those denied for this reason, for example policy_ingress.
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Those through a Service, and what was denied to an endpoint of it.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(super) service: Option<Name>,
    /// None that match this: pod=, namespace=, address=, port=, verdict=, reason=, service= with a value as the options have
    /// it. It can be given again.
    #[arg(long, value_name = "OPTION=VALUE")]
    pub(super) not: Vec<Condition>,
    /// Those with a packet in the last DURATION, for example 90s, 10m or 1h.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(super) since: Option<Duration>,
    /// Go on, and show flows that begin, end or are denied, until Ctrl-C.
    #[arg(short, long, conflicts_with = "by")]
    pub(super) follow: bool,
    /// Add flows up by what they have in common.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) by: Option<By>,
    /// How many at most; all are counted.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) limit: u32,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    #[command(flatten)]
    pub(super) sockets: Sockets,
}

impl FlowsArgs {
    /// What flows have to match.
    pub(super) fn filter(&self) -> Filter {
        let all = [
            self.pod.clone().map(Condition::Pod),
            self.namespaces.one().map(Condition::Namespace),
            self.address.map(Condition::Address),
            self.port.clone().map(Condition::Port),
            self.verdict.map(Condition::Verdict),
            self.reason.clone().map(Condition::Reason),
            self.service.clone().map(Condition::Service),
        ];
        Filter { all: all.into_iter().flatten().collect(), none: self.not.clone() }
    }
}
