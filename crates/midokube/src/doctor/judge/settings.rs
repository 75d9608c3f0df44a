//! Settings that all nodes must have alike, and what they know of each other.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cluster::Cluster;
use super::super::facts::Facts;
use super::super::finding::Finding;

/// What an agent says of a setting; `None`: nothing.
type Value<'a> = &'a dyn Fn(&Facts) -> Option<String>;

pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let sorted = |cidrs: &[String]| {
        let cidrs: BTreeSet<&String> = cidrs.iter().collect();
        let words: Vec<&str> = cidrs.into_iter().map(String::as_str).collect();
        (!words.is_empty()).then(|| words.join(","))
    };
    let settings: [(&str, Value<'_>); 4] = [
        ("--tunnel-port", &|facts| number(facts.overlay_port)),
        ("--vni", &|facts| number(facts.vni)),
        ("--cluster-cidr", &|facts| sorted(&facts.cluster_cidrs)),
        ("--network", &|facts| Some(facts.kind.clone()).filter(|kind| !kind.is_empty())),
    ];
    let mut findings: Vec<Finding> =
        settings.into_iter().flat_map(|(name, value)| differences(cluster, name, value)).collect();
    findings.extend(cluster.facts().flat_map(|facts| acquaintances(cluster, facts)));
    findings
}

/// The nodes that have another value than most.
fn differences(cluster: &Cluster, name: &str, value: impl Fn(&Facts) -> Option<String>) -> Vec<Finding> {
    let mut nodes = BTreeMap::<String, Vec<&str>>::new();
    for facts in cluster.facts() {
        if let Some(value) = value(facts) {
            nodes.entry(value).or_default().push(&facts.node);
        }
    }
    let most = nodes.iter().max_by_key(|(_, nodes)| nodes.len()).map(|(value, _)| value.clone());
    let Some(most) = most.filter(|_| nodes.len() > 1) else { return Vec::new() };
    let others = nodes.iter().filter(|(value, _)| **value != most);
    others
        .map(|(value, nodes)| {
            let problem = format!(
                "it is {value} on {}, and {most} elsewhere: they do not understand each other",
                names(nodes)
            );
            Finding::error("settings", format!("the setting {name}"), problem)
                .remedy("give all agents the same, and restart those that had another one")
                .of(nodes.iter().copied())
        })
        .collect()
}

/// Other nodes that a node does not know as they are.
fn acquaintances(cluster: &Cluster, facts: &Facts) -> Vec<Finding> {
    // Why it cannot know is told already.
    if facts.source_error.is_some() || !facts.ready {
        return Vec::new();
    }
    let is_told =
        |node: &str| facts.problems.iter().any(|problem| problem.object.ends_with(&format!(" {node}")));
    let others = cluster.facts().filter(|other| other.node != facts.node && !other.pod_cidrs.is_empty());
    let wrong = others.filter(|other| {
        let known = facts.peers.iter().find(|peer| peer.node == other.node);
        let set = |cidrs: &[String]| cidrs.iter().cloned().collect::<BTreeSet<_>>();
        known.is_none_or(|known| set(&known.pod_cidrs) != set(&other.pod_cidrs)) && !is_told(&other.node)
    });
    let wrong: Vec<&str> = wrong.map(|other| other.node.as_str()).collect();
    if wrong.is_empty() {
        return Vec::new();
    }
    let problem = format!(
        "it does not know {} with the podCIDRs that they have: its Pods do not reach theirs",
        names(&wrong)
    );
    vec![
        Finding::error("peer_unknown", format!("Node {}", facts.node), problem)
            .remedy("run it again: news may be under way; else see that both agents have the same API server")
            .of([facts.node.as_str()]),
    ]
}

/// Some names, and how many others.
pub(super) fn names(nodes: &[&str]) -> String {
    /// So many are named.
    const NAMED: usize = 5;
    let mut text = nodes.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if let Some(more) = nodes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} others"));
    }
    text
}
