//! The command line of `midokube trace`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use clap::Args;
use terminal::Format;

use crate::name::Name;
use crate::nodes::Cluster;
use crate::port::Port;

pub(crate) const HELP: &str = "\
For clusters whose network is a MidoNet: what the Translations tell it is simulated, with the packet and its reply. Nothing is
sent, and MidoNet is not asked. Of several endpoints of a Service one is chosen at random: another --seed may choose another.
Exit status: 0: the packet arrives, and its reply; 4: one of them does not; 1: it cannot be told.
Examples:
  midokube trace default/client default/web tcp/8080
  midokube trace default/client service/default/web tcp/80
  midokube trace node/node1 10.1.2.3 icmp";

/// What to trace, and how to show it.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Who sends: NAMESPACE/POD, or node/NAME.
    #[arg(value_name = "FROM")]
    pub(super) from: Place,
    /// To whom: NAMESPACE/POD, service/NAMESPACE/NAME, node/NAME, or an IPv4 address.
    #[arg(value_name = "TO")]
    pub(super) to: Target,
    /// The protocol and port: tcp/PORT, udp/PORT or icmp.
    #[arg(value_name = "PORT")]
    pub(super) port: Port,
    /// What random choices are made by.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) seed: u64,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) cluster: Cluster,
}

/// Who has an interface in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Pod(Name),
    Node(String),
}

/// What a packet is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Place(Place),
    Service(Name),
    Address(Ipv4Addr),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some(("node", name)) if !name.is_empty() && !name.contains('/') => {
                Ok(Self::Node(name.to_owned()))
            }
            _ => text.parse().map(Self::Pod).map_err(|_| "NAMESPACE/POD or node/NAME is expected"),
        }
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "NAMESPACE/POD, service/NAMESPACE/NAME, node/NAME or an IPv4 address is expected (MidoNet gets IPv4 alone)";
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        match text.split_once('/') {
            Some(("service" | "svc", name)) if name.contains('/') => {
                name.parse().map(Self::Service).map_err(|_| EXPECTED)
            }
            _ => text.parse().map(Self::Place).map_err(|_| EXPECTED),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "Pod {name}"),
            Self::Node(name) => write!(f, "Node {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_pods_nodes_services_and_addresses() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        for (text, wanted) in [
            ("default/a", Target::Place(Place::Pod(name("default/a")))),
            // A namespace may have any name.
            ("service/a", Target::Place(Place::Pod(name("service/a")))),
            ("service/default/web", Target::Service(name("default/web"))),
            ("svc/default/web", Target::Service(name("default/web"))),
            ("node/node1", Target::Place(Place::Node("node1".into()))),
            ("10.0.0.1", Target::Address([10, 0, 0, 1].into())),
        ] {
            assert_eq!(text.parse::<Target>(), Ok(wanted), "{text}");
        }
        for bad in ["", "web", "node/", "service//web", "service/a/b/c", "fd00::1", "10.0.0", "a/b/c"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        assert!("10.0.0.1".parse::<Place>().is_err());
    }
}
