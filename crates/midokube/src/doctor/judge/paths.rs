//! Paths between nodes: from what came back of datagrams to what filters them, is too small for them, or damages them.

mod fault;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::super::cluster::Cluster;
use super::super::facts::{Facts, Path};
use super::super::finding::Finding;
use fault::{Fault, fault, is_silent};
use words::{finding, firewalls, port};

/// From how many paths on a node that nobody reaches is one finding.
const ALONE: usize = 2;

/// The paths with one fault from one node; families are of one tunnel.
type Faults<'a> = BTreeMap<(Fault, &'a str), (BTreeSet<&'a str>, BTreeSet<&'a str>)>;

pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let all: Vec<(&Facts, &Path)> =
        cluster.facts().flat_map(|facts| facts.paths.iter().map(move |path| (facts, path))).collect();
    let heard: BTreeSet<(&str, &str)> = cluster
        .facts()
        .flat_map(|facts| facts.heard.iter().map(|from| (from.as_str(), facts.node.as_str())))
        .collect();
    let alone = alone(&all);
    let mut findings = isolated(cluster, &alone);
    let mut faults = Faults::new();
    let faulty = all.iter().filter_map(|(facts, path)| {
        let (from, to) = (facts.node.as_str(), path.node.as_str());
        let passes = |from, to| heard.contains(&(from, to));
        Some((from, to, path.family.as_str(), fault(path, passes(from, to), passes(to, from))?))
    });
    let (open, certain): (Vec<_>, Vec<_>) = faulty.partition(|(.., fault)| matches!(fault, Fault::Large(_)));
    let told: BTreeSet<(&str, &str)> = certain.iter().map(|(from, to, ..)| (*from, *to)).collect();
    // What one family leaves open the other one may tell.
    let open = open.into_iter().filter(|(from, to, ..)| !told.contains(&(*from, *to)));
    for (from, to, family, fault) in certain.into_iter().chain(open) {
        let is_filtered = matches!(fault, Fault::Filtered { .. });
        if is_filtered && (alone.nodes.contains(from) || alone.nodes.contains(to)) {
            continue;
        }
        let (from, to) = match fault {
            // The other direction is the one with the fault.
            Fault::Filtered { arrives: true, returns: false } => (to, from),
            // Either end tells it.
            Fault::Filtered { arrives, returns } if arrives == returns && to < from => (to, from),
            _ => (from, to),
        };
        let fault = match fault {
            Fault::Filtered { arrives, returns } if arrives != returns => {
                Fault::Filtered { arrives: false, returns: true }
            }
            fault => fault,
        };
        let (nodes, families) = faults.entry((fault, from)).or_default();
        nodes.insert(to);
        families.insert(family);
    }
    findings.extend(
        faults.iter().map(|((fault, from), (to, families))| finding(cluster, fault, from, to, families)),
    );
    findings
}

/// Nodes that no probed path reaches.
struct Alone<'a> {
    nodes: BTreeSet<&'a str>,
    /// Whether they are all that there are.
    all: bool,
}

fn alone<'a>(all: &[(&'a Facts, &'a Path)]) -> Alone<'a> {
    let mut nodes = BTreeMap::<&str, (BTreeSet<&str>, bool)>::new();
    for (facts, path) in all {
        let lost = is_silent(path);
        let ends = [facts.node.as_str(), path.node.as_str()];
        for (one, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let (others, is_alone) = nodes.entry(one).or_insert((BTreeSet::new(), true));
            others.insert(other);
            *is_alone &= lost;
        }
    }
    let count = nodes.len();
    let alone = nodes.into_iter().filter(|(_, (others, is_alone))| *is_alone && others.len() >= ALONE);
    let nodes: BTreeSet<&str> = alone.map(|(node, _)| node).collect();
    Alone { all: nodes.len() == count, nodes }
}

/// One finding for each, or for all.
fn isolated(cluster: &Cluster, alone: &Alone<'_>) -> Vec<Finding> {
    let port = port(cluster);
    let remedy = firewalls(&port);
    let finding = |object: String, problem: String, nodes: Vec<&str>| {
        Finding::error("path_filtered", object, problem).remedy(&remedy).of(nodes)
    };
    if alone.nodes.is_empty() {
        return Vec::new();
    }
    if alone.all {
        let problem =
            format!("no packet comes through any tunnel and back: {port} is dropped between all nodes");
        return vec![finding("all nodes".to_owned(), problem, alone.nodes.iter().copied().collect())];
    }
    let of_node = |node: &&str| {
        let problem = format!(
            "no packet comes through any of its tunnels and back: {port} is dropped, or the node is away from the others' \
             network"
        );
        finding(format!("Node {node}"), problem, vec![*node])
    };
    alone.nodes.iter().map(of_node).collect()
}
