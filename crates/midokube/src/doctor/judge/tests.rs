use super::super::cluster::{Cluster, Node, Silence};
use super::super::facts::{Facts, Path, PathAnswer, Peer, PodAddresses, Table};
use super::super::finding::Severity;
use super::judge;
use crate::answer::Problem;

/// A healthy cluster of so many nodes, each of which probed all others.
fn cluster(count: usize) -> Cluster {
    let cidr = |number: usize| format!("10.244.{number}.0/24");
    let names: Vec<String> = (1..=count).map(|number| format!("node{number}")).collect();
    let facts = |own: usize| Facts {
        node: format!("node{own}"),
        version: "1.0.0".into(),
        ready: true,
        source: "https://192.0.2.1:6443".into(),
        kind: "embedded".into(),
        pod_cidrs: vec![cidr(own)],
        cluster_cidrs: vec!["10.244.0.0/16".into()],
        mtu: Some(1450),
        tunnel_address: Some(format!("172.30.0.{own}")),
        overlay_port: Some(4789),
        vni: Some(1),
        pods: vec![PodAddresses {
            pod: format!("default/pod{own}"),
            addresses: vec![format!("10.244.{own}.3")],
        }],
        peers: (1..=count)
            .filter(|other| *other != own)
            .map(|other| Peer { node: format!("node{other}"), pod_cidrs: vec![cidr(other)] })
            .collect(),
        tables: vec![Table { name: "connections".into(), used: 5, limit: 100 }],
        paths: names.iter().filter(|name| **name != format!("node{own}")).map(|name| path(name)).collect(),
        ..Facts::default()
    };
    let node = |own| Node { name: format!("node{own}"), said: Ok(facts(own)), clock: Some((-5, 5)) };
    Cluster { nodes: (1..=count).map(node).collect(), without_agent: Vec::new(), version: "1.0.0".into() }
}

fn path(node: &str) -> Path {
    Path {
        node: node.into(),
        family: "ipv4".into(),
        large_bytes: 1450,
        plain: PathAnswer::Answered,
        checksummed: PathAnswer::Answered,
        unchecked: PathAnswer::Answered,
        listens: false,
    }
}

/// Changes a node's facts.
fn of(cluster: &mut Cluster, node: usize, change: impl FnOnce(&mut Facts)) {
    change(cluster.nodes[node - 1].said.as_mut().unwrap());
}

/// Changes the path from one node to another.
fn between(cluster: &mut Cluster, from: usize, to: usize, change: impl FnOnce(&mut Path)) {
    let name = format!("node{to}");
    of(cluster, from, |facts| change(facts.paths.iter_mut().find(|path| path.node == name).unwrap()));
}

/// All answers to and from a node are lost.
fn cut(path: &mut Path) {
    path.plain = PathAnswer::Lost;
    path.checksummed = PathAnswer::Lost;
    path.unchecked = PathAnswer::Lost;
}

/// `what: object` of each finding.
fn named(cluster: &Cluster) -> Vec<String> {
    let findings = judge(cluster);
    for finding in &findings {
        assert!(
            !finding.remedy.is_empty() && !finding.problem.is_empty() && !finding.nodes.is_empty(),
            "{finding:?}"
        );
    }
    findings.into_iter().map(|finding| format!("{}: {}", finding.what, finding.object)).collect()
}

#[test]
fn a_healthy_cluster_has_no_findings() {
    for count in 1..5 {
        assert_eq!(judge(&cluster(count)), []);
    }
    assert_eq!(judge(&Cluster::default()), []);
}

#[test]
fn each_fault_of_agents_is_named() {
    type Change = fn(&mut Facts);
    let problem = |what: &str| Problem {
        what: what.into(),
        object: "Node x".into(),
        problem: "is wrong".into(),
        remedy: "correct it".into(),
    };
    let cases: [(Change, &str); 11] = [
        (|facts| facts.ready = false, "agent_not_ready: Node node2"),
        (|facts| facts.source_error = Some("403 Forbidden".into()), "source: https://192.0.2.1:6443"),
        (|facts| facts.paths_error = Some("no such call".into()), "paths_not_probed: Node node2"),
        (|facts| facts.version = "0.9.12".into(), "agent_version: Node node2"),
        (|facts| facts.version = "1.0.0-rc1".into(), "agent_version: Node node2"),
        (|facts| facts.overlay_port = Some(8472), "settings: the setting --tunnel-port"),
        (|facts| facts.vni = Some(2), "settings: the setting --vni"),
        (|facts| facts.cluster_cidrs.push("fd44::/48".into()), "settings: the setting --cluster-cidr"),
        (|facts| facts.tables[0].used = 80, "table_pressure: table connections of Node node2"),
        (|facts| facts.tables[0].used = 95, "table_full: table connections of Node node2"),
        (|facts| drop(facts.peers.remove(0)), "peer_unknown: Node node2"),
    ];
    for (change, want) in cases {
        let mut cluster = cluster(3);
        of(&mut cluster, 2, change);
        assert_eq!(named(&cluster), [want]);
    }
    for (what, severity) in [("foreign_cni_config", Severity::Error), ("kube_proxy", Severity::Warning)] {
        let mut cluster = cluster(3);
        for node in 1..=2 {
            of(&mut cluster, node, |facts| facts.problems.push(problem(what)));
        }
        let findings = judge(&cluster);
        assert_eq!((findings.len(), findings[0].severity, findings[0].what.as_str()), (1, severity, what));
        assert_eq!(findings[0].nodes, ["node1", "node2"], "told once");
    }
    // Another network has no such paths, and an agent that is not ready says so itself.
    let mut midonet = cluster(3);
    for node in 1..=3 {
        of(&mut midonet, node, |facts| {
            facts.kind = "midonet".into();
            facts.paths_error = Some("not the agent's".into());
        });
    }
    assert_eq!(named(&midonet), [""; 0]);
}

#[test]
fn a_node_that_says_nothing_keeps_no_other_from_being_judged() {
    let mut cluster = cluster(3);
    let silence = Silence { why: "CrashLoopBackOff".into(), version: Some("0.1.0".into()) };
    cluster.nodes[0].said = Err(silence);
    cluster.without_agent.push("node9".into());
    of(&mut cluster, 3, |facts| facts.vni = Some(2));
    assert_eq!(
        named(&cluster),
        [
            "agent_silent: Node node1",
            "no_agent: Node node9",
            "settings: the setting --vni",
            "agent_version: Node node1"
        ]
    );
}

#[test]
fn addresses_that_two_have_are_named() {
    let mut two = cluster(3);
    of(&mut two, 2, |facts| facts.pod_cidrs = vec!["10.244.3.128/25".into()]);
    assert!(named(&two).contains(&"duplicate_cidr: podCIDR 10.244.3.128/25".to_owned()), "{:?}", named(&two));
    let mut nested = cluster(4);
    of(&mut nested, 1, |facts| facts.pod_cidrs = vec!["10.244.0.0/16".into()]);
    let found = named(&nested);
    assert_eq!(found.iter().filter(|one| one.starts_with("duplicate_cidr")).count(), 3, "{found:?}");
    let mut tunnels = cluster(3);
    of(&mut tunnels, 2, |facts| facts.tunnel_address = Some("172.30.0.3".into()));
    assert_eq!(named(&tunnels), ["duplicate_address: 172.30.0.3"]);
    let mut pods = cluster(3);
    of(&mut pods, 2, |facts| facts.pods[0].addresses.push("10.244.1.3".into()));
    assert_eq!(named(&pods), ["duplicate_address: 10.244.1.3"]);
    assert_eq!(judge(&pods)[0].nodes, ["node1", "node2"]);
}

#[test]
fn clocks_are_judged_by_the_one_in_the_middle_and_only_for_certain() {
    for (clocks, want) in [
        ([(-5, 5), (-5, 5), (9_000, 9_100)], vec!["clock_skew: Node node3"]),
        ([(9_000, 9_100), (9_000, 9_100), (-5, 5)], vec!["clock_skew: Node node3"]),
        ([(-5, 5), (-5, 5), (1_000, 9_100)], vec![]),
        (
            [(-9_000, -8_000), (-5, 5), (9_000, 9_100)],
            vec!["clock_skew: Node node1", "clock_skew: Node node3"],
        ),
        ([(9, -9), (9, -9), (9_000, 9_100)], vec![]),
    ] {
        let mut cluster = cluster(3);
        for (node, clock) in cluster.nodes.iter_mut().zip(clocks) {
            node.clock = Some(clock);
        }
        assert_eq!(named(&cluster), want, "{clocks:?}");
    }
}

/// What became of each kind, whether the other agent listened, what is found, and words of that.
type Case = (&'static str, [PathAnswer; 3], bool, &'static str, &'static str);

#[test]
fn what_is_wrong_with_a_path_is_told_from_what_came_back() {
    let (yes, lost) = (PathAnswer::Answered, PathAnswer::Lost);
    let big = PathAnswer::TooBig { mtu: Some(1300) };
    let refused = PathAnswer::Refused { problem: "no route to host".into() };
    let of = |plain: &PathAnswer, checksummed: &PathAnswer, unchecked: &PathAnswer| {
        [plain.clone(), checksummed.clone(), unchecked.clone()]
    };
    let cases: [Case; 8] = [
        ("ipv4", of(&yes, &lost, &lost), false, "path_mtu: node1 -> node2", "1450 bytes"),
        ("ipv6", of(&yes, &lost, &lost), true, "path_mtu: node1 -> node2", "1450 bytes"),
        ("ipv6", of(&yes, &lost, &lost), false, "path_large: node1 -> node2", "1450 bytes"),
        ("ipv6", of(&yes, &big, &lost), false, "path_mtu: node1 -> node2", "says 1300 bytes"),
        ("ipv4", of(&yes, &lost, &yes), false, "path_checksum: node1 -> node2", "checksum"),
        ("ipv6", of(&yes, &lost, &yes), true, "path_checksum: node1 -> node2", "checksum"),
        ("ipv4", of(&refused, &lost, &lost), false, "path_refused: node1 -> node2", "no route to host"),
        ("ipv4", of(&lost, &lost, &lost), false, "path_filtered: node1 <-> node2", "UDP 4789 is dropped"),
    ];
    for (family, [plain, checksummed, unchecked], listens, want, words) in cases {
        let mut cluster = cluster(3);
        between(&mut cluster, 1, 2, |path| {
            let (node, family) = (path.node.clone(), family.to_owned());
            *path = Path { node, family, large_bytes: 1450, plain, checksummed, unchecked, listens };
        });
        assert_eq!(named(&cluster), [want]);
        assert!(judge(&cluster)[0].problem.contains(words), "{words} in {:?}", judge(&cluster));
    }
}

#[test]
fn a_path_through_which_pods_packets_come_has_no_fault() {
    for (plain, unchecked) in [
        (PathAnswer::Lost, PathAnswer::Lost),
        (PathAnswer::Lost, PathAnswer::Answered),
        (PathAnswer::Answered, PathAnswer::Lost),
    ] {
        let mut cluster = cluster(3);
        between(&mut cluster, 1, 2, |path| (path.plain, path.unchecked) = (plain, unchecked));
        assert_eq!(named(&cluster), [""; 0]);
    }
}

#[test]
fn what_one_family_leaves_open_the_other_one_tells() {
    for (unchecked, want) in [
        (PathAnswer::Lost, "path_mtu: node1 -> node2"),
        (PathAnswer::Answered, "path_checksum: node1 -> node2"),
    ] {
        let mut cluster = cluster(3);
        of(&mut cluster, 1, |facts| {
            let path = facts.paths.iter_mut().find(|path| path.node == "node2").unwrap();
            path.checksummed = PathAnswer::Lost;
            let open = Path { family: "ipv6".into(), unchecked: PathAnswer::Lost, ..path.clone() };
            path.unchecked = unchecked;
            facts.paths.push(open);
        });
        assert_eq!(named(&cluster), [want]);
    }
}

#[test]
fn the_direction_that_is_filtered_is_named_if_the_other_one_is_heard() {
    for (heard_by_1, heard_by_2, want) in [
        (false, false, "path_filtered: node1 <-> node2"),
        (true, false, "path_filtered: node1 -> node2"),
        (false, true, "path_filtered: node2 -> node1"),
        (true, true, "path_filtered: node1 <-> node2"),
    ] {
        let mut cluster = cluster(3);
        for (from, to, heard) in [(1, 2, heard_by_1), (2, 1, heard_by_2)] {
            between(&mut cluster, from, to, cut);
            if heard {
                of(&mut cluster, from, |facts| facts.heard.push(format!("node{to}")));
            }
        }
        assert_eq!(named(&cluster), [want], "{heard_by_1} {heard_by_2}: {:?}", judge(&cluster));
    }
}

#[test]
fn a_node_that_nobody_reaches_is_one_finding_and_so_are_all() {
    let mut cluster = cluster(4);
    for other in [1, 2, 4] {
        between(&mut cluster, 3, other, cut);
        between(&mut cluster, other, 3, cut);
    }
    assert_eq!(named(&cluster), ["path_filtered: Node node3"]);
    for (one, other) in [(1, 2), (2, 1), (1, 4), (4, 1), (2, 4), (4, 2)] {
        between(&mut cluster, one, other, cut);
    }
    assert_eq!(named(&cluster), ["path_filtered: all nodes"]);
}

#[test]
fn both_families_and_many_paths_of_one_node_are_one_finding() {
    let mut cluster = cluster(9);
    of(&mut cluster, 1, |facts| {
        let mut more: Vec<Path> =
            facts.paths.iter().cloned().map(|path| Path { family: "ipv6".into(), ..path }).collect();
        facts.paths.append(&mut more);
        for path in &mut facts.paths {
            (path.checksummed, path.unchecked, path.listens) = (PathAnswer::Lost, PathAnswer::Lost, true);
        }
    });
    assert_eq!(named(&cluster), ["path_mtu: node1 -> node2, node3, node4, node5, node6 and 3 others"]);
    assert!(judge(&cluster)[0].problem.contains("ipv4 and ipv6"));
}
