//! What became of a packet, for people.

use std::fmt::{Display, Write};

use super::view::View;

/// A line for every step, then how it ends.
pub(super) fn text<T: Display>(view: &View<T>) -> String {
    let View { from, to, protocol, port, parts, outcome, problems, .. } = view;
    let mut text = format!("{} ({}) to {}", from.name, from.address, to.name);
    if to.name != to.address.to_string() {
        let _ = write!(text, " ({})", to.address);
    }
    let _ = if *port == 0 { writeln!(text, ", {protocol}") } else { writeln!(text, ", {protocol}/{port}") };
    for part in parts {
        let _ = write!(text, "\nThe {}\n", part.what);
        for line in part.trace.to_string().lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    for problem in problems {
        let _ = write!(text, "\nLeft out: {problem}");
    }
    if !problems.is_empty() {
        text.push('\n');
    }
    let verdict = match (outcome.unknown, outcome.answered) {
        (true, _) => "NOT KNOWN",
        (false, true) => "arrives",
        (false, false) => "DOES NOT ARRIVE",
    };
    let _ = write!(text, "\nVerdict: {verdict}: {}\n", outcome.why);
    if !outcome.answered && !outcome.reason.is_empty() {
        let _ = writeln!(text, "Reason: {}", outcome.reason);
    }
    if !outcome.remedy.is_empty() {
        let _ = writeln!(text, "Remedy: {}", outcome.remedy);
    }
    text
}
