//! The path of one packet, from node to node.

use std::fmt;

use nodeapi::v1;
use serde::Serialize;

/// The nodes that it came to, in their order.
#[derive(Debug, Default, Serialize)]
pub(in crate::trace) struct Path {
    pub(super) hops: Vec<Hop>,
}

impl Path {
    /// The node, the stage and what it did, of each.
    pub(in crate::trace) fn steps(&self) -> impl Iterator<Item = [&str; 3]> {
        self.hops.iter().flat_map(|hop| {
            hop.steps.iter().map(move |step| [hop.node.as_str(), step.what.as_str(), step.detail.as_str()])
        })
    }
}

/// What one node did with it.
#[derive(Debug, Serialize)]
pub(super) struct Hop {
    pub(super) node: String,
    pub(super) sent: Packet,
    pub(super) steps: Vec<Step>,
    pub(super) reason: String,
    pub(super) fate: String,
    pub(super) help: String,
    pub(super) exit: String,
    /// As it left; `None`: it went nowhere.
    pub(super) packet: Option<Packet>,
}

/// The ends of a packet; of a ping, the ports are its identifier.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Packet {
    pub(super) source: String,
    pub(super) source_port: u32,
    pub(super) destination: String,
    pub(super) destination_port: u32,
}

/// What a stage of the programs did.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) what: String,
    pub(super) detail: String,
    pub(super) policies: Vec<String>,
}

impl From<&v1::TracePacketReply> for Hop {
    fn from(reply: &v1::TracePacketReply) -> Self {
        let step = |step: &v1::TraceStep| Step {
            what: step.what.clone(),
            detail: step.detail.clone(),
            policies: step.policies.clone(),
        };
        Self {
            node: reply.node.clone(),
            sent: reply.sent.as_ref().map(Packet::from).unwrap_or_else(Packet::none),
            steps: reply.steps.iter().map(step).collect(),
            reason: reply.reason.clone(),
            fate: reply.fate.clone(),
            help: reply.help.clone(),
            exit: reply.exit.clone(),
            packet: reply.packet.as_ref().map(Packet::from),
        }
    }
}

impl Packet {
    fn none() -> Self {
        Self::from(&v1::TracePacket::default())
    }
}

impl From<&v1::TracePacket> for Packet {
    fn from(packet: &v1::TracePacket) -> Self {
        Self {
            source: packet.source.clone(),
            source_port: packet.source_port,
            destination: packet.destination.clone(),
            destination_port: packet.destination_port,
        }
    }
}

/// A line for every step.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.hops.iter().flat_map(|hop| &hop.steps).map(|step| step.what.len()).max();
        let width = longest.unwrap_or_default();
        for hop in &self.hops {
            writeln!(f, "on node {}", hop.node)?;
            for step in &hop.steps {
                writeln!(f, "  {:width$}  {}", step.what, step.detail)?;
            }
        }
        Ok(())
    }
}
