//! The command line of `midokube drops`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use nodeapi::v1::{ListDropsRequest, PodName};
use terminal::{Format, units};

use crate::agent::Agent;
use crate::name::{Name, Namespaces};
use crate::port::Port;
use crate::watch::Repeat;

pub(crate) const HELP: &str = "\
A row is listed if it matches all options; the last packet of those that stand first came last. A row is one reason,
source, destination, port and rule; PACKETS counts what was dropped, of an audit the connections that would have been. A
node knows what it dropped itself: of a connection between two nodes ask both. A Pod is named if the address was its own
when the last packet came. A source that may be forged is shown as claimed, under the Pod, the interface or the node that
sent it. What one sender had dropped beyond the rows that it may have is one row for each reason: others.
Exit status: 0, or 1 when nothing is known of such a Pod, or the agent cannot be asked. Ctrl-C ends --watch. The fields
of -o json and -o yaml are described in docs/reference.md of the project.
Examples:
  midokube drops
  midokube drops default/web --since 10m
  midokube drops -n shop --port tcp/5432 -o wide
  midokube drops --reason source_ip
  midokube drops --address 192.0.2.7 -o json";

/// Which drops to show, and how.
#[derive(Debug, Args)]
pub(crate) struct DropsArgs {
    /// Those of a Pod, as the source or as the destination [default: all].
    #[arg(value_name = "NAMESPACE/POD")]
    pub(crate) pod: Option<Name>,
    #[command(flatten)]
    pub(crate) namespaces: Namespaces,
    /// Those with this address, the source's or the destination's, or a claimed one.
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
    /// Those to this port: tcp/80, udp/53, sctp/7, icmp.
    #[arg(long, value_name = "PROTOCOL/PORT")]
    pub(crate) port: Option<Port>,
    /// Those for this reason, for example policy_ingress.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Those with a packet in the last DURATION, for example 90s, 10m or 1h.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) since: Option<Duration>,
    /// How many at most.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) limit: u32,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) repeat: Repeat,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

impl DropsArgs {
    /// What to ask the agent.
    pub(super) fn request(&self) -> ListDropsRequest {
        let pod =
            |Name { namespace, name }: &Name| PodName { namespace: namespace.clone(), name: name.clone() };
        // Whole seconds: a part of one is one.
        let seconds = |since: Duration| since.as_secs() + u64::from(since.subsec_nanos() > 0);
        ListDropsRequest {
            pod: self.pod.as_ref().map(pod),
            namespace: self.namespaces.one().unwrap_or_default(),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
            protocol: self.port.as_ref().map(|port| port.protocol.to_owned()).unwrap_or_default(),
            port: self.port.as_ref().map(|port| port.number.into()).unwrap_or_default(),
            reason: self.reason.clone().unwrap_or_default(),
            since_seconds: self.since.map(seconds).unwrap_or_default(),
            limit: self.limit,
        }
    }
}
