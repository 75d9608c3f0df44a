//! What becomes of a connection, as text for people.

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{WIDTH, fields};

use super::view::{Decision, Path, View};

/// A section for each way that it can take.
pub(in crate::policy) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let section = |path: &Path| {
        let title = format!("{} to {}", path.source, path.destination);
        format!("{}\n{}", paint(TITLE, &title), rows(path, width))
    };
    view.paths.iter().map(section).collect::<Vec<_>>().join("\n\n")
}

fn rows(path: &Path, width: Option<usize>) -> String {
    let decided = [("egress of the source", &path.egress), ("ingress of the destination", &path.ingress)];
    let mut rows = Vec::new();
    for (name, decision) in decided {
        let Some(decision) = decision else {
            rows.push((name, "not decided on this node".to_owned()));
            continue;
        };
        rows.push((name, verdict(decision)));
        rows.push(("", decision.why.clone()));
        if width.is_none() {
            let Decision { set, class, list, .. } = decision;
            rows.push(("", format!("set {set}, class {class}, list {list}")));
        }
    }
    rows.extend(path.notes.iter().map(|note| ("note", note.clone())));
    fields(width, &rows)
}

fn verdict(decision: &Decision) -> String {
    match decision.verdict.as_str() {
        "deny" if decision.reject => paint(BAD, "denied, and its sender is told"),
        "deny" => paint(BAD, "denied"),
        "audit" => paint(GOOD, "passes, and is counted (audit)"),
        _ => paint(GOOD, "passes"),
    }
}
