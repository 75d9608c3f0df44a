//! Carrying a packet from node to node, and its reply back. No I/O of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use nodeapi::v1;
use nodeapi::v1::trace_packet_request::Entrance;

use super::path::{Hop, Path};
use crate::name::Name;
use crate::port::Port;
use crate::trace::args::{Place, Target};
use crate::trace::view::{Outcome, Part};

/// A packet comes to no more nodes than that.
const MOST_NODES: usize = 4;

/// The nodes.
pub(in crate::trace) trait Ask {
    /// The node of who sends, and its addresses; none: they are not known.
    fn home(&mut self, from: &Place) -> Result<(String, Vec<IpAddr>)>;

    /// Whom it is for, as far as a node knows.
    fn find(&mut self, node: &str, to: &Target) -> Result<Found>;

    /// What a node does with a packet.
    fn trace(&mut self, node: &str, request: &v1::TracePacketRequest) -> Result<v1::TracePacketReply>;
}

/// Whom a packet is for.
#[derive(Debug, Default)]
pub(in crate::trace) struct Found {
    pub(in crate::trace) addresses: Vec<IpAddr>,
    /// Of a Pod or a node.
    pub(in crate::trace) node: Option<String>,
    /// Of a Service.
    pub(in crate::trace) ports: Vec<v1::TraceServicePort>,
}

/// What is traced.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) node: String,
    /// `None`: a process of the node sends it.
    pub(super) pod: Option<Name>,
    pub(super) destination: IpAddr,
    pub(super) port: Port,
    /// 0: any.
    pub(super) source_port: u16,
}

/// What became of a packet.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) source: IpAddr,
    pub(super) parts: Vec<Part<Path>>,
    pub(super) outcome: Outcome,
}

/// Where a packet ends that was not dropped.
enum End {
    /// Who has it now answers, from there.
    Receiver { node: String, entrance: Entrance, name: String, packet: v1::TracePacket, reason: String },
    /// Nobody follows it further.
    Over(Outcome),
}

/// Follows it.
///
/// # Errors
/// The first node does not answer, or what it says cannot be understood.
pub(super) fn walk(ask: &mut impl Ask, start: &Start) -> Result<Walked> {
    let mut walk = Walk { ask, states: BTreeMap::new(), source: None };
    let entrance = match &start.pod {
        Some(Name { namespace, name }) => {
            Entrance::Pod(v1::PodName { namespace: namespace.clone(), name: name.clone() })
        }
        None => Entrance::Node(true),
    };
    let packet = v1::TracePacket {
        protocol: start.port.protocol.to_owned(),
        source_port: start.source_port.into(),
        destination: start.destination.to_string(),
        destination_port: start.port.number.into(),
        ..v1::TracePacket::default()
    };
    let mut parts = Vec::new();
    let (path, end) = walk.follow(&start.node, entrance.clone(), packet, "packet")?;
    parts.push(Part { what: "packet", trace: path });
    let sent = walk.source.clone().context("the agent does not say what was sent")?;
    let source = sent.source.parse().context("the agent does not say who sends")?;
    let outcome = match end {
        End::Over(outcome) => outcome,
        End::Receiver { node, entrance: there, name, packet, reason } => {
            let (path, back) = walk.follow(&node, there, answer(&packet), "reply")?;
            parts.push(Part { what: "reply", trace: path });
            judge(back, &sent, &start.node, &entrance, Outcome::answered(&name, &node).because(&reason))
        }
    };
    Ok(Walked { source, parts, outcome })
}

/// Whether the reply came to who sent the packet, as its reply.
fn judge(back: End, sent: &v1::TracePacket, home: &str, entrance: &Entrance, answered: Outcome) -> Outcome {
    match back {
        End::Over(outcome) => outcome,
        End::Receiver { node, entrance: came, name, packet, reason } => {
            let is_home = node == home && came == *entrance;
            let expected = answer(sent);
            let is_reply = (&packet.source, packet.source_port, &packet.destination, packet.destination_port)
                == (&expected.source, expected.source_port, &expected.destination, expected.destination_port);
            if is_home && is_reply {
                return answered;
            }
            let as_what = format!(
                "from {} port {} to {} port {}",
                packet.source, packet.source_port, packet.destination, packet.destination_port
            );
            Outcome::lost(
                format!("the reply comes to {name} on {node}, {as_what}: that is no reply to the packet"),
                "see the steps of the reply: the connection is not known where it should be",
            )
            .because(&reason)
        }
    }
}

/// The reply to a packet.
fn answer(packet: &v1::TracePacket) -> v1::TracePacket {
    v1::TracePacket {
        protocol: packet.protocol.clone(),
        source: packet.destination.clone(),
        source_port: packet.destination_port,
        destination: packet.source.clone(),
        destination_port: packet.source_port,
        reply: true,
    }
}

struct Walk<'a, A> {
    ask: &'a mut A,
    /// What each node has to be told again.
    states: BTreeMap<String, Vec<v1::TraceEntry>>,
    /// As the packet was sent first.
    source: Option<v1::TracePacket>,
}

impl<A: Ask> Walk<'_, A> {
    /// From node to node, until somebody has it.
    fn follow(
        &mut self,
        node: &str,
        entrance: Entrance,
        packet: v1::TracePacket,
        what: &'static str,
    ) -> Result<(Path, End)> {
        let (mut path, mut node, mut entrance, mut packet) =
            (Path::default(), node.to_owned(), entrance, packet);
        while path.hops.len() < MOST_NODES {
            let state = self.states.get(&node).cloned().unwrap_or_default();
            let request =
                v1::TracePacketRequest { entrance: Some(entrance), packet: Some(packet.clone()), state };
            let reply = match self.ask.trace(&node, &request) {
                Ok(reply) => reply,
                Err(error) if self.source.is_none() => return Err(error),
                Err(error) => {
                    let why = format!("the {what} comes to node {node}, which does not tell: {error:#}");
                    let remedy = "ask again when that node's agent answers: see `midokube doctor`";
                    return Ok((path, End::Over(Outcome::unknown(why, remedy))));
                }
            };
            if reply.network != "embedded" {
                bail!(
                    "a MidoNet carries the packets of node {node}: trace with a kubeconfig, without --this-node"
                );
            }
            if self.source.is_none() {
                self.source.clone_from(&reply.sent);
            }
            self.states.insert(node.clone(), reply.state.clone());
            path.hops.push(Hop::from(&reply));
            if reply.no_route {
                let (to, why) = match reply.exit.as_str() {
                    "tunnel" => (
                        reply.tunnel_end.clone(),
                        format!(", where the tunnel to node {} ends", reply.next_node),
                    ),
                    _ => (reply.packet.unwrap_or_default().destination, String::new()),
                };
                let why = format!(
                    "the {what} is dropped by node {node}'s network stack: it has no route to {to}{why}"
                );
                let remedy = format!(
                    "see `ip route get {to}` on {node}, whether the interfaces that lead out of it are up, and what `midokube doctor` says"
                );
                return Ok((path, End::Over(Outcome::lost(why, &remedy).because(&reply.reason))));
            }
            if reply.exit != "tunnel" {
                let end = end(reply, &node, what)?;
                return Ok((path, end));
            }
            packet = v1::TracePacket {
                reply: packet.reply,
                ..reply.packet.context("the agent does not say what leaves")?
            };
            entrance = Entrance::Tunnel(reply.tunnel_own);
            if reply.next_node.is_empty() {
                let why = format!(
                    "the {what} is sent to {}, where no Node's tunnel ends that {node} knows",
                    reply.tunnel_end
                );
                let remedy = "the Node was just removed or changed its address: see `midokube status peers`";
                return Ok((path, End::Over(Outcome::lost(why, remedy).because(&reply.reason))));
            }
            node = reply.next_node;
        }
        let why = format!("the {what} is sent from node to node, more than {MOST_NODES} times");
        Ok((path, End::Over(Outcome::lost(why, "the nodes know different podCIDRs: see `midokube doctor`"))))
    }
}

/// What a node says of a packet that does not go on to another one.
fn end(reply: v1::TracePacketReply, node: &str, what: &str) -> Result<End> {
    let v1::TracePacketReply { reason, help, remedy, exit, packet, pod, own_address, told, .. } = reply;
    let receiver = |entrance: Entrance, name: String| {
        let packet = packet.clone().context("the agent does not say what arrives")?;
        Ok(End::Receiver { node: node.to_owned(), entrance, name, packet, reason: reason.clone() })
    };
    match exit.as_str() {
        "pod" => {
            let pod =
                pod.context("the agent does not say whose the interface is: its Pod was just deleted")?;
            let name = format!("Pod {}/{}", pod.namespace, pod.name);
            receiver(Entrance::Pod(pod), name)
        }
        "node" if own_address => receiver(Entrance::Node(true), "a process".to_owned()),
        "node" | "outside" => {
            let why = match reason.as_str() {
                "via_node" => format!("node {node}'s network stack forwards it, where it is not followed"),
                _ => format!("the {what} leaves the cluster at node {node}: what is outside is not followed"),
            };
            Ok(End::Over(Outcome::left(why).because(&reason)))
        }
        "answered" if reason == "echo_reply" => {
            Ok(End::Over(Outcome::left(format!("the gateway answers on {node}")).because(&reason)))
        }
        "answered" | "dropped" => {
            let (is, told) = if exit == "dropped" {
                ("dropped", if told { ", and its sender is told" } else { "" })
            } else {
                ("answered by the network", "")
            };
            let why = format!("the {what} is {is} on node {node}{told}: {help}");
            Ok(End::Over(Outcome::lost(why, &remedy).because(&reason)))
        }
        other => bail!("the agent of {node} says {other:?}: it has another version than this midokube"),
    }
}
