//! What policies would change, as text for people.

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{UNKNOWN, WIDTH, table, wrap};
use terminal::units::seconds;

use super::view::{Changed, Dropped, Node, View};
use crate::answer;

/// How long a line of the narrow form is that says why.
const WHY: usize = 60;

/// What would be cut and what would pass, then what is wrong.
pub(in crate::policy) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let section = |title: &str, body: &str| format!("{}\n{body}", paint(TITLE, title));
    let mut sections = vec![summary(view)];
    for (title, list) in [("Would be cut", &view.cut), ("Would pass", &view.allowed)] {
        if !list.is_empty() {
            sections.push(section(title, &connections(list, width)));
        }
    }
    if !view.drops.is_empty() {
        sections.push(section("Denied within the last hour, would pass", &drops(&view.drops, width)));
    }
    let errors = view.nodes.iter().filter_map(|node| Some((&node.node, node.error.as_ref()?)));
    let errors: Vec<String> = errors
        .map(|(node, error)| answer::indented(width, 1, &paint(BAD, &format!("{node}: {error}"))))
        .collect();
    if !errors.is_empty() {
        sections.push(section("Not asked", &errors.join("\n")));
    }
    if !view.problems.is_empty() {
        sections.push(section("Problems", &answer::problems(&view.problems, width)));
    }
    if !view.notes.is_empty() {
        let notes: Vec<String> = view.notes.iter().map(|note| answer::indented(width, 1, note)).collect();
        sections.push(section("Notes", &notes.join("\n")));
    }
    sections.join("\n\n")
}

fn summary(view: &View) -> String {
    let sum = |of: fn(&Node) -> Option<u64>| view.nodes.iter().filter_map(of).sum::<u64>();
    let asked = view.nodes.iter().filter(|node| node.error.is_none()).count();
    let (judged, cut, allowed) =
        (sum(|node| node.connections), sum(|node| node.cut), sum(|node| node.allowed));
    let cut_text = match cut {
        0 => paint(GOOD, "none would be cut"),
        _ => paint(BAD, &format!("{cut} would be cut")),
    };
    let nodes = if asked == 1 { "node" } else { "nodes" };
    let mut text =
        format!("{asked} {nodes} asked, {judged} connections judged: {cut_text}, {allowed} would pass again");
    let dropped = sum(|node| node.drops);
    if dropped > 0 {
        text.push_str(&format!(
            "\n{dropped} kinds of packets that were denied within the last hour would pass"
        ));
    }
    let shown = [&view.cut, &view.allowed].map(Vec::len).into_iter().chain([view.drops.len()]);
    let shown: u64 = shown.map(|length| length as u64).sum();
    let left_out = (cut + allowed + dropped).saturating_sub(shown);
    if left_out > 0 {
        text.push_str(&format!("\n{left_out} are not shown: --limit shows more"));
    }
    text
}

fn drops(list: &[Dropped], width: Option<usize>) -> String {
    let row = |one: &Dropped| {
        let end = |pod: &Option<String>, address: &str| match pod {
            Some(pod) => format!("{pod} {address}"),
            None => address.to_owned(),
        };
        let protocol = one.protocol.as_deref().map_or_else(|| UNKNOWN.to_owned(), str::to_uppercase);
        let port = one.port.map(|port| format!(" port {port}")).unwrap_or_default();
        let (source, destination) =
            (end(&one.source_pod, &one.source), end(&one.destination_pod, &one.destination));
        let path = format!("{protocol} {source} -> {destination}{port}");
        let why = wrap(width.map(|_| WHY), &one.after.why);
        [path, one.node.clone(), one.direction.clone(), seconds(one.last_seconds), why]
    };
    table(width, ["PACKETS", "NODE", "DIRECTION", "LAST", "WHY"], list.iter().map(row))
}

fn connections(list: &[Changed], width: Option<usize>) -> String {
    let row = |one: &Changed| {
        let end = |pod: &Option<String>, address: &dyn std::fmt::Display| match pod {
            Some(pod) => format!("{pod} {address}"),
            None => address.to_string(),
        };
        let connection = &one.connection;
        let protocol = connection.protocol.to_uppercase();
        let client = end(&one.client_pod, &connection.client);
        let backend = end(&one.backend_pod, &connection.backend);
        let path = match connection.frontend == connection.backend {
            true => format!("{protocol} {client} -> {backend}"),
            false => format!("{protocol} {client} -> {} -> {backend}", connection.frontend),
        };
        let why = wrap(width.map(|_| WHY), &one.after.why);
        [path, one.node.clone(), one.direction.clone(), seconds(connection.idle_seconds), why]
    };
    table(width, ["CONNECTION", "NODE", "DIRECTION", "IDLE", "WHY"], list.iter().map(row))
}
