use super::*;

fn node(name: &str, pod_cidrs: &[&str], internal_ips: &[&str]) -> Node {
    Node {
        uid: None,
        created: None,
        name: name.into(),
        pod_cidrs: pod_cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        internal_ips: internal_ips.iter().map(|a| a.parse().unwrap()).collect(),
        annotations: BTreeMap::new(),
    }
}

fn cluster() -> Vec<IpNet> {
    ["10.244.0.0/16", "fd44::/48"].map(|c| c.parse().unwrap()).to_vec()
}

fn judged(nodes: &[Node], me: &str) -> Result<(Desired, Vec<Problem>), NotYet> {
    let service = ["10.96.0.0/12".parse().unwrap(), "fd96::/112".parse().unwrap()];
    desired(nodes, me, Ranges { cluster: &cluster(), service: &service })
}

fn three() -> [Node; 3] {
    [
        node("n1", &["10.244.1.0/24", "fd44:0:0:1::/64"], &["172.30.0.11", "fd30::11"]),
        node("n2", &["10.244.2.0/24", "fd44:0:0:2::/64"], &["172.30.0.12", "fd30::12"]),
        node("n3", &["10.244.3.0/24", "fd44:0:0:3::/64"], &["fd30::13", "172.30.0.13"]),
    ]
}

#[test]
fn a_dual_stack_cluster_seen_from_one_node() {
    let (got, problems) = judged(&three(), "n2").unwrap();
    assert_eq!(problems, []);
    assert_eq!(got.local.gateways, ["10.244.2.1", "fd44:0:0:2::1"].map(|a| a.parse::<IpAddr>().unwrap()));
    assert_eq!(
        got.local.node_addresses,
        ["10.244.2.2/24", "fd44:0:0:2::2/64"].map(|a| a.parse::<IpNet>().unwrap())
    );
    let routes: Vec<String> = got.routes.iter().map(|(cidr, route)| format!("{cidr} {route:?}")).collect();
    assert_eq!(
        routes,
        [
            "10.244.0.0/16 Unreachable",
            "10.244.1.0/24 Tunnel(172.30.0.11)",
            "10.244.2.0/24 Local",
            "10.244.3.0/24 Tunnel(172.30.0.13)", // the family of this node's own tunnel address
            "fd44::/48 Unreachable",
            "fd44:0:0:1::/64 Tunnel(172.30.0.11)",
            "fd44:0:0:2::/64 Local",
            "fd44:0:0:3::/64 Tunnel(172.30.0.13)",
        ]
    );
}

#[test]
fn the_annotation_wins_over_the_internal_ip() {
    let mut nodes = three();
    nodes[0].annotations.insert(annotation::TUNNEL_ENDPOINT_IP.into(), "192.0.2.1".into());
    let (got, _) = judged(&nodes, "n2").unwrap();
    assert_eq!(got.peers["n1"].tunnel_address, "192.0.2.1".parse::<IpAddr>().unwrap());
}

#[test]
fn one_podcidr_for_the_whole_cluster_is_local() {
    let nodes = [node("n1", &["10.244.0.0/16"], &["172.30.0.11"])];
    let (got, _) = judged(&nodes, "n1").unwrap();
    assert_eq!(got.routes[&"10.244.0.0/16".parse().unwrap()], Route::Local);
}

#[test]
fn a_node_that_cannot_be_served_yet_is_told_why() {
    let cases = [
        (node("n9", &["10.244.1.0/24"], &["172.30.0.11"]), "there is no Node n1"),
        (node("n1", &[], &["172.30.0.11"]), "has no podCIDR"),
        (node("n1", &["10.244.1.0/24"], &[]), "has no InternalIP"),
        (node("n1", &["10.244.1.0/30"], &["172.30.0.11"]), "has no room"),
        (node("n1", &["10.1.1.0/24"], &["172.30.0.11"]), "outside --cluster-cidr"),
        (node("n1", &["10.244.1.0/24"], &["10.244.200.1"]), "Pods would reach no node"),
        (node("n1", &["10.244.1.0/24"], &["0.0.0.0", "127.0.0.1", "fe80::1"]), "has no InternalIP"),
    ];
    for (node, want) in cases {
        let error = judged(&[node], "n1").unwrap_err().to_string();
        assert!(error.contains(want), "{want} in {error}");
    }
}

#[test]
fn a_peer_that_cannot_be_taken_is_left_out_and_named() {
    let nodes = [
        node("n1", &["10.244.1.0/24"], &["172.30.0.11"]),
        node("n2", &["10.244.1.128/25", "fd44:0:0:2::/64"], &["172.30.0.12"]),
        node("n3", &["10.244.3.0/24"], &["fd30::13"]),
        node("n4", &[], &[]),
    ];
    let (got, problems) = judged(&nodes, "n1").unwrap();
    assert_eq!(got.peers.keys().collect::<Vec<_>>(), ["n2"]);
    assert_eq!(got.peers["n2"].pod_cidrs, ["fd44:0:0:2::/64".parse::<IpNet>().unwrap()]);
    let said: Vec<_> = problems.iter().map(|one| format!("{}: {}", one.object, one.problem)).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("Node n2") && said[0].contains("overlaps 10.244.1.0/24 of Node n1"), "{said:?}");
    assert!(said[1].contains("Node n3") && said[1].contains("family"), "{said:?}");
}

#[test]
fn a_node_that_says_something_wrong_harms_itself_only() {
    let annotated = |mut node: Node, text: &str| {
        node.annotations.insert(annotation::TUNNEL_ENDPOINT_IP.into(), text.into());
        node
    };
    let bad = || node("bad", &["10.244.9.0/24", "fd44:0:0:9::/64"], &["172.30.0.19"]);
    let ends = |text: &str| annotated(bad(), text);
    let cidrs = |cidrs: &[&str]| node("bad", cidrs, &["172.30.0.19"]);
    // The kind of problem, what is said of it, and how many of its podCIDRs are taken.
    let cases = [
        (ends("0.0.0.0"), "tunnel_address", "is ignored: that is no address of one host", 2),
        (ends("255.255.255.255"), "tunnel_address", "is ignored", 2),
        (ends("127.0.0.1"), "tunnel_address", "is ignored", 2),
        (ends("224.0.0.1"), "tunnel_address", "is ignored", 2),
        (ends("::"), "tunnel_address", "is ignored", 2),
        (ends("fe80::1"), "tunnel_address", "is ignored", 2),
        (ends("::ffff:172.30.0.12"), "tunnel_address", "is ignored", 2),
        (ends("nonsense\n"), "tunnel_address", "is no IP address", 2),
        (ends("172.30.0.12"), "tunnel_address", "is this node's own", 0),
        (ends("172.30.0.11"), "tunnel_address", "is that of Node n1, too", 2),
        (ends("10.244.1.7"), "tunnel_address", "lies in the Pods' addresses 10.244.0.0/16", 0),
        (ends("10.96.0.1"), "tunnel_address", "lies in the Services' addresses", 0),
        (cidrs(&["192.0.2.0/24"]), "pod_cidr", "lies outside --cluster-cidr", 0),
        (cidrs(&["0.0.0.0/0", "fd44:0:0:9::/64"]), "pod_cidr", "lies outside --cluster-cidr", 1),
        (cidrs(&["::/0"]), "pod_cidr", "lies outside --cluster-cidr", 0),
        (cidrs(&["10.244.0.0/16"]), "pod_cidr", "overlaps", 0),
        (cidrs(&["10.244.2.0/24"]), "pod_cidr", "of Node n2", 0),
        (cidrs(&["10.244.3.0/28", "fd44:0:0:3::/64"]), "pod_cidr", "of Node n3", 0),
    ];
    let (want, _) = judged(&three(), "n2").unwrap();
    for (bad, what, says, takes) in cases {
        let mut nodes = three().to_vec();
        nodes.insert(0, bad.clone());
        // Created after the others, though its name sorts first.
        let oldest_first = nodes.iter_mut().map(|node| node.created = Some(i64::from(node.name == "bad")));
        oldest_first.for_each(drop);
        let (got, problems) = judged(&nodes, "n2").unwrap();
        let found = problems
            .iter()
            .any(|one| one.what == what && one.problem.contains(says) && one.object == "Node bad");
        let about_others = problems.iter().any(|one| one.object != "Node bad");
        // Of two with one tunnel address, the later one is named.
        assert!(found && (!about_others || says.contains("too")), "{bad:?}: {problems:?}");
        assert_eq!(got.local, want.local);
        assert_eq!(got.peers.get("bad").map_or(0, |peer| peer.pod_cidrs.len()), takes, "{bad:?}");
        for (cidr, route) in &want.routes {
            assert_eq!(got.routes.get(cidr), Some(route), "{cidr} with {bad:?}");
        }
        for (name, peer) in &want.peers {
            assert_eq!(got.peers.get(name), Some(peer), "{name} with {bad:?}");
        }
    }
}

#[test]
fn a_podcidr_that_holds_nodes_is_left_out() {
    let mut nodes = three().to_vec();
    nodes[0].internal_ips.push("10.244.3.9".parse().unwrap());
    let (got, problems) = judged(&nodes, "n2").unwrap();
    assert_eq!(got.peers["n3"].pod_cidrs, ["fd44:0:0:3::/64".parse::<IpNet>().unwrap()]);
    assert!(problems[0].problem.contains("10.244.3.9 of Node n1"), "{problems:?}");
}
