//! How full the tables of the datapath are.

use super::super::cluster::Cluster;
use super::super::facts::Table;
use super::super::finding::{Finding, Severity};

/// Percent from which a table is told.
const PRESSURE: u64 = 80;

/// Percent from which it is as good as full.
const FULL: u64 = 95;

pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let all = cluster.facts().flat_map(|facts| facts.tables.iter().map(|table| (facts.node.as_str(), table)));
    all.filter_map(|(node, table)| finding(node, table)).collect()
}

fn finding(node: &str, table: &Table) -> Option<Finding> {
    let Table { name, used, limit } = table;
    let percent = used.saturating_mul(100).checked_div(*limit)?;
    let (severity, what) = match percent {
        FULL.. => (Severity::Error, "table_full"),
        PRESSURE.. => (Severity::Warning, "table_pressure"),
        _ => return None,
    };
    let problem = format!("{used} of {limit} entries are used, {percent} %: {}", consequence(name));
    let object = format!("table {name} of Node {node}");
    let remedy = match setting(name) {
        Some(setting) => format!("raise {setting} and restart the agent, which keeps what there is"),
        None => "see what uses so many entries: `midokube status` has their numbers".to_owned(),
    };
    let finding = match severity {
        Severity::Error => Finding::error(what, object, problem),
        Severity::Warning => Finding::warning(what, object, problem),
    };
    Some(finding.remedy(remedy).of([node]))
}

/// Whether it is one of those that policies are in.
fn is_policy(table: &str) -> bool {
    table.starts_with("policy_") || table.ends_with("classes")
}

fn consequence(table: &str) -> &'static str {
    match table {
        "connections" | "new_connections" => {
            "when it is full, the connections that were seen least recently are forgotten"
        }
        table if is_policy(table) => "when it is full, changes of policy do not come into force",
        _ => "when it is full, new Services or endpoints are not served",
    }
}

/// What sets the size of a table.
fn setting(table: &str) -> Option<&'static str> {
    Some(match table {
        "connections" | "new_connections" => "--max-connections",
        "services" | "source_ranges" => "--max-services",
        "backends" | "choices" => "--max-backends",
        "policy_sets" | "policy_ports" => "--max-policy-entries",
        "policy_counts" => "--max-policy-rules",
        table if is_policy(table) => "--max-policy-addresses",
        _ => return None,
    })
}
