use lab::{Family, Node, Pod, Process};
use naming::PodKey;

use super::check::Outcome;
use super::paths::{Kind, paths, servers};
use super::report;
use super::*;

/// Two nodes with two Pods each, over both families, of which nothing runs.
pub(super) fn state() -> State {
    let node = |i: u8| Node {
        name: format!("node{i}"),
        init: Process { pid: 1, start: 1 },
        agent: None,
        addresses: vec![format!("172.30.0.1{i}").parse().unwrap(), format!("fd30::1{i}").parse().unwrap()],
        pod_cidrs: vec![
            format!("10.244.{i}.0/24").parse().unwrap(),
            format!("fd44:0:0:{i}::/64").parse().unwrap(),
        ],
    };
    let pod = |i: u8, n: u8| Pod {
        key: PodKey::new("default", format!("pod{i}-{n}")),
        node: format!("node{i}"),
        uid: String::new(),
        container_id: String::new(),
        ips: vec![
            format!("10.244.{i}.{}/24", n + 2).parse().unwrap(),
            format!("fd44:0:0:{i}::{}/64", n + 2).parse().unwrap(),
        ],
        mac: None,
        add_microseconds: u64::from(i) * 1000,
        capability_args: serde_json::Map::new(),
        object: serde_json::Value::Null,
        result: serde_json::Value::Null,
    };
    let record = serde_json::json!({
        "format": 1, "boot_id": "", "family": Family::Dual, "cluster_cidrs": Family::Dual.cluster_cidrs(),
        "binaries": "", "agent_args": [], "fabric": null, "outside": null,
        "nodes": [node(1), node(2)], "pods": [pod(1, 1), pod(1, 2), pod(2, 1), pod(2, 2)],
    });
    serde_json::from_value(record).unwrap()
}

fn outcomes(fails: impl Fn(&paths::Path) -> bool) -> Vec<Outcome> {
    let problem =
        |path: &paths::Path| if fails(path) { vec!["TCP connect: timed out".to_owned()] } else { Vec::new() };
    paths(&state()).unwrap().into_iter().map(|path| Outcome { problems: problem(&path), path }).collect()
}

#[test]
fn every_path_there_is_in_both_families() {
    let paths = paths(&state()).unwrap();
    let count = |kind| paths.iter().filter(|path| path.kind == kind).count();
    for (kind, want) in [
        (Kind::PodSameNode, 4),
        (Kind::PodAcrossNodes, 8),
        (Kind::NodeToLocalPod, 4),
        (Kind::NodeToRemotePod, 4),
        (Kind::PodToOwnNode, 4),
        (Kind::PodToOwnUnderlay, 4),
        (Kind::PodToRemoteNode, 4),
        (Kind::PodToGateway, 4),
        (Kind::PodToOutside, 4),
    ] {
        assert_eq!(count(kind), want * 2, "{kind}");
    }
    let v6 = paths.iter().filter(|path| path.address.is_ipv6()).count();
    assert_eq!(v6 * 2, paths.len());
}

#[test]
fn the_source_that_may_be_seen_depends_on_the_path() {
    let paths = paths(&state()).unwrap();
    let sources = |kind, from: &str, v4: bool| {
        let path = paths
            .iter()
            .find(|p| p.kind == kind && p.from_name == from && p.address.is_ipv4() == v4)
            .unwrap();
        path.sources.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        sources(Kind::PodAcrossNodes, "pod1-1", true),
        ["10.244.1.3"],
        "Pods see each other's own addresses"
    );
    assert_eq!(sources(Kind::PodToOutside, "pod2-1", false), ["fd30::12"], "the outside sees the node");
    assert_eq!(sources(Kind::NodeToLocalPod, "node1", true), ["172.30.0.11", "10.244.1.2"]);
}

#[test]
fn every_path_but_the_gateways_has_an_echo_server() {
    let listening: Vec<_> =
        servers(&state()).unwrap().into_iter().flat_map(|(_, addresses)| addresses).collect();
    for path in paths(&state()).unwrap() {
        assert_eq!(listening.contains(&path.address), path.has_ports(), "{path}");
    }
}

#[test]
fn the_matrix_shows_which_family_fails_where() {
    let outcomes =
        outcomes(|path| path.from_name == "pod1-2" && path.to_name == "outside" && path.address.is_ipv6());
    let matrix = report::matrix(&state(), &outcomes);
    let line =
        |name: &str| matrix.lines().find(|line| line.starts_with(&format!(" {name}"))).unwrap().to_owned();
    assert!(line("pod1-2").ends_with("ok 4 NO 6"), "{matrix}");
    assert!(line("pod1-1").ends_with("ok 4 ok 6"), "{matrix}");
    assert!(line("node1").trim_end().ends_with('.'), "a node has no path to the outside here:\n{matrix}");
    assert_eq!(matrix.matches("NO").count(), 1, "{matrix}");
    assert!(report::kinds(&outcomes).contains("3 of 4 !"));
    assert!(
        report::failures(&outcomes).contains("pod1-2 -> outside (2001:db8::1"),
        "{}",
        report::failures(&outcomes)
    );
}

#[test]
fn the_last_line_counts() {
    assert_eq!(report::verdict(&outcomes(|_| false), &[]), "demo: 80 of 80 paths work");
    assert_eq!(
        report::verdict(&outcomes(|path| path.kind == Kind::PodToGateway), &[]),
        "demo: 72 of 80 paths work"
    );
}

#[test]
fn drops_of_nodes_are_summed_without_ignored_packets() {
    let counter = |name: &str, verdict: &str, packets| Counter {
        name: name.into(),
        help: String::new(),
        drop: verdict != "forward",
        packets,
        bytes: 10,
        verdict: verdict.into(),
    };
    let all = [
        counter("b", "drop", 2),
        counter("a", "drop", 1),
        counter("b", "drop", 3),
        counter("c", "drop", 0),
        counter("d", "forward", 9),
        counter("e", "ignore", 9),
    ];
    let sums: Vec<_> = report::drops(all.iter()).into_iter().map(|c| (c.name, c.packets)).collect();
    assert_eq!(sums, [("a".to_owned(), 1), ("b".to_owned(), 5)]);
}

#[test]
fn the_spread_of_times() {
    assert_eq!(report::spread([900, 2500, 1200].into_iter()), "0.9 / 1.2 / 2.5 ms");
    assert_eq!(report::spread([].into_iter()), "0.0 / 0.0 / 0.0 ms");
}
