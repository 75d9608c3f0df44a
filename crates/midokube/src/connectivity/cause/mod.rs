//! Why a check fails: from what a trace tells of its packet, and what `doctor` finds. Pure.

#[cfg(test)]
mod tests;

use super::check::{Check, Expect};
use super::question::Outcome;
use crate::doctor::{Finding, Severity};
use crate::trace::{Place, Told};

/// A cause, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cause {
    pub(super) cause: String,
    pub(super) remedy: String,
}

impl Cause {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }

    /// A policy is not in force, or does not go.
    pub(super) fn of_policy(why: &str) -> Self {
        Self::new(why, "see `midokube status problems` on that node")
    }
}

/// Findings that keep no packet from anybody.
const HARMLESS: [&str; 7] = [
    "agent_version",
    "clock_skew",
    "deny_log",
    "flow_log",
    "health_port",
    "paths_not_probed",
    "table_pressure",
];

/// Findings about what Pods send, which nodes' own processes do not feel.
const OF_PODS: [&str; 2] = ["forward_dropped", "input_dropped"];

/// The findings about paths between nodes.
const PATH: &str = "path_";

/// Why an agent says nothing, or serves nobody.
const AGENT: [&str; 3] = ["agent_silent", "agent_not_ready", "no_agent"];

/// The cause. `told` is what a trace says; `None`: nothing was traced.
pub(super) fn cause(
    check: &Check,
    outcomes: &[Outcome],
    told: Option<&Result<Told, String>>,
    findings: &[Finding],
) -> Cause {
    let way = Way::new(check, told);
    match (outcomes.last(), &check.expect) {
        (Some(Outcome::NoName { why }), _) => Cause::new(
            format!("the DNS server was reached, and answers: {why}"),
            "see the log of the DNS Service's Pods, and whether they reach the API server",
        ),
        (Some(Outcome::Failed { why }), _) => related(&way, findings)
            .unwrap_or_else(|| Cause::new(format!("it could not be tried: {why}"), "see `midokube doctor`")),
        (Some(Outcome::Answered { .. } | Outcome::Reached | Outcome::Resolved { .. }), _) => {
            arrived(check, told)
        }
        // It is to be refused, or its silence is wrong.
        (_, Expect::Refused | Expect::Silence) if is_answered(told) => arrived(check, told),
        _ => lost(check, &way, told, findings),
    }
}

fn is_answered(told: Option<&Result<Told, String>>) -> bool {
    matches!(told, Some(Ok(Told { answered: Some(true), .. })))
}

/// Of what did not arrive and should, or whose answer did not.
fn lost(check: &Check, way: &Way<'_>, told: Option<&Result<Told, String>>, findings: &[Finding]) -> Cause {
    match told {
        Some(Ok(Told { answered: Some(false), why, remedy, .. })) => Cause::new(why, remedy),
        Some(Ok(Told { answered: Some(true), .. })) => {
            related(way, findings).unwrap_or_else(|| outside(check, way))
        }
        Some(Ok(Told { why, remedy, .. })) => {
            related(way, findings).unwrap_or_else(|| Cause::new(format!("it is not known: {why}"), remedy))
        }
        Some(Err(why)) => related(way, findings)
            .unwrap_or_else(|| Cause::new(format!("it cannot be traced: {why}"), "see `midokube doctor`")),
        None => related(way, findings)
            .unwrap_or_else(|| Cause::new("it was not traced", "see `midokube trace` and `midokube doctor`")),
    }
}

/// No program of the network drops it.
fn outside(check: &Check, way: &Way<'_>) -> Cause {
    let nodes = way.nodes.join(" and ");
    let place = if way.is_across() {
        "between the nodes, or in a firewall, routing rule or setting of one of them"
    } else {
        "in a firewall, routing rule or setting of the node"
    };
    let cause = format!(
        "the programs and tables of {nodes} let the packet pass, and its reply: it is lost outside of them, {place}"
    );
    let address = check.opened.destination().map(|address| format!(" {address}")).unwrap_or_default();
    Cause::new(
        cause,
        format!("on {nodes}: `nft list ruleset`, `ip rule`, `ip route get{address}`; `midokube doctor`"),
    )
}

/// Of an answer that is another one than expected, or should not be: what the network decided.
fn arrived(check: &Check, told: Option<&Result<Told, String>>) -> Cause {
    let steps = |wanted: &[&str]| -> Vec<String> {
        let Some(Ok(Told { steps, .. })) = told else { return Vec::new() };
        let of_kind = steps.iter().filter(|[_, what, _]| wanted.contains(&what.as_str()));
        of_kind.map(|[node, what, detail]| format!("{node}: {what}: {detail}")).collect()
    };
    let (kinds, remedy): (&[&str], _) = if check.expect == Expect::Silence {
        (
            &["egress policy", "ingress policy", "service"],
            "see `midokube policy` and `midokube status problems` there",
        )
    } else {
        (&["service", "connection", "route"], "see `midokube service` and `midokube status problems` there")
    };
    match steps(kinds).as_slice() {
        [] => Cause::new("the network lets it pass to somebody else, or does what it should not", remedy),
        steps => Cause::new(format!("of such a packet a trace says: {}", steps.join("; ")), remedy),
    }
}

/// The nodes that a packet comes to, as far as they are known.
struct Way<'a> {
    nodes: Vec<&'a str>,
    /// Whether a Pod sends it.
    of_pod: bool,
}

impl<'a> Way<'a> {
    /// Those of both ends, and those that a trace names: behind a Service nobody else knows them.
    fn new(check: &'a Check, told: Option<&'a Result<Told, String>>) -> Self {
        let mut nodes = check.nodes();
        if let Some(Ok(told)) = told {
            for [node, ..] in &told.steps {
                if !nodes.contains(&node.as_str()) {
                    nodes.push(node);
                }
            }
        }
        Self { nodes, of_pod: matches!(check.from.place, Place::Pod(_)) }
    }

    fn is_across(&self) -> bool {
        self.nodes.len() > 1
    }
}

/// The finding that has most to do with it.
fn related(way: &Way<'_>, findings: &[Finding]) -> Option<Cause> {
    let ranked = findings.iter().filter_map(|finding| Some((rank(way, finding)?, finding)));
    let (_, finding) = ranked.min_by_key(|(rank, _)| *rank)?;
    let Finding { what, object, problem, remedy, .. } = finding;
    Some(Cause::new(format!("{what}, {object}: {problem}"), remedy))
}

/// How near a finding is to a packet's way: the least is the nearest; `None`: it has nothing to do with it.
fn rank(way: &Way<'_>, finding: &Finding) -> Option<u8> {
    let is_of = |node: &&&str| finding.nodes.iter().any(|one| one == **node);
    let of = way.nodes.iter().filter(is_of).count();
    if HARMLESS.contains(&finding.what.as_str()) || of == 0 && !finding.nodes.is_empty() {
        return None;
    }
    let is_path = finding.what.starts_with(PATH);
    let is_of_pods = OF_PODS.contains(&finding.what.as_str());
    if is_path && !way.is_across() || is_of_pods && !way.of_pod {
        return None;
    }
    let is_agent = AGENT.contains(&finding.what.as_str());
    let severe = finding.severity == Severity::Error;
    Some(match (is_path, is_agent, severe) {
        (true, ..) if of == way.nodes.len() => 0,
        (true, ..) => 1,
        (_, true, _) => 4,
        (_, _, true) => 2,
        (_, _, false) => 3,
    })
}

/// The cause of what is wrong with a node before anything is tried.
pub(super) fn of_node(node: &str, observed: &str, findings: &[Finding]) -> Cause {
    let of = |finding: &&Finding| {
        finding.nodes.iter().any(|one| one == node) && !HARMLESS.contains(&finding.what.as_str())
    };
    let found = findings.iter().filter(of).min_by_key(|finding| !AGENT.contains(&finding.what.as_str()));
    match found {
        Some(Finding { what, object, problem, remedy, .. }) => {
            Cause::new(format!("{what}, {object}: {problem}"), remedy)
        }
        None => Cause::new(observed, format!("see `midokube doctor`, and the log of the agent of {node}")),
    }
}
