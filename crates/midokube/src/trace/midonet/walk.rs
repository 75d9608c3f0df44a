//! Simulating a packet and its reply. No I/O.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, anyhow, bail};
use ipnet::IpNet;
use midonet_simulator::{Answer, Ending, Origin, Packet, Reason, State, Topology, Trace, Transport};
use naming::Mac;
use uuid::Uuid;

use super::remedy::remedy;
use super::topology::{Node, Snapshot, Source};
use crate::port::Port;
use crate::trace::view::{End, Outcome, Part, View};

/// The port that connections come from, and the id of pings.
const SOURCE_PORT: u16 = 40_000;

/// Where a packet goes from there to there, and its reply.
///
/// # Errors
/// The protocol is not simulated.
pub(super) fn walk(
    snapshot: &Snapshot,
    from: &Source,
    (name, to): &(String, Ipv4Addr),
    port: &Port,
    seed: u64,
) -> Result<View<Trace>> {
    let transport = match port.protocol {
        "tcp" => Transport::Tcp { src_port: SOURCE_PORT, dst_port: port.number },
        "udp" => Transport::Udp { src_port: SOURCE_PORT, dst_port: port.number },
        "icmp" => Transport::Echo { reply: false, id: SOURCE_PORT },
        other => bail!("{other} is not simulated: tcp, udp and icmp are"),
    };
    let (topology, problems) = Topology::posted(&snapshot.resources);
    let mut all = snapshot.problems.clone();
    all.extend(problems.iter().map(ToString::to_string));
    let mut walk = Walk { snapshot, topology, state: State::new(seed), parts: Vec::new() };
    let outcome = walk.there_and_back(from, *to, &transport)?;
    let ends = [
        End { name: from.name.clone(), address: from.address.into() },
        End { name: name.clone(), address: (*to).into() },
    ];
    Ok(View::new("midonet", ends, port, walk.parts, outcome, all))
}

struct Walk<'a> {
    snapshot: &'a Snapshot,
    topology: Topology,
    state: State,
    parts: Vec<Part<Trace>>,
}

/// An interface in the network.
struct At<'a> {
    node: &'a Node,
    interface: &'a str,
    mac: Mac,
    address: Ipv4Addr,
}

impl Walk<'_> {
    fn there_and_back(&mut self, from: &Source, to: Ipv4Addr, transport: &Transport) -> Result<Outcome> {
        let at = At { node: &from.node, interface: &from.interface, mac: from.mac, address: from.address };
        let (host, interface, packet) = match self
            .send(&at, to, "packet", |macs| Packet::ipv4(macs, from.address, to, transport.clone()))?
        {
            Ok(delivered) => delivered,
            Err(outcome) => return Ok(outcome),
        };
        let snapshot = self.snapshot;
        let receiver =
            || snapshot.owner(host, &interface).unwrap_or("an interface that is nobody's").to_owned();
        let Some(node) = snapshot.node(host) else {
            bail!("the packet comes to a host {host} that no Node is: see the Events of the Nodes")
        };
        let Some(reply) = packet.swapped() else { bail!("the packet {packet} has no reply") };
        let midonet_simulator::Payload::Ipv4(ip) = &reply.payload else {
            bail!("the packet {packet} is ARP")
        };
        let (address, back) = (ip.src, ip.dst);
        let there = At { node, interface: &interface, mac: reply.src_mac, address };
        let sent = self.send(&there, back, "reply", |(src_mac, dst_mac)| Packet {
            src_mac,
            dst_mac,
            payload: reply.payload.clone(),
        })?;
        Ok(match sent {
            Ok((host, interface, _)) if (host, interface.as_str()) == (from.node.host, &*from.interface) => {
                Outcome::answered(&receiver(), &node.name)
            }
            Ok((host, interface, packet)) => {
                let other = snapshot.owner(host, &interface).unwrap_or("nobody known");
                Outcome::lost(
                    format!("the reply of {} comes to {other}, as {packet}", receiver()),
                    "see the rules above: the reply is not translated back",
                )
            }
            Err(outcome) => outcome,
        })
    }

    /// Asks for the MAC address of the next hop, and sends: where it comes out.
    fn send(
        &mut self,
        at: &At<'_>,
        to: Ipv4Addr,
        what: &'static str,
        packet: impl FnOnce((Mac, Mac)) -> Packet,
    ) -> Result<Result<(Uuid, String, Packet), Outcome>> {
        let hop = if at.node.cidr.contains(&to) {
            to
        } else {
            let IpAddr::V4(gateway) = naming::subnet::gateway(IpNet::V4(at.node.cidr))? else {
                return Err(anyhow!("{} has no IPv4 gateway", at.node.cidr));
            };
            gateway
        };
        let request = Packet::arp_request(at.mac, at.address, hop);
        let asked = self.simulate(at, request);
        let mac = asked.ends.iter().find_map(|end| match &end.ending {
            Ending::Answered { answer: Answer::Arp { mac }, .. } => Some(*mac),
            _ => None,
        });
        let Some(mac) = mac else {
            let reason = reason(&asked);
            let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            let remedy = reason.map_or("", remedy);
            self.parts.push(Part { what: "ARP request", trace: asked });
            return Ok(Err(Outcome::lost(
                format!("nobody has the MAC address of {hop}, the next hop{why}"),
                if remedy.is_empty() { super::remedy::UNKNOWN_ADDRESS } else { remedy },
            )));
        };
        let trace = self.simulate(at, packet((at.mac, mac)));
        let came = match (trace.delivered().as_slice(), trace.end()) {
            ([(host, interface)], Some(end)) => Ok((*host, (*interface).to_owned(), end.packet.clone())),
            _ => Err(lost(what, &trace)),
        };
        self.parts.push(Part { what, trace });
        Ok(came)
    }

    fn simulate(&mut self, at: &At<'_>, packet: Packet) -> Trace {
        let from = Origin::Interface { host: at.node.host, interface: at.interface };
        self.topology.simulate(&mut self.state, from, packet)
    }
}

/// Why a packet does not come out.
fn reason(trace: &Trace) -> Option<&Reason> {
    trace.ends.iter().find_map(|end| match &end.ending {
        Ending::Dropped { reason } | Ending::Answered { answer: Answer::IcmpError { reason, .. }, .. } => {
            Some(reason)
        }
        _ => None,
    })
}

fn lost(what: &str, trace: &Trace) -> Outcome {
    let Some(end) = trace.end() else {
        return Outcome::lost(format!("there are {} copies of the {what}", trace.ends.len()), "");
    };
    match &end.ending {
        Ending::Dropped { reason } => {
            Outcome::lost(format!("the {what} is dropped: {reason}"), remedy(reason))
        }
        Ending::Answered { answer: Answer::IcmpError { kind, reason }, .. } => Outcome::lost(
            format!("a device answers to the {what} with ICMP {kind}: {reason}"),
            remedy(reason),
        ),
        Ending::Answered { answer: Answer::EchoReply, .. } => Outcome::device(),
        Ending::Answered { answer: Answer::Arp { .. }, .. } | Ending::Consumed | Ending::Delivered { .. } => {
            Outcome::lost(format!("the {what} ends at a device"), "")
        }
    }
}
