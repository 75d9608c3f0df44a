//! What people get.

use std::collections::BTreeMap;

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{WIDTH, table};

use super::super::scene::{FAMILIES, Family};
use super::view::{Failure, Outcome, ScenarioResult, Scenarios, View};
use crate::answer::indented;

/// Failures of a scenario that are told: -o wide has all.
const FAILURES: usize = 4;

/// The scenarios, then what failed and why, what was not tried, and how many are which.
pub(in crate::connectivity) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let mut parts = vec![results(&view.scenarios, width)];
    let failed: Vec<&ScenarioResult> =
        view.scenarios.iter().filter(|one| one.outcome == Outcome::Failed).collect();
    if !failed.is_empty() {
        let told: Vec<String> = failed.iter().map(|one| failures(one, width)).collect();
        parts.push(section("Failed", &told.join("\n")));
    }
    if !view.findings.is_empty() {
        let told = view
            .findings
            .iter()
            .map(|one| indented(width, 1, &format!("{} {}: {}", one.severity.name(), one.what, one.object)));
        let told: Vec<String> = told.chain([" `midokube doctor` tells more of them".to_owned()]).collect();
        parts.push(section("What doctor finds", &told.join("\n")));
    }
    if view.skipped > 0 {
        parts.push(section("Not tried", &skipped(&view.scenarios, width)));
    }
    parts.push(summary(view));
    parts.join("\n\n")
}

fn section(title: &str, body: &str) -> String {
    format!("{}\n{body}", paint(TITLE, title))
}

fn results(scenarios: &[ScenarioResult], width: Option<usize>) -> String {
    let row = |one: &ScenarioResult| {
        let [four, six] = FAMILIES.map(|family| share(one, family));
        let outcome = match one.outcome {
            Outcome::Passed => paint(GOOD, "ok"),
            Outcome::Failed => paint(BAD, "FAILED"),
            Outcome::Skipped => "not tried".to_owned(),
        };
        [one.name.to_owned(), four, six, outcome]
    };
    table(width, ["SCENARIO", "IPV4", "IPV6", "RESULT"], scenarios.iter().map(row))
}

/// How many checks of a family passed.
fn share(result: &ScenarioResult, family: Family) -> String {
    let found = result.families.iter().find(|one| one.family == family);
    found.map_or_else(|| "-".to_owned(), |one| format!("{} of {}", one.passed, one.checks))
}

/// What of a scenario failed, and below it each cause once.
fn failures(result: &ScenarioResult, width: Option<usize>) -> String {
    let mut lines = vec![indented(width, 1, &format!("{}: {}", paint(BAD, result.name), result.what))];
    let most = if width.is_none() { usize::MAX } else { FAILURES };
    let mut causes = Vec::new();
    for (index, failure) in result.failures.iter().enumerate() {
        if index < most {
            lines.push(indented(width, 2, &line(failure)));
        }
        let cause = (&failure.cause, &failure.remedy);
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    let hidden = result.failures.len().saturating_sub(most);
    if hidden > 0 {
        lines.push(indented(width, 2, &format!("and {hidden} others: -o wide shows them")));
    }
    for (cause, remedy) in causes.into_iter().take(most) {
        lines.push(indented(width, 2, &format!("cause: {cause}")));
        if !remedy.is_empty() {
            lines.push(indented(width, 2, &format!("remedy: {remedy}")));
        }
    }
    lines.join("\n")
}

/// A failure in one line.
pub(super) fn line(failure: &Failure) -> String {
    let Failure { family, protocol, from, to, expected, observed, .. } = failure;
    let family = family.map(|family| format!("{family} ")).unwrap_or_default();
    let protocol = protocol.map(|protocol| format!("{protocol} ")).unwrap_or_default();
    let ends = if to.is_empty() { from.clone() } else { format!("{from} to {to}") };
    format!("{family}{protocol}{ends}: expected {expected}, observed {observed}")
}

/// The reasons, each with the scenarios that it keeps from being tried.
fn skipped(scenarios: &[ScenarioResult], width: Option<usize>) -> String {
    let mut reasons = BTreeMap::<&str, Vec<&str>>::new();
    for one in scenarios {
        if let Some(reason) = &one.reason {
            reasons.entry(reason).or_default().push(one.name);
        }
    }
    let told =
        reasons.iter().map(|(reason, names)| indented(width, 1, &format!("{}: {reason}", names.join(", "))));
    told.collect::<Vec<_>>().join("\n")
}

fn summary(view: &View) -> String {
    let seconds = view.milliseconds.div_ceil(1000);
    let style = if view.failed > 0 { BAD } else { GOOD };
    let counts = format!("{} passed, {} failed, {} not tried", view.passed, view.failed, view.skipped);
    let kept = view
        .namespace
        .as_ref()
        .map(|name| format!("\nKept: namespace {name}, and the one with -other after it"));
    format!(
        "{}, in {seconds} s on {}{}",
        paint(style, &counts),
        view.nodes.join(", "),
        kept.unwrap_or_default()
    )
}

/// The scenarios with what is so if they pass.
pub(in crate::connectivity) fn list(scenarios: &Scenarios, wide: bool) -> String {
    let row = |one: &super::view::Listed| [one.name.to_owned(), one.what.to_owned()];
    let rows = scenarios.scenarios.iter().map(row);
    table((!wide).then_some(WIDTH), ["SCENARIO", "WHAT IS SO IF IT PASSES"], rows)
}
