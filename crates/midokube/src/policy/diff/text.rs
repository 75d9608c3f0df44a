//! What differs, as text for people.

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{WIDTH, fields};

use super::view::{Change, Decision, End, PortRange, View};
use crate::answer::indented;

/// So many ends are named in the narrow form.
const ENDS: usize = 6;

/// What a range of all ports of a protocol is.
const EVERY: (u16, u16) = (1, u16::MAX);

/// A section for each change; then what else there is.
pub(super) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let mut sections: Vec<String> = view.changes.iter().map(|change| section(change, width)).collect();
    if !view.complete {
        sections.push("There are more changes than are told: compare fewer manifests at once.".to_owned());
    }
    for (state, workloads) in [("old", &view.only_in_old), ("new", &view.only_in_new)] {
        if !workloads.is_empty() {
            let title = paint(TITLE, &format!("Only in the {state} state"));
            sections.push(format!("{title}\n{}", indented(width, 1, &ends(workloads, width))));
        }
    }
    if view.is_same() {
        sections.push("Both allow the same connections.".to_owned());
    }
    let warnings = view.warnings.iter().map(|warning| {
        [
            indented(width, 1, &format!("{} state: {}", warning.state, warning.object)),
            indented(width, 2, &warning.problem),
            indented(width, 2, &format!("remedy: {}", warning.remedy)),
        ]
        .join("\n")
    });
    let warnings: Vec<String> = warnings.collect();
    if !warnings.is_empty() {
        sections.push(format!("{}\n{}", paint(TITLE, "Warnings"), warnings.join("\n")));
    }
    sections.join("\n\n")
}

fn section(change: &Change, width: Option<usize>) -> String {
    let (sign, style) = if change.allowed { ('+', GOOD) } else { ('-', BAD) };
    let family = change.family.map(|family| format!(" over {family}")).unwrap_or_default();
    let title = paint(style, &format!("{sign} {}{family}", ports(&change.ports)));
    let by = match &*change.by {
        [] => "no policy says anything of it".to_owned(),
        some => {
            some.iter().map(|decision: &Decision| decision.why.as_str()).collect::<Vec<_>>().join(", and ")
        }
    };
    let rows = [
        ("from", ends(&change.sources, width)),
        ("to", ends(&change.destinations, width)),
        (if change.allowed { "allowed" } else { "denied" }, by),
    ];
    format!("{title}\n{}", fields(width, &rows))
}

fn ends(ends: &[End], width: Option<usize>) -> String {
    let most = width.map_or(usize::MAX, |_| ENDS);
    // One that is left out takes as much space as its name.
    let shown = if ends.len() <= most + 1 { ends.len() } else { most };
    let names: Vec<String> = ends.iter().take(shown).map(name).collect();
    match ends.len() - shown {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn name(end: &End) -> String {
    match end {
        End::Workload { kind, namespace, name } => format!("{kind} {namespace}/{name}"),
        End::Block { block, except } if except.is_empty() => block.clone(),
        End::Block { block, except } => format!("{block} except {}", except.join(" and ")),
    }
}

fn ports(ranges: &[PortRange]) -> String {
    let is_every = |range: &PortRange| range.first.zip(range.last).is_none_or(|range| range == EVERY);
    if ranges.len() == 4 && ranges.iter().all(is_every) {
        return "everything".to_owned();
    }
    let range = |range: &PortRange| match range.first.zip(range.last) {
        None => range.protocol.to_owned(),
        Some(EVERY) => range.protocol.to_owned(),
        Some((first, last)) if first == last => format!("{}/{first}", range.protocol),
        Some((first, last)) => format!("{}/{first}-{last}", range.protocol),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}
