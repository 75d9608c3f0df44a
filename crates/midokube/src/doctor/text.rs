//! What is wrong, for people.

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{UNKNOWN, WIDTH, table};

use super::finding::{Finding, Severity};
use super::view::{Asked, View};
use crate::answer::indented;

/// Nodes that are listed while all is well with them: more are counted.
const LISTED: usize = 50;

/// The nodes, and then what is wrong.
pub(super) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let section = |title: &str, body: String| format!("{}\n{body}", paint(TITLE, title));
    let findings = match view.findings.as_slice() {
        [] => format!(" {}", paint(GOOD, "none")),
        findings => findings.iter().map(|one| finding(one, width)).collect::<Vec<_>>().join("\n"),
    };
    [section("Nodes", nodes(view, wide)), section("Findings", findings)].join("\n\n")
}

fn nodes(view: &View, wide: bool) -> String {
    let is_well = |node: &&Asked| node.ready == Some(true);
    let (well, others): (Vec<&Asked>, Vec<&Asked>) = view.nodes.iter().partition(is_well);
    let listed = if wide { well.len() } else { LISTED.saturating_sub(others.len()) };
    let shown = others.iter().chain(well.iter().take(listed));
    let number =
        |number: Option<usize>| number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string());
    let row = |node: &&Asked| {
        let state = match node.ready {
            Some(true) => "ready",
            Some(false) => "NOT READY",
            None => "NO ANSWER",
        };
        let mtu = node.mtu.map(|mtu| mtu as usize);
        let paths = format!("{} of {}", number(node.probed), number(node.peers));
        [
            node.node.clone(),
            state.to_owned(),
            node.version.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            number(mtu),
            paths,
        ]
    };
    let header = ["NODE", "STATE", "VERSION", "MTU", "PATHS PROBED"];
    let mut text = table((!wide).then_some(WIDTH), header, shown.map(row));
    let hidden = well.len().saturating_sub(listed);
    if hidden > 0 {
        text.push_str(&format!("\n and {hidden} others that are ready: -o wide shows them"));
    }
    text
}

fn finding(finding: &Finding, width: Option<usize>) -> String {
    let Finding { severity, what, object, problem, remedy, nodes } = finding;
    let style = if *severity == Severity::Error { BAD } else { TITLE };
    let mut lines = vec![
        indented(width, 1, &format!("{} {what}: {object}", paint(style, severity.name()))),
        indented(width, 2, problem),
        indented(width, 2, &format!("remedy: {remedy}")),
    ];
    if nodes.len() > 1 || nodes.iter().any(|node| !object.contains(node.as_str())) {
        lines.push(indented(width, 2, &format!("nodes: {}", nodes.join(", "))));
    }
    lines.join("\n")
}
