//! Traces as text: a line for every step.

use std::fmt::{Display, Formatter, Result};

use midonet::RuleType;

use crate::packet::{Arp, IcmpErrorKind, Ipv4, Packet, Payload, Transport};
use crate::trace::{
    Answer, ChainName, Connection, DeviceKind, DeviceName, Did, Ending, Filter, Known, Reason, RuleResult,
    Step, Trace,
};

impl Display for Packet {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        write!(out, "{} > {}, ", self.src_mac, self.dst_mac)?;
        match &self.payload {
            Payload::Arp(arp) => arp.fmt(out),
            Payload::Ipv4(ip) => ip.fmt(out),
        }
    }
}

impl Display for Arp {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        if self.reply {
            write!(out, "ARP {} is at {}", self.sender, self.sender_mac)
        } else {
            write!(out, "ARP who has {}, tell {}", self.target, self.sender)
        }
    }
}

impl Display for Ipv4 {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let Self { src, dst, ttl, .. } = self;
        match &self.transport {
            Transport::Tcp { src_port, dst_port } => write!(out, "TCP {src}:{src_port} > {dst}:{dst_port}"),
            Transport::Udp { src_port, dst_port } => write!(out, "UDP {src}:{src_port} > {dst}:{dst_port}"),
            Transport::Echo { reply, id } => {
                write!(out, "ICMP echo {} {src} > {dst}, id {id}", if *reply { "reply" } else { "request" })
            }
            Transport::Other { protocol } => write!(out, "protocol {protocol} {src} > {dst}"),
            Transport::Error(error) => {
                let about = &error.about;
                write!(out, "ICMP {} {src} > {dst}, about ", error.kind)?;
                write!(out, "{}:{} > {}:{}", about.src, about.src_port, about.dst, about.dst_port)
            }
        }?;
        write!(out, ", ttl {ttl}")
    }
}

impl Display for IcmpErrorKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.write_str(match self {
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::Prohibited => "administratively prohibited",
            Self::TimeExceeded => "time exceeded",
        })
    }
}

impl Display for DeviceName {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let kind = match self.kind {
            DeviceKind::Bridge => "bridge",
            DeviceKind::Router => "router",
        };
        named(out, kind, &self.name, &self.id)
    }
}

impl Display for ChainName {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        named(out, "chain", &self.name, &self.id)
    }
}

fn named(out: &mut Formatter<'_>, kind: &str, name: &str, id: &dyn Display) -> Result {
    if name.is_empty() { write!(out, "{kind} {id}") } else { write!(out, "{kind} {name}") }
}

impl Display for Filter {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.write_str(match self {
            Self::PortIn => "the port's inbound filter",
            Self::DeviceIn => "the inbound filter",
            Self::DeviceOut => "the outbound filter",
            Self::PortOut => "the port's outbound filter",
        })
    }
}

impl Display for Did {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::Enter => out.write_str("comes in"),
            Self::Leave => out.write_str("goes out"),
            Self::Rule { action, result, connection } => rule(out, *action, result, *connection),
            Self::Forward { to, known } => {
                let known = match known {
                    Known::RouterPort => "the MAC address is the router's",
                    Known::MacTable => "the MAC table has the address",
                    Known::Learned => "the address was learned",
                };
                write!(out, "to port {to}: {known}")
            }
            Self::Flood { to } => {
                write!(out, "a copy to every other port that is bound, of which there are {}", to.len())
            }
            Self::Route { route, prefix, next_hop, to } => {
                write!(out, "route {prefix} ")?;
                if let Some(id) = route {
                    write!(out, "({id}) ")?;
                }
                write!(out, "to {next_hop} through port {to}")
            }
        }
    }
}

fn rule(
    out: &mut Formatter<'_>,
    action: RuleType,
    result: &RuleResult,
    connection: Option<Connection>,
) -> Result {
    out.write_str(match action {
        RuleType::Accept => "accept",
        RuleType::Drop => "drop",
        RuleType::Reject => "reject",
        RuleType::Return => "return",
        RuleType::Jump => "jump",
        RuleType::Dnat => "dnat",
        RuleType::Snat => "snat",
        RuleType::RevDnat => "rev_dnat",
        RuleType::RevSnat => "rev_snat",
    })?;
    out.write_str(match connection {
        None => "",
        Some(Connection::New) => " of a new connection",
        Some(Connection::Known) => " of a known connection",
        Some(Connection::None) => ", of no connection that is known",
        Some(Connection::Unsupported) => ", not for this protocol",
        Some(Connection::Stateless) => " of the address alone",
    })?;
    match result {
        RuleResult::Jump { to } => write!(out, " to {to}"),
        RuleResult::AlreadyVisited { to } => {
            write!(out, " to {to}, which it went through before: goes on here")
        }
        // What such a rule does is its name, or nothing.
        _ if connection.is_none() => Ok(()),
        RuleResult::Accept => out.write_str(", accepts"),
        RuleResult::Return => out.write_str(", returns"),
        RuleResult::Continue | RuleResult::Drop | RuleResult::Reject => Ok(()),
    }
}

impl Display for Step {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        self.device.fmt(out)?;
        if let Some(port) = &self.port {
            write!(out, ", port {port}")?;
        }
        if let Some(filter) = &self.filter {
            write!(out, ", {filter}")?;
        }
        if let Some(chain) = &self.chain {
            write!(out, ", {chain}")?;
        }
        if let Some(rule) = &self.rule {
            write!(out, ", rule {rule}")?;
        }
        write!(out, ": {} | {}", self.did, self.packet)
    }
}

impl Display for Reason {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.write_str(match self {
            Self::NotBound => "no port is bound to the interface",
            Self::NoPort { port } => return write!(out, "there is no port {port}"),
            Self::Rule { filter, chain, rule } => return write!(out, "{filter}, {chain}, rule {rule}"),
            Self::NatExhausted => "all ports to translate to are used",
            Self::MulticastSource => "the source MAC address is a multicast address",
            Self::CameFromThere => "its destination is where it came from",
            Self::NobodyElse => "no other port is bound",
            Self::NotTheRoutersMac => "the destination MAC address is not the router's",
            Self::ArpNotForRouter => "this ARP packet is not for the router",
            Self::NoRoute => "no route",
            Self::BlackHole => "the route is of type BlackHole",
            Self::RejectRoute => "the route is of type Reject",
            Self::RoutersOwnAddress => "it is for the router itself, which answers to echo requests alone",
            Self::NoRouteBack => "the router has no route for its reply",
            Self::TimeExceeded => "its time to live is used up",
            Self::NoNextHopMac { address } => {
                return write!(out, "no MAC address is known for {address}, unless somebody answers by ARP");
            }
            Self::Unplugged => "the port is neither linked nor bound",
            Self::TooManyDevices => "it went through too many devices",
            Self::NoTunnel { from, to } => {
                return write!(out, "the hosts {from} and {to} are in no tunnel zone together");
            }
        })
    }
}

impl Display for Answer {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::Arp { mac } => write!(out, "ARP reply, {mac}"),
            Self::EchoReply => out.write_str("ICMP echo reply"),
            Self::IcmpError { kind, reason } => write!(out, "ICMP {kind}: {reason}"),
        }
    }
}

impl Display for Ending {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::Delivered { host, interface, tunnel, .. } => {
                write!(out, "delivered at {interface} of host {host}")?;
                match tunnel {
                    Some((from, to)) => write!(out, ", through the tunnel from {from} to {to}"),
                    None => Ok(()),
                }
            }
            Self::Answered { answer, .. } => write!(out, "answered: {answer}"),
            Self::Dropped { reason } => write!(out, "dropped: {reason}"),
            Self::Consumed => out.write_str("consumed by the router"),
        }
    }
}

impl Display for Trace {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        lines(self, 0, out)
    }
}

/// The path of an answer is indented.
fn lines(trace: &Trace, depth: usize, out: &mut Formatter<'_>) -> Result {
    let indent = depth * 2;
    let mut ends = trace.ends.iter().peekable();
    for index in 0..=trace.steps.len() {
        while let Some(end) = ends.next_if(|end| end.after <= index) {
            writeln!(out, "{:indent$}=> {} | {}", "", end.ending, end.packet)?;
            if let Ending::Answered { path, .. } = &end.ending {
                lines(path, depth + 1, out)?;
            }
        }
        if let Some(step) = trace.steps.get(index) {
            writeln!(out, "{:indent$}{step}", "")?;
        }
    }
    Ok(())
}
