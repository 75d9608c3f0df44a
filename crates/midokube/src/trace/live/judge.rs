//! What the packets of a connection say together.

use std::collections::{BTreeMap, BTreeSet};

use nodeapi::v1::FollowedPacket;

use super::connection::{Connection, Packet, Row};
use super::plan::Plan;

/// How it ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Whether packets pass in both directions; `None`: it cannot be told.
    pub(super) arrives: Option<bool>,
    pub(super) why: String,
    /// Under what a packet was dropped; empty: none was.
    pub(super) reason: String,
    /// What to do about it; may be empty.
    pub(super) remedy: String,
}

impl Outcome {
    fn new(arrives: Option<bool>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { arrives, why: why.into(), reason: String::new(), remedy: remedy.into() }
    }
}

/// A packet that is told in a round has come to the other node by the round after the next.
const ON_ITS_WAY: usize = 2;

/// How far each node has told what it saw: the last round in which it told all.
#[derive(Debug, Default)]
pub(super) struct Told {
    all: BTreeMap<String, usize>,
    /// There are packets that nobody told.
    is_partial: bool,
}

impl Told {
    /// Somebody did not tell, or there were too many packets.
    pub(super) fn partially(&mut self) {
        self.is_partial = true;
    }

    /// A node has told all that it saw before this round.
    pub(super) fn all(&mut self, node: &str, round: usize) {
        self.all.insert(node.to_owned(), round);
    }

    /// Whether the next node would have told of this packet by now.
    fn has(&self, row: &Row) -> bool {
        self.all.get(&row.seen.next_node).is_some_and(|round| *round >= row.round + ON_ITS_WAY)
    }
}

/// What the packets say.
pub(super) fn judge(connection: &Connection, plan: &Plan, told: &Told) -> Outcome {
    let packets = connection.packets();
    if packets.is_empty() {
        return nothing(plan, connection.others());
    }
    if let Some((packet, row)) = dropped(connection) {
        let is_told = if row.seen.told { ", and its sender is told" } else { "" };
        let why =
            format!("packet {} is dropped on node {}{is_told}: {}", packet.number, row.node, row.seen.help);
        return Outcome {
            reason: row.seen.reason.clone(),
            ..Outcome::new(Some(false), why, row.seen.remedy.clone())
        };
    }
    // Of packets that were not told, hops are missing, too.
    if !told.is_partial
        && let Some((packet, row)) = missing(connection, told)
    {
        let (from, to) = (&row.node, &row.seen.next_node);
        let number = packet.number;
        let why = format!(
            "packet {number} leaves node {from} through the tunnel to node {to}, where it is not seen"
        );
        return Outcome::new(
            Some(false),
            why,
            format!("something between {from} and {to} drops it: see `midokube doctor`"),
        );
    }
    let is_error =
        |packet: &&Packet| connection.first_of(packet).is_some_and(|first| !first.about_source.is_empty());
    let back = || packets.iter().filter(|packet| !packet.forward);
    let has_answer = back().any(|packet| !is_error(&packet));
    if let Some(error) = back().find(is_error).and_then(|packet| connection.first_of(packet))
        && !has_answer
    {
        return refused(error);
    }
    match (packets.iter().any(|packet| packet.forward), has_answer) {
        (true, true) if back().all(|packet| connection.has_flag(packet, "RST")) => Outcome::new(
            Some(true),
            "packets pass in both directions, and the server refuses the connection (RST)",
            "see whether a process listens there at that port",
        ),
        (true, true) => Outcome::new(Some(true), "packets pass in both directions", ""),
        (false, _) => {
            let why = format!("{} sent nothing meanwhile; what it got passes", plan.from.name);
            Outcome::new(None, why, "")
        }
        (true, false) => unanswered(connection, plan),
    }
}

/// All that comes back is an ICMP error.
fn refused(error: &FollowedPacket) -> Outcome {
    let what = error.what.split(", about ").next().unwrap_or_default();
    let remedy = match what {
        "port unreachable" => "no process listens there at that port",
        "fragmentation needed" | "packet too big" => {
            "the sender has to send smaller packets: see `midokube doctor` for the MTU"
        }
        "administratively prohibited" => "a policy or a firewall rejects it",
        _ => "see whether that address can be reached from the node itself",
    };
    Outcome::new(Some(false), format!("{} answers with an ICMP error: {what}", error.source), remedy)
}

fn nothing(plan: &Plan, others: &BTreeSet<u32>) -> Outcome {
    let (from, to) = (&plan.from.name, &plan.to.name);
    match others.first() {
        Some(port) => {
            let all = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let why =
                format!("no connection of {from} to {to} began; those from its ports {all} had begun before");
            Outcome::new(None, why, format!("follow one of them with --source-port {port}"))
        }
        None => Outcome::new(
            None,
            format!("no packet of {from} to {to} was seen"),
            "it sent none meanwhile, or to another address or port: what would become of one is told without --live",
        ),
    }
}

/// The last packet that was dropped, if none passed that hook later.
fn dropped(connection: &Connection) -> Option<(&Packet, &Row)> {
    let of =
        |packet| connection.rows_of(packet).find(|row| row.seen.exit == "dropped").map(|row| (packet, row));
    let (packet, row) = connection.packets().iter().rev().find_map(of)?;
    let later =
        connection.packets().iter().skip(packet.number).filter(|later| later.forward == packet.forward);
    let passes = later.flat_map(|later| connection.rows_of(later)).any(|later| {
        later.node == row.node
            && later.seen.hook == row.seen.hook
            && later.seen.interface == row.seen.interface
    });
    (!passes).then_some((packet, row))
}

/// The last packet that left through a tunnel, and is not seen where that ends, nor is any other of its direction from then on.
/// What is answered has arrived.
fn missing<'a>(connection: &'a Connection, told: &Told) -> Option<(&'a Packet, &'a Row)> {
    let forward = connection.packets().iter().all(|packet| packet.forward);
    let of = |packet: &&Packet| packet.forward == forward;
    let (packet, row) = connection.packets().iter().rev().filter(of).find_map(|packet| {
        let row = connection.rows_of(packet).find(|row| row.seen.exit == "tunnel")?;
        told.has(row).then_some((packet, row))
    })?;
    // Segments are cut and put together on their way: any other of that time will do.
    let mut others = connection.packets().iter().filter(of).flat_map(|other| connection.rows_of(other));
    let arrives = others.any(|other| other.node == row.seen.next_node && other.round + 1 >= row.round);
    (!arrives).then_some((packet, row))
}

/// The furthest that a packet of the client came.
fn unanswered(connection: &Connection, plan: &Plan) -> Outcome {
    let forward = || connection.packets().iter().filter(|packet| packet.forward);
    let rows = |exits: &[&str]| {
        let all = forward().rev().flat_map(|packet| connection.rows_of(packet).rev());
        all.into_iter().find(|row| exits.contains(&row.seen.exit.as_str()))
    };
    let Some(last) = rows(&["pod", "node", "outside"]).or_else(|| rows(&["tunnel"])) else {
        return Outcome::new(Some(false), "no answer is seen", "see the packets above");
    };
    let node = &last.node;
    let (why, remedy) = match last.seen.exit.as_str() {
        "pod" => {
            let to = last.seen.to.as_ref();
            let to =
                to.map_or_else(|| plan.to.name.clone(), |pod| format!("Pod {}/{}", pod.namespace, pod.name));
            (
                format!("{to} on node {node} gets it, and no answer is seen"),
                "see whether a process in the Pod listens at that port, on all its addresses",
            )
        }
        "tunnel" => (
            format!(
                "it leaves node {node} through the tunnel, it is not told what becomes of it, and no answer is seen"
            ),
            "see whether the agent of the other node can be asked: `midokube doctor`",
        ),
        "node" if last.seen.reason != "external" => (
            format!("the network stack of node {node} gets it, and no answer is seen"),
            "see whether a process of the node listens at that port, and the node's firewall",
        ),
        _ => (
            format!("it leaves the cluster at node {node}, and no answer comes back"),
            "what is outside is not followed: see whether it can be reached from the node itself",
        ),
    };
    Outcome::new(Some(false), why, remedy)
}
