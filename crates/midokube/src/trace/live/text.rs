//! What is seen, for people.

use std::fmt::Write as _;
use std::time::Duration;

use nodeapi::v1::{FollowedPacket, SeenPacket};

use super::connection::{Connection, Row};
use super::judge::Outcome;
use super::plan::Plan;

/// What is followed, and for how long.
pub(super) fn head(plan: &Plan, nodes: &[String], duration: Duration) -> String {
    let Plan { from, to, port, .. } = plan;
    let mut text = format!("{} ({}) to {}", from.name, from.address, to.name);
    if to.name != to.address.to_string() {
        let _ = write!(text, " ({})", to.address);
    }
    let _ = if port.number == 0 {
        write!(text, ", {}", port.protocol)
    } else {
        write!(text, ", {}/{}", port.protocol, port.number)
    };
    let _ = writeln!(
        text,
        "\nFollowing on {}, for {}: send something now",
        nodes.join(", "),
        humantime::format_duration(duration)
    );
    text
}

/// Rows, each under the packet that it is of. `shown`: the packet whose rows were shown last.
pub(super) fn rows(connection: &Connection, rows: &[usize], shown: &mut Option<usize>) -> String {
    let mut text = String::new();
    let began = connection.rows().iter().map(|row| row.seen.time).min().unwrap_or_default();
    for row in rows.iter().filter_map(|row| connection.rows().get(*row)) {
        if *shown != Some(row.packet) {
            let before = row.seen.before.clone().unwrap_or_default();
            let _ = writeln!(text, "\nPacket {}: {}, {}", row.packet + 1, before.what, ends(&before));
            *shown = Some(row.packet);
        }
        let since = Duration::from_nanos(row.seen.time.saturating_sub(began)).as_secs_f64() * 1e3;
        let _ = writeln!(text, "  {since:>10.3} ms  {}  {}: {}", row.node, place(row), became(&row.seen));
    }
    text
}

/// How it ends.
pub(super) fn foot(outcome: &Outcome, lost: u64) -> String {
    let mut text = String::from("\n");
    if lost > 0 {
        let _ = writeln!(text, "{lost} packets were too many to be told");
    }
    let verdict = match outcome.arrives {
        Some(true) => "arrives",
        Some(false) => "DOES NOT ARRIVE",
        None => "NOT KNOWN",
    };
    let _ = writeln!(text, "Verdict: {verdict}: {}", outcome.why);
    if !outcome.reason.is_empty() {
        let _ = writeln!(text, "Reason: {}", outcome.reason);
    }
    if !outcome.remedy.is_empty() {
        let _ = writeln!(text, "Remedy: {}", outcome.remedy);
    }
    text
}

/// Where a packet was.
fn place(row: &Row) -> String {
    let SeenPacket { hook, interface, pod, .. } = &row.seen;
    match (hook.as_str(), pod) {
        (_, Some(pod)) => format!("from Pod {}/{}", pod.namespace, pod.name),
        ("from_overlay", _) => "from the VXLAN device".to_owned(),
        ("from_uplink", _) => format!("in at {interface}"),
        ("to_uplink", _) => format!("out at {interface}"),
        _ => format!("from the node, {interface}"),
    }
}

/// What became of it there.
fn became(seen: &SeenPacket) -> String {
    let SeenPacket { reason, exit, told, to, next_node, before, after, .. } = seen;
    let text = match exit.as_str() {
        "dropped" => {
            let told = if *told { ", and its sender is told" } else { "" };
            return format!("DROPPED ({reason}){told}");
        }
        "answered" => return format!("answered by the network ({reason})"),
        "pod" => match to {
            Some(pod) => format!("to Pod {}/{}", pod.namespace, pod.name),
            None => "delivered".to_owned(),
        },
        "node" if reason == "external" => "to the node's network stack, and out of the cluster".to_owned(),
        "node" => "to the node's network stack".to_owned(),
        "tunnel" if next_node.is_empty() => "through the tunnel".to_owned(),
        "tunnel" => format!("through the tunnel to node {next_node}"),
        "outside" => "to a host outside, through an uplink".to_owned(),
        "shaper" => "waits for its Pod's limit".to_owned(),
        _ => "passes".to_owned(),
    };
    let (before, after) = (before.clone().unwrap_or_default(), after.clone().unwrap_or_default());
    let is_known = !before.source.is_empty() && !after.source.is_empty();
    if is_known && ends(&before) != ends(&after) { format!("{text}, as {}", ends(&after)) } else { text }
}

/// Source and destination.
pub(super) fn ends(packet: &FollowedPacket) -> String {
    let end = |address: &str, port: u32| match (port, address.contains(':')) {
        (0, _) => address.to_owned(),
        _ if packet.protocol == "icmp" => address.to_owned(),
        (_, true) => format!("[{address}]:{port}"),
        (_, false) => format!("{address}:{port}"),
    };
    format!(
        "{} > {}",
        end(&packet.source, packet.source_port),
        end(&packet.destination, packet.destination_port)
    )
}
