//! The agents themselves: do they run, are they ready, of which version are they, and what do they tell of their nodes.

use crate::answer::Problem;

use super::super::cluster::{Cluster, Node, Silence};
use super::super::facts::Facts;
use super::super::finding::Finding;

/// The problems of agents with which packets are lost, or new Pods get no network or another one.
const ERRORS: [&str; 16] = [
    "foreign_cni_config",
    "foreign_route",
    "forwarding",
    "ipam_plugin",
    "lock",
    "network",
    "not_forwarded",
    "overlap",
    "peer_route",
    "plugin",
    "pod_address",
    "pod_cidr",
    "policy_full",
    "tunnel_address",
    "tunnel_dropped",
    "vrf",
];

pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: Vec<Finding> = cluster.nodes.iter().flat_map(of_node).collect();
    findings.extend(cluster.without_agent.iter().map(|node| {
        Finding::error(
            "no_agent",
            format!("Node {node}"),
            "no agent is scheduled on it: its Pods get no network",
        )
        .remedy("see why its DaemonSet leaves it out: a nodeSelector, a taint, or no space")
        .of([node.as_str()])
    }));
    findings.extend(versions(cluster));
    findings
}

fn of_node(node: &Node) -> Vec<Finding> {
    match &node.said {
        Err(Silence { why, .. }) => vec![
            Finding::error("agent_silent", format!("Node {}", node.name), why)
                .remedy(
                    "see the log of its agent, or of its Pod; Pods go on with the network that they have, and get no news of \
                     other nodes",
                )
                .of([node.name.as_str()]),
        ],
        Ok(facts) => of_facts(facts),
    }
}

fn of_facts(facts: &Facts) -> Vec<Finding> {
    let node = facts.node.as_str();
    let object = || format!("Node {node}");
    let mut findings = Vec::new();
    if !facts.ready {
        let why = facts.not_ready_reason.as_deref().unwrap_or("it does not say why");
        findings.push(
            Finding::error("agent_not_ready", object(), why)
                .remedy(format!("`midokube status` on {node}, and the log of its agent, have more"))
                .of([node]),
        );
    }
    if let Some(error) = &facts.source_error {
        findings.push(
            Finding::error("source", facts.source.as_str(), error)
                .remedy(
                    "correct what is named: an address, certificate, credentials, role or file; what the agent knew of it before \
                     goes on, and what it cannot read does not come into force",
                )
                .of([node]),
        );
    }
    if let Some(error) = facts.paths_error.as_ref().filter(|_| facts.kind == "embedded" && facts.ready) {
        findings.push(
            Finding::warning("paths_not_probed", object(), error)
                .remedy("run it again; if the agent is of an older version, upgrade it")
                .of([node]),
        );
    }
    let told = |problem: &Problem| {
        let Problem { what, object, problem, remedy } = problem;
        let finding = match ERRORS.contains(&what.as_str()) {
            true => Finding::error(what, object, problem),
            false => Finding::warning(what, object, problem),
        };
        finding.remedy(remedy).of([node])
    };
    findings.extend(facts.problems.iter().map(told));
    findings.extend(facts.leaks.iter().map(|leak| {
        let Problem { object, problem, remedy, .. } = leak;
        Finding::warning(&leak.what, object, problem).remedy(remedy).of([node])
    }));
    findings
}

/// Agents that are older than the newest one.
fn versions(cluster: &Cluster) -> Vec<Finding> {
    let known = cluster.nodes.iter().filter_map(|node| {
        let version = match &node.said {
            Ok(facts) => Some(&facts.version),
            Err(silence) => silence.version.as_ref(),
        };
        Some((node.name.as_str(), version?.as_str()))
    });
    let known: Vec<(&str, &str)> = known.collect();
    let versions = known.iter().map(|(_, version)| *version).chain([cluster.version.as_str()]);
    let Some(newest) = versions.max_by_key(|version| order(version)) else { return Vec::new() };
    let old = known.iter().filter(|(_, version)| order(version) < order(newest));
    old.map(|(node, version)| {
        Finding::warning(
            "agent_version",
            format!("Node {node}"),
            format!("its agent has the version {version}, and the newest one here is {newest}"),
        )
        .remedy("let the upgrade end, or upgrade it; if midokube is newer than all agents, use that of their image")
        .of([*node])
    })
    .collect()
}

/// The numbers of a version; what is behind them, as of a pre-release, comes before nothing.
fn order(version: &str) -> (Vec<u64>, bool) {
    let (numbers, rest) =
        version.split_once('-').map_or((version, None), |(numbers, rest)| (numbers, Some(rest)));
    (numbers.split('.').map(|number| number.parse().unwrap_or_default()).collect(), rest.is_none())
}
