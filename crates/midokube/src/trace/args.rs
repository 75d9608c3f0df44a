//! The command line of `midokube trace`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use terminal::{Format, units};

use crate::name::Name;
use crate::nodes::{Cluster, Sockets};
use crate::port::Port;

pub(crate) const HELP: &str = "\
The packet is judged by the programs and tables in the kernels of the nodes that it comes to, and so is its reply: who may
send it, which endpoint a Service chooses, which rule of which policy decides, where it is routed and delivered. Nothing is
sent, and no table or counter changes. What is outside the cluster, or listens in a Pod, is not followed. With --this-node the
agents at each --socket are asked, as in a lab. A MidoNet's network is simulated instead, by the Translations that
it is told: of several endpoints of a Service one is chosen by --seed.
With --live, real packets of the next connection are shown as each hook has them: where they came in, what the program did with
them, as what and to where they left. The programs stay as they are; the kernel runs others beside them for that time (it needs
BTF). Packets whose address at the client's end is another one, such as a masqueraded one outside the node, are not recognised.
Exit status: 0: the packet arrives, and its reply; 4: one of them does not; 1: it cannot be told. The fields of -o json and
-o yaml are described in docs/reference.md of the project.
Examples:
  midokube trace default/client default/web tcp/8080
  midokube trace default/client service/default/web tcp/80
  midokube trace default/client 2001:db8::1 udp/53
  midokube trace default/client service/default/web tcp/80 --live
  midokube trace node/node1 10.1.2.3 icmp";

/// What to trace, and how to show it.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(super) packet: Packet,
    /// Follow real packets of one connection instead, as the hooks of both nodes have them.
    #[arg(long)]
    pub(super) live: bool,
    /// With --live: for how long to follow, for example 30s or 5m.
    #[arg(
        long = "for",
        value_name = "DURATION",
        requires = "live",
        default_value = "30s",
        value_parser = units::duration
    )]
    pub(super) duration: Duration,
    /// With --live: how many packets to follow at most.
    #[arg(long, value_name = "NUMBER", requires = "live", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) packets: u16,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) cluster: Cluster,
    #[command(flatten)]
    pub(super) sockets: Sockets,
}

/// What to trace.
#[derive(Debug, Args)]
pub(crate) struct Packet {
    /// Who sends: NAMESPACE/POD, or node/NAME.
    #[arg(value_name = "FROM")]
    pub(super) from: Place,
    /// To whom: NAMESPACE/POD, service/NAMESPACE/NAME, node/NAME, or an address.
    #[arg(value_name = "TO")]
    pub(super) to: Target,
    /// The protocol and port: tcp/PORT, udp/PORT, sctp/PORT or icmp.
    #[arg(value_name = "PORT")]
    pub(super) port: Port,
    /// The family, where both ends have both [default: IPv4].
    #[arg(long, value_enum)]
    pub(super) family: Option<Family>,
    /// The port from which it is sent, or the identifier of a ping: that of a live connection, for example [default: one
    /// that is free; with --live, that of the next connection].
    #[arg(long, value_name = "PORT")]
    pub(super) source_port: Option<u16>,
    /// What random choices of a MidoNet are made by.
    #[arg(long, value_name = "NUMBER", default_value_t = SEED)]
    pub(super) seed: u64,
}

const SEED: u64 = 1;

impl Packet {
    /// A packet as it is named on the command line, without options.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn named(from: &str, to: &str, port: &str) -> Result<Self, &'static str> {
        Ok(Self {
            from: from.parse()?,
            to: to.parse()?,
            port: port.parse()?,
            family: None,
            source_port: None,
            seed: SEED,
        })
    }

    /// A packet from a place to an address.
    pub(crate) fn new(from: Place, to: IpAddr, port: Port) -> Self {
        Self { from, to: Target::Address(to), port, family: None, source_port: None, seed: SEED }
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Whether an address is of it.
    pub(super) fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::Ipv4)
    }
}

/// Who has an interface in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Pod(Name),
    Node(String),
}

/// What a packet is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Place(Place),
    Service(Name),
    Address(IpAddr),
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
        const EXPECTED: &str = "NAMESPACE/POD, service/NAMESPACE/NAME, node/NAME or an address is expected";
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
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
            ("::ffff:10.0.0.1", Target::Address([10, 0, 0, 1].into())),
            ("fd00::1", Target::Address("fd00::1".parse().unwrap())),
        ] {
            assert_eq!(text.parse::<Target>(), Ok(wanted), "{text}");
        }
        for bad in ["", "web", "node/", "service//web", "service/a/b/c", "fd00::g", "10.0.0", "a/b/c"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
        assert!("10.0.0.1".parse::<Place>().is_err());
    }
}
