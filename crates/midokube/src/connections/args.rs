//! The command line of `midokube connections`.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use nodeapi::v1::{ListConnectionsRequest, PodName, ServiceName};
use terminal::Format;

use crate::agent::Agent;
use crate::name::Name;

pub(crate) const HELP: &str = "\
A connection is listed if it matches all options. FRONTEND is what the client talks to: a Service's address,
or the server itself. The most recently active ones come first.
Exit status: 0, or 1 when the agent cannot be asked. The fields of -o json and -o yaml are described in
docs/reference.md of the project.
Examples:
  midokube connections --service default/web --state established
  midokube connections --pod default/client-0 --protocol tcp
  midokube connections --address 10.244.1.3 --port 8080 -o json";

/// Which connections to show, and how.
#[derive(Debug, Args)]
pub(crate) struct ConnectionsArgs {
    /// Those of a Pod of this node, as the client or as the server.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) pod: Option<Name>,
    /// Those through a Service.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) service: Option<Name>,
    /// Those with this address: the client's, the frontend's or the backend's.
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
    /// Those with this port, of the same.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Those of a protocol.
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,
    /// Those in a state.
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
    /// How many at most.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) limit: u32,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

/// A protocol of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
    /// Echo requests and their replies, of both families.
    Icmp,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// The server has not answered yet.
    New,
    /// It has.
    Established,
    /// TCP: one end has sent its last.
    Closing,
    /// TCP: both have, or it was reset.
    Closed,
}

impl ConnectionsArgs {
    /// What to ask the agent.
    pub(super) fn request(&self) -> ListConnectionsRequest {
        let split = |name: &Name| (name.namespace.clone(), name.name.clone());
        ListConnectionsRequest {
            pod: self.pod.as_ref().map(split).map(|(namespace, name)| PodName { namespace, name }),
            service: self
                .service
                .as_ref()
                .map(split)
                .map(|(namespace, name)| ServiceName { namespace, name }),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
            port: self.port.unwrap_or_default().into(),
            protocol: word(self.protocol),
            state: word(self.state),
            limit: self.limit,
        }
    }
}

/// What a value is called; empty if there is none.
fn word<T: ValueEnum>(value: Option<T>) -> String {
    value
        .and_then(|value| value.to_possible_value())
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
