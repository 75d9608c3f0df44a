//! The packets that have to pass the firewall.

use std::net::IpAddr;

use crate::family::Family;
use crate::link::Link;
use crate::probe::packet::{Packet, Port, TCP, UDP};
use crate::probe::question::{Question, outside};
use crate::probe::uplink::Uplink;

/// NF_INET_*.
pub(super) const PREROUTING: u32 = 0;
pub(super) const INPUT: u32 = 1;
pub(super) const FORWARD: u32 = 2;
pub(super) const OUTPUT: u32 = 3;
pub(super) const HOOKS: [u32; 4] = [PREROUTING, INPUT, FORWARD, OUTPUT];

/// The most common port of the outside: HTTPS.
const OUTSIDE_PORT: u16 = 443;
/// A port that is open on every node: the kubelet's.
const NODE_PORT: u16 = 10250;

/// A packet that has to pass, and what is lost if it does not.
pub(super) struct Need {
    pub(super) what: &'static str,
    pub(super) hook: u32,
    pub(super) packet: Packet,
    pub(super) lost: String,
    pub(super) accept: Accept,
}

/// What a rule that lets a packet pass says.
pub(super) enum Accept {
    From(String),
    To(String),
    Port(u16),
}

pub(super) fn port(link: &Link) -> Port {
    Port { name: link.name.clone(), ifindex: Some(link.ifindex) }
}

pub(super) fn needs(question: &Question, links: &[Link], uplinks: &[Uplink]) -> Vec<Need> {
    let inside = Port {
        name: question.inside.clone(),
        ifindex: links.iter().find(|link| link.name == question.inside).map(|link| link.ifindex),
    };
    let mut needs = Vec::new();
    for family in question.families() {
        let (Some(node), Some(pod)) = (question.node_address(family), question.pod_address(family)) else {
            continue;
        };
        needs.extend(pods_needs(family, node, pod, &inside, uplinks));
    }
    if !question.direct {
        needs.extend(tunnels_needs(question, uplinks));
    }
    needs
}

/// What a Pod's packets need of forward and input.
fn pods_needs(family: Family, node: IpAddr, pod: IpAddr, inside: &Port, uplinks: &[Uplink]) -> Vec<Need> {
    let from_pod = Packet {
        family,
        input: Some(inside.clone()),
        output: None,
        source: Some(pod),
        destination: node,
        protocol: TCP,
        port: Some(NODE_PORT),
        established: false,
        translated: false,
    };
    let (from, to) = (|| Accept::From(inside.name.clone()), || Accept::To(inside.name.clone()));
    let mut needs = Vec::new();
    let lost = format!("{family} packets of Pods to their own node (such as TCP port {NODE_PORT})");
    for hook in [PREROUTING, INPUT] {
        let (packet, lost) = (from_pod.clone(), lost.clone());
        needs.push(Need { what: "input_dropped", hook, packet, lost, accept: from() });
    }
    // A Service's address is translated to another Pod's: in and out by the same interface.
    let service =
        Packet { output: Some(inside.clone()), destination: node, translated: true, ..from_pod.clone() };
    let lost = format!("{family} packets of Pods to Services");
    needs.push(Need { what: "forward_dropped", hook: FORWARD, packet: service, lost, accept: from() });
    for uplink in uplinks.iter().filter(|uplink| uplink.families.contains(&family)) {
        let out = Packet {
            output: Some(port(&uplink.link)),
            destination: outside(family),
            port: Some(OUTSIDE_PORT),
            ..from_pod.clone()
        };
        let back = Packet {
            input: out.output.clone(),
            output: out.input.clone(),
            source: Some(out.destination),
            destination: pod,
            port: None,
            established: true,
            ..out.clone()
        };
        let lost = format!("{family} packets of Pods to the outside");
        needs.push(Need { what: "forward_dropped", hook: FORWARD, packet: out, lost, accept: from() });
        let lost = format!("{family} answers from the outside to Pods");
        needs.push(Need { what: "forward_dropped", hook: FORWARD, packet: back, lost, accept: to() });
    }
    needs
}

/// What packets of tunnels need of input and output; with direct encapsulation they meet neither.
fn tunnels_needs(question: &Question, uplinks: &[Uplink]) -> Vec<Need> {
    let tunnel_port = question.tunnel_port;
    let mut peers = question.peers.iter().map(|(_, address)| *address);
    let peer = peers.find(|peer| peer.is_ipv4() == question.tunnel_address.is_ipv4());
    let Some(peer) = peer else { return Vec::new() };
    let mut needs = Vec::new();
    for uplink in uplinks.iter().filter(|uplink| uplink.tunnels) {
        let input = Packet {
            source: Some(peer),
            ..tunnel_packet(question.tunnel_address, tunnel_port, Some(port(&uplink.link)))
        };
        let output = Packet {
            output: input.input.clone(),
            input: None,
            source: Some(question.tunnel_address),
            destination: peer,
            ..input.clone()
        };
        for (hook, packet, which) in
            [(PREROUTING, input.clone(), "from"), (INPUT, input, "from"), (OUTPUT, output, "to")]
        {
            let lost = format!("tunnels {which} other nodes (UDP port {tunnel_port})");
            needs.push(Need {
                what: "tunnel_dropped",
                hook,
                packet,
                lost,
                accept: Accept::Port(tunnel_port),
            });
        }
    }
    needs
}

pub(super) fn tunnel_packet(tunnel_address: IpAddr, tunnel_port: u16, input: Option<Port>) -> Packet {
    Packet {
        family: Family::of(tunnel_address),
        input,
        output: None,
        source: None,
        destination: tunnel_address,
        protocol: UDP,
        port: Some(tunnel_port),
        established: false,
        translated: false,
    }
}
