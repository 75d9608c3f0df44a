//! Where a packet goes in a MidoNet topology: device by device, rule by rule. No I/O.
//!
//! A [`Topology`] is made of what was posted to MidoNet's API, or of what it lists ([`Builder`]). [`Topology::simulate`]
//! sends a packet through it as MidoNet's agents do, who decide everything at the host that a packet comes in at: port,
//! inbound filters, device, outbound filters, port, and so on at the port's peer until it comes to an interface. The
//! [`Trace`] has every step, and what became of the packet. A [`State`] keeps what agents remember, the translations of
//! connections above all, so that replies can be simulated, too.
//!
//! What is simulated: bridges with their MAC and ARP tables, routers, links, bindings, tunnel zones, chains and all their
//! rules, translation of TCP, UDP and ICMP, and the answers that devices give. What is not: VLANs, IPv6, fragments, load
//! balancers, what is administratively down, weights of routes, conditions of rules that [`midonet::Rule`] does not have,
//! and time: connections do not end, and nobody answers when a router asks by ARP. Whether a host runs, and has the
//! interface, is not known here.

mod assemble;
mod bridge;
mod builder;
mod condition;
mod nat;
mod packet;
mod problem;
mod random;
mod router;
mod run;
mod state;
mod text;
mod topology;
mod trace;

pub use builder::Builder;
pub use packet::{About, Arp, BROADCAST, IcmpError, IcmpErrorKind, Ipv4, Packet, Payload, TTL, Transport};
pub use problem::{Problem, Why};
pub use state::State;
pub use topology::Topology;
pub use trace::{
    Answer, ChainName, Connection, DeviceKind, DeviceName, Did, End, Ending, Filter, Known, Reason,
    RuleResult, Step, Trace,
};

use uuid::Uuid;

/// Where a packet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// An interface of a host.
    Interface {
        /// The host.
        host: Uuid,
        /// The interface's name.
        interface: &'a str,
    },
    /// Whatever is at a port. Without a binding no host is known, and tunnels are not looked at.
    Port(Uuid),
}

impl Topology {
    /// Where a packet goes that comes from there, and what happens on its way.
    pub fn simulate(&self, state: &mut State, from: Origin<'_>, packet: Packet) -> Trace {
        let (host, port) = match from {
            Origin::Interface { host, interface } => (Some(host), self.port_at(host, interface)),
            Origin::Port(port) => (self.binding_of(port).map(|(host, _)| host), Some(port)),
        };
        let mut run = run::Run::new(self, state, host, packet);
        match port {
            Some(port) => run.ingress(port),
            None => run.drop(Reason::NotBound),
        }
        run.finish()
    }
}
