//! What the packets of a connection say together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

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

/// While all nodes were followed, by the clock of each: what passed one of them meanwhile has been seen on the others.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<String, [u64; 2]>);

/// A packet takes no longer from node to node.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

impl Watched {
    /// A node has told what it saw until then. It began before, and so did the others.
    pub(super) fn told(&mut self, node: &str, time: u64) {
        let [_, until] = self.0.entry(node.to_owned()).or_insert([time; 2]);
        *until = time;
    }

    fn has(&self, row: &Row) -> bool {
        let on_its_way = u64::try_from(ON_ITS_WAY.as_nanos()).unwrap_or(u64::MAX);
        let is_within = |[from, until]: &[u64; 2]| {
            row.seen.time >= *from && row.seen.time.saturating_add(on_its_way) <= *until
        };
        self.0.get(&row.node).is_some_and(is_within) && self.0.contains_key(&row.seen.next_node)
    }
}

/// What the packets say. `lost`: how many were not told.
pub(super) fn judge(connection: &Connection, plan: &Plan, watched: &Watched, lost: u64) -> Outcome {
    let packets = connection.packets();
    if packets.is_empty() {
        return nothing(plan, connection.others());
    }
    if let Some((packet, row)) = dropped(connection) {
        let told = if row.seen.told { ", and its sender is told" } else { "" };
        return Outcome {
            arrives: Some(false),
            why: format!("packet {} is dropped on node {}{told}: {}", packet.number, row.node, row.seen.help),
            reason: row.seen.reason.clone(),
            remedy: row.seen.remedy.clone(),
        };
    }
    // Of packets that were too many, hops are missing, too.
    if lost == 0
        && let Some((packet, row)) = missing(connection, watched)
    {
        let (from, to) = (&row.node, &row.seen.next_node);
        return Outcome {
            arrives: Some(false),
            why: format!(
                "packet {} leaves node {from} through the tunnel to node {to}, where it is not seen",
                packet.number
            ),
            reason: String::new(),
            remedy: format!("something between {from} and {to} drops it: see `midokube doctor`"),
        };
    }
    let (there, back) =
        (packets.iter().any(|packet| packet.forward), packets.iter().any(|packet| !packet.forward));
    match (there, back) {
        (true, true) => Outcome {
            arrives: Some(true),
            why: "packets pass in both directions".to_owned(),
            reason: String::new(),
            remedy: String::new(),
        },
        (false, _) => Outcome {
            arrives: None,
            why: format!("{} sent nothing meanwhile; what it got passes", plan.from.name),
            reason: String::new(),
            remedy: String::new(),
        },
        (true, false) => unanswered(connection, plan),
    }
}

fn nothing(plan: &Plan, others: &BTreeSet<u32>) -> Outcome {
    let (from, to) = (&plan.from.name, &plan.to.name);
    let (why, remedy) = match others.first() {
        Some(port) => {
            let all = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            (
                format!("no connection of {from} to {to} began; those from its ports {all} had begun before"),
                format!("follow one of them with --source-port {port}"),
            )
        }
        None => (
            format!("no packet of {from} to {to} was seen"),
            "it sent none meanwhile, or to another address or port: what would become of one is told without --live".to_owned(),
        ),
    };
    Outcome { arrives: None, why, reason: String::new(), remedy }
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

/// The last packet that left through a tunnel, and is not seen where that ends, nor is any later one.
fn missing<'a>(connection: &'a Connection, watched: &Watched) -> Option<(&'a Packet, &'a Row)> {
    for forward in [true, false] {
        let of = |packet: &&Packet| packet.forward == forward;
        let sent = connection.packets().iter().rev().filter(of).find_map(|packet| {
            let row = connection.rows_of(packet).find(|row| row.seen.exit == "tunnel")?;
            watched.has(row).then_some((packet, row))
        });
        let Some((packet, row)) = sent else { continue };
        // Segments are cut and put together on their way: any later one will do.
        let mut later = connection.packets().iter().skip(packet.number - 1).filter(of);
        let arrives = later.any(|later| connection.rows_of(later).any(|one| one.node == row.seen.next_node));
        if !arrives {
            return Some((packet, row));
        }
    }
    None
}

fn unanswered(connection: &Connection, plan: &Plan) -> Outcome {
    let rows = connection.packets().iter().rev().flat_map(|packet| connection.rows_of(packet).rev());
    let last =
        rows.into_iter().find(|row| matches!(row.seen.exit.as_str(), "pod" | "node" | "outside" | "tunnel"));
    let (why, remedy) = match last {
        Some(row) if row.seen.exit == "pod" => {
            let to = row.seen.to.as_ref();
            let to =
                to.map_or_else(|| plan.to.name.clone(), |pod| format!("Pod {}/{}", pod.namespace, pod.name));
            (
                format!("{to} on node {} gets it, and no answer is seen", row.node),
                "see whether a process in the Pod listens at that port, on all its addresses",
            )
        }
        Some(row) if row.seen.exit == "tunnel" => (
            format!(
                "it leaves node {} through the tunnel to another one, which is not followed, and no answer is seen",
                row.node
            ),
            "name the Pod or the Service instead of its address, or see `midokube doctor`",
        ),
        Some(row) if row.seen.exit == "outside" || row.seen.reason == "external" => (
            format!("it leaves the cluster at node {}, and no answer comes back", row.node),
            "what is outside is not followed: see whether it can be reached from the node itself",
        ),
        Some(row) => (
            format!("the network stack of node {} gets it, and no answer is seen", row.node),
            "see whether a process of the node listens at that port, and the node's firewall",
        ),
        None => ("no answer is seen".to_owned(), "see the packets above"),
    };
    Outcome { arrives: Some(false), why, reason: String::new(), remedy: remedy.to_owned() }
}
