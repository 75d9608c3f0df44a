//! What applies to Pods, as text for people.

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{WIDTH, fields, join, table, wrap};

use super::view::{Applied, Counts, Pod, Rule, View};
use crate::answer;

/// How long a line of the narrow form is that names policies.
const POLICIES: usize = 40;

/// A section for each Pod; then what is wrong with policies.
pub(in crate::policy) fn text(view: &View, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let mut sections: Vec<(String, String)> = view
        .pods
        .iter()
        .map(|pod| (format!("Pod {}/{}", pod.namespace, pod.name), section(pod, width)))
        .collect();
    if !view.problems.is_empty() {
        sections.push(("Problems".to_owned(), answer::problems(&view.problems, width)));
    }
    if !view.notes.is_empty() {
        let notes = view.notes.iter().map(|note| answer::indented(width, 1, note)).collect::<Vec<_>>();
        sections.push(("Notes".to_owned(), notes.join("\n")));
    }
    if sections.is_empty() {
        return " none".to_owned();
    }
    let section = |(title, body): (String, String)| format!("{}\n{body}", paint(TITLE, &title));
    sections.into_iter().map(section).collect::<Vec<_>>().join("\n\n")
}

fn section(pod: &Pod, width: Option<usize>) -> String {
    let state = match pod.state.as_str() {
        "open" => paint(GOOD, "open: no policy applies"),
        "closed" => {
            let reason = pod.reason.as_deref().unwrap_or("it is not known what applies");
            paint(BAD, &format!("CLOSED: {reason}"))
        }
        _ => format!("policed, set {}", pod.set),
    };
    let about = fields(width, &[("addresses", join(&pod.addresses)), ("state", state)]);
    if pod.policies.is_empty() {
        return about;
    }
    let rows = pod.policies.iter().flat_map(|applied| rows(applied, width));
    let header = ["DIRECTION", "TIER", "POLICY", "ALLOWED", "DENIED", "AUDITED", "NOTE"];
    format!("{about}\n{}", table(width, header, rows))
}

/// A row for a policy; in the wide form one for each of its rules, too.
fn rows(applied: &Applied, width: Option<usize>) -> Vec<[String; 7]> {
    let tier = match applied.priority {
        Some(priority) => format!("{} {priority}", applied.tier),
        None => applied.tier.clone(),
    };
    let row = |policy: String, Counts { allowed, denied, audited }: Counts, note: String| {
        let [allowed, denied, audited] = [allowed, denied, audited].map(|count| count.to_string());
        [applied.direction.clone(), tier.clone(), policy, allowed, denied, audited, note]
    };
    let names = wrap(width.map(|_| POLICIES), &applied.policies.join(", "));
    let mut rows = vec![row(names, applied.counts, note(applied))];
    if width.is_none() {
        rows.extend(applied.rules.iter().map(|rule| {
            let Rule { index, name, counts } = rule;
            let name = name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            row(format!("  {}[{index}]{name}", applied.direction), *counts, String::new())
        }));
    }
    rows
}

fn note(applied: &Applied) -> String {
    let rules = match (applied.default_deny, applied.rules.len()) {
        (true, _) => "default deny".to_owned(),
        (false, 1) => "1 rule".to_owned(),
        (false, count) => format!("{count} rules"),
    };
    let more = [(applied.audit, "audit"), (!applied.asked, "not asked: NetworkPolicies apply")];
    let more = more.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what.to_owned());
    std::iter::once(rules).chain(more).collect::<Vec<_>>().join(", ")
}
