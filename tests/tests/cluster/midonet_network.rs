//! The network that a MidoNet has: which of a cluster's packets come where.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use midonet::Resource;
use midonet_simulator::{Origin, Packet, Payload, State, Topology, Transport};
use naming::{Mac, key_mac};

use super::midonet::host;

/// How often each Pod asks a Service. Of four endpoints each is expected to have sixty.
const CONNECTIONS: u16 = 60;

/// Where Pods' web servers listen.
const WEB: u16 = 8080;

/// A Pod, or a node in the network of its Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) node: String,
    /// The interface on the node.
    pub(super) interface: String,
    pub(super) mac: Mac,
    pub(super) address: Ipv4Addr,
}

pub(super) struct Network {
    topology: Topology,
    state: State,
    /// The source port of the next connection.
    port: u16,
}

impl Network {
    pub(super) fn of(resources: &[Resource]) -> Result<Self, String> {
        let (topology, problems) = Topology::posted(resources);
        if !problems.is_empty() {
            return Err(format!("{problems:?}"));
        }
        Ok(Self { topology, state: State::new(1), port: 10_000 })
    }

    /// Between Pods, and between nodes and Pods.
    pub(super) fn carries_between(&mut self, pods: &[End], nodes: &[End]) -> Result<(), String> {
        let all: Vec<&End> = pods.iter().chain(nodes).collect();
        for from in &all {
            for to in pods.iter().filter(|to| to != from) {
                let (got, packet) = self.connects(from, (to.address, WEB), &all)?;
                if got != to {
                    return Err(format!("{from:?} to {to:?}: {packet} comes to {got:?}"));
                }
            }
        }
        Ok(())
    }

    /// A Service is served by its Pods alike, and a Pod reaches itself through it.
    pub(super) fn spreads(
        &mut self,
        pods: &[End],
        nodes: &[End],
        service: (Ipv4Addr, u16),
    ) -> Result<(), String> {
        let all: Vec<&End> = pods.iter().chain(nodes).collect();
        let mut times: BTreeMap<Ipv4Addr, u16> = BTreeMap::new();
        for from in pods {
            let mut own = 0;
            for _ in 0..CONNECTIONS {
                let (got, packet) = self.connects(from, service, &all)?;
                let (src, dst) = tcp(&packet)?;
                if dst != (got.address, WEB) || !pods.contains(got) {
                    return Err(format!("{from:?} to the Service: {packet} comes to {got:?}"));
                }
                *times.entry(got.address).or_default() += 1;
                if got == from {
                    own += 1;
                    if src.0 != service.0 {
                        return Err(format!("{from:?} to itself through the Service has the source {src:?}"));
                    }
                }
            }
            if own == 0 {
                return Err(format!("{from:?} never reached itself through the Service"));
            }
        }
        let is_even = |pod: &End| {
            times.get(&pod.address).is_some_and(|n| (CONNECTIONS / 2..CONNECTIONS * 3 / 2).contains(n))
        };
        if pods.iter().all(is_even) { Ok(()) } else { Err(format!("not even: {times:?}")) }
    }

    /// No Pod gets what is for a port that the Service does not have, or for an address that nobody has.
    pub(super) fn carries_nothing_else(&mut self, pods: &[End], service: Ipv4Addr) -> Result<(), String> {
        let all: Vec<&End> = pods.iter().collect();
        for from in pods {
            // No Pod has the last address of its node's range, and no node that range.
            let [a, b, c, _] = from.address.octets();
            let nobodys = [Ipv4Addr::new(a, b, c, 255), Ipv4Addr::new(a, b, 250, 3)];
            for to in [(service, 81), (nobodys[0], WEB), (nobodys[1], WEB)] {
                if let Ok((got, packet)) = self.connects(from, to, &all) {
                    return Err(format!("{from:?} to {to:?}: {packet} comes to {got:?}"));
                }
            }
        }
        Ok(())
    }

    /// A first packet and its reply: where the first one came, and as what.
    fn connects<'a>(
        &mut self,
        from: &End,
        to: (Ipv4Addr, u16),
        all: &[&'a End],
    ) -> Result<(&'a End, Packet), String> {
        self.port += 1;
        let source = (from.address, self.port);
        let first = Packet::tcp((from.mac, next_hop(from, to.0, all)), source, to);
        let (got, packet) = self.sends(from, first, all)?;
        let mut reply = packet.swapped().ok_or("an ARP packet came")?;
        reply.dst_mac = next_hop(got, tcp(&packet)?.0.0, all);
        let (back, reply) = self.sends(got, reply, all)?;
        if back != from || tcp(&reply)? != (to, source) {
            return Err(format!("the reply of {got:?} to {packet} comes to {back:?} as {reply}"));
        }
        Ok((got, packet))
    }

    fn sends<'a>(
        &mut self,
        from: &End,
        packet: Packet,
        all: &[&'a End],
    ) -> Result<(&'a End, Packet), String> {
        let origin = Origin::Interface { host: host(&from.node), interface: &from.interface };
        let trace = self.topology.simulate(&mut self.state, origin, packet);
        let (delivered, end) = (trace.delivered(), trace.end());
        let ([(at, interface)], Some(end)) = (delivered.as_slice(), end) else {
            return Err(format!("{from:?}: it does not come out once\n{trace}"));
        };
        let got = all.iter().find(|end| host(&end.node) == *at && end.interface == *interface);
        let got = got.ok_or_else(|| format!("{from:?}: it comes to nobody known\n{trace}"))?;
        Ok((got, end.packet.clone()))
    }
}

/// The MAC address that an end sends to: one of its node, or the gateway.
fn next_hop(from: &End, to: Ipv4Addr, all: &[&End]) -> Mac {
    let near = all.iter().find(|end| end.node == from.node && end.address == to);
    near.map_or_else(|| key_mac(&from.node), |end| end.mac)
}

type Socket = (Ipv4Addr, u16);

fn tcp(packet: &Packet) -> Result<(Socket, Socket), String> {
    match &packet.payload {
        Payload::Ipv4(ip) => match ip.transport {
            Transport::Tcp { src_port, dst_port } => Ok(((ip.src, src_port), (ip.dst, dst_port))),
            _ => Err(format!("{packet} is no TCP segment")),
        },
        Payload::Arp(_) => Err(format!("{packet} is no TCP segment")),
    }
}
