use super::*;

fn node(name: &str, pod_cidrs: &[&str], internal_ips: &[&str]) -> Node {
    Node {
        uid: None,
        name: name.into(),
        pod_cidrs: pod_cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        internal_ips: internal_ips.iter().map(|a| a.parse().unwrap()).collect(),
        annotations: BTreeMap::new(),
    }
}

fn cluster() -> Vec<IpNet> {
    ["10.244.0.0/16", "fd44::/48"].map(|c| c.parse().unwrap()).to_vec()
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
    let (got, problems) = desired(&three(), "n2", &cluster()).unwrap();
    assert_eq!(problems, [] as [String; 0]);
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
    let (got, _) = desired(&nodes, "n2", &cluster()).unwrap();
    assert_eq!(got.peers["n1"].tunnel_address, "192.0.2.1".parse::<IpAddr>().unwrap());
}

#[test]
fn one_podcidr_for_the_whole_cluster_is_local() {
    let nodes = [node("n1", &["10.244.0.0/16"], &["172.30.0.11"])];
    let (got, _) = desired(&nodes, "n1", &["10.244.0.0/16".parse().unwrap()]).unwrap();
    assert_eq!(got.routes.into_values().collect::<Vec<_>>(), [Route::Local]);
}

#[test]
fn a_node_that_cannot_be_served_yet_is_told_why() {
    let cases = [
        (node("n9", &["10.244.1.0/24"], &["172.30.0.11"]), "there is no Node n1"),
        (node("n1", &[], &["172.30.0.11"]), "has no podCIDR"),
        (node("n1", &["10.244.1.0/24"], &[]), "has no InternalIP"),
        (node("n1", &["10.244.1.0/30"], &["172.30.0.11"]), "has no room"),
        (node("n1", &["10.1.1.0/24"], &["172.30.0.11"]), "outside --cluster-cidr"),
    ];
    for (node, want) in cases {
        let error = desired(&[node], "n1", &cluster()).unwrap_err().to_string();
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
    let (got, problems) = desired(&nodes, "n1", &cluster()).unwrap();
    assert_eq!(got.peers.keys().collect::<Vec<_>>(), ["n2"]);
    assert_eq!(got.peers["n2"].pod_cidrs, ["fd44:0:0:2::/64".parse::<IpNet>().unwrap()]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("10.244.1.128/25") && problems[0].contains("Node n1"), "{problems:?}");
    assert!(problems[1].contains("n3") && problems[1].contains("family"), "{problems:?}");
}
