use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use naming::annotation;
use objects::{Labels, Node};

use crate::validate::NODE_ADDRESSES;
use crate::{Desired, Model, NotYet, Problem, Ranges, RouteTarget};

mod oracle;
mod sequences;
mod services;

fn node(name: &str, pod_cidrs: &[&str], internal_ips: &[&str]) -> Node {
    Node {
        uid: None,
        created: None,
        name: name.into(),
        pod_cidrs: pod_cidrs.iter().map(|c| c.parse().unwrap()).collect(),
        internal_ips: internal_ips.iter().map(|a| a.parse().unwrap()).collect(),
        zone: None,
        annotations: BTreeMap::new(),
        leaving: false,
        other_ips: Vec::new(),
        labels: Labels::default(),
    }
}

fn ranges() -> Ranges {
    let parse = |cidrs: [&str; 2]| cidrs.map(|cidr| cidr.parse().unwrap()).to_vec();
    Ranges { cluster: parse(["10.244.0.0/16", "fd44::/48"]), service: parse(["10.96.0.0/12", "fd96::/112"]) }
}

fn validated(nodes: &[Node], me: &str) -> Result<(Desired, Vec<Problem>), NotYet> {
    let mut model = Model::new(me, ranges());
    model.replace(nodes);
    let desired = model.update()?.0.clone();
    let problems = desired.problems().cloned().collect();
    Ok((desired, problems))
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
    let (got, problems) = validated(&three(), "n2").unwrap();
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
            "10.244.3.0/24 Tunnel(172.30.0.13)", // both nodes come to IPv4
            "fd44::/48 Unreachable",
            "fd44:0:0:1::/64 Tunnel(172.30.0.11)",
            "fd44:0:0:2::/64 Local",
            "fd44:0:0:3::/64 Tunnel(172.30.0.13)",
        ]
    );
}

fn annotate(mut node: Node, address: &str) -> Node {
    node.annotations.insert(annotation::TUNNEL_ENDPOINT_IP.into(), address.into());
    node
}

#[test]
fn the_annotation_wins_over_the_internal_ip() {
    let [one, two, three] = three();
    let (got, _) = validated(&[annotate(one, "192.0.2.1"), two, three], "n2").unwrap();
    assert_eq!(got.peers["n1"].tunnel_address, "192.0.2.1".parse::<IpAddr>().unwrap());
}

#[test]
fn both_ends_of_a_tunnel_come_to_the_same_whatever_the_order_of_addresses() {
    let (v4, v6) = (["172.30.0.1", "172.30.0.2"], ["fd30::1", "fd30::2"]);
    let orders = |which: usize| {
        [vec![v4[which], v6[which]], vec![v6[which], v4[which]], vec![v4[which]], vec![v6[which]]]
    };
    let annotations =
        |which: usize| [None, Some(["192.0.2.1", "192.0.2.2"][which]), Some(["fd31::1", "fd31::2"][which])];
    let nodes = |which: usize| {
        let (name, cidr) = [("n1", "10.244.1.0/24"), ("n2", "10.244.2.0/24")][which];
        orders(which).into_iter().flat_map(move |order| {
            annotations(which).map(|annotation| {
                let node = node(name, &[cidr], &order);
                annotation.map_or(node.clone(), |address| annotate(node, address))
            })
        })
    };
    let mut tunnels = 0;
    for one in nodes(0) {
        for two in nodes(1) {
            let both = [one.clone(), two.clone()];
            let seen = |me: &str, other: &str| {
                let (got, problems) = validated(&both, me).unwrap();
                let peer = got.peers.get(other).cloned();
                assert_eq!(peer.is_none(), !problems.is_empty(), "{problems:?}");
                peer.map(|peer| (peer.own_address, peer.tunnel_address, got.local.tunnel_addresses))
            };
            let (here, there) = (seen("n1", "n2"), seen("n2", "n1"));
            let ends = here.as_ref().map(|(own, other, _)| (*own, *other));
            assert_eq!(ends, there.as_ref().map(|(own, other, _)| (*other, *own)), "{both:?}");
            let Some((own, other, all)) = here else { continue };
            assert_eq!(own.is_ipv4(), other.is_ipv4());
            // The source that the datapath gives to what it sends.
            assert!(all.contains(&own), "{all:?} {own}");
            tunnels += 1;
        }
    }
    // Without a tunnel are only those that have no family in common.
    assert!(tunnels > 100, "{tunnels}");
}

#[test]
fn the_family_is_an_annotations_or_the_one_that_both_have_first() {
    let [v4, v6] = [["172.30.0.1", "fd30::1"], ["fd30::1", "172.30.0.1"]];
    let [other4, other6] = [["172.30.0.2", "fd30::2"], ["fd30::2", "172.30.0.2"]];
    for (mine, other, annotation, want) in [
        (v4, other4, None, "172.30.0.2"),
        (v6, other6, None, "fd30::2"),
        (v4, other6, None, "172.30.0.2"),
        (v6, other4, None, "172.30.0.2"),
        (v4, other4, Some("fd31::2"), "fd31::2"),
        (v6, other6, Some("192.0.2.2"), "192.0.2.2"),
    ] {
        let mine = node("n1", &["10.244.1.0/24"], &mine);
        let other = node("n2", &["10.244.2.0/24"], &other);
        let other = annotation.map_or(other.clone(), |address| annotate(other, address));
        let (got, _) = validated(&[mine, other], "n1").unwrap();
        assert_eq!(got.peers["n2"].tunnel_address, want.parse::<IpAddr>().unwrap(), "{annotation:?}");
    }
}

#[test]
fn every_address_of_a_node_is_known_as_its_own() {
    let [one, two, mut three] = three();
    // No other node's, no Pod's, and no host's at all.
    three.internal_ips.extend(
        ["172.30.0.12", "10.244.9.9", "127.0.0.1", "0.0.0.0", "fd30::99"]
            .map(|a| a.parse::<IpAddr>().unwrap()),
    );
    let (got, problems) = validated(&[annotate(one, "192.0.2.1"), two, three], "n2").unwrap();
    let nodes: Vec<String> = got.nodes.iter().map(|(address, end)| format!("{address} {end:?}")).collect();
    assert_eq!(
        nodes,
        [
            "172.30.0.11 Some(192.0.2.1)",
            "172.30.0.12 None",
            "172.30.0.13 Some(172.30.0.13)",
            "192.0.2.1 Some(192.0.2.1)",
            "fd30::11 Some(192.0.2.1)",
            "fd30::12 None",
            "fd30::13 Some(172.30.0.13)",
            "fd30::99 Some(172.30.0.13)",
        ]
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].problem.contains("172.30.0.12 is not accepted from it: Node n2 has it"),
        "{problems:?}"
    );

    let many: Vec<String> = (1..=9).map(|host| format!("192.0.2.{host}")).collect();
    let many = node("n1", &["10.244.1.0/24"], &many.iter().map(String::as_str).collect::<Vec<_>>());
    let (got, _) = validated(&[many], "n1").unwrap();
    assert_eq!(got.nodes.len(), NODE_ADDRESSES);
}

#[test]
fn one_podcidr_for_the_whole_cluster_is_local() {
    let nodes = [node("n1", &["10.244.0.0/16"], &["172.30.0.11"])];
    let (got, _) = validated(&nodes, "n1").unwrap();
    assert_eq!(got.routes[&"10.244.0.0/16".parse().unwrap()], RouteTarget::Local);
}

#[test]
fn a_node_that_cannot_be_served_yet_is_told_why() {
    let cases = [
        (node("n9", &["10.244.1.0/24"], &["172.30.0.11"]), "there is no Node n1"),
        (node("n1", &[], &["172.30.0.11"]), "has no podCIDR"),
        (node("n1", &["10.244.1.0/24"], &[]), "has no InternalIP"),
        (node("n1", &["10.244.1.0/30"], &["172.30.0.11"]), "too small for a gateway"),
        (node("n1", &["10.1.1.0/24"], &["172.30.0.11"]), "outside --cluster-cidr"),
        (node("n1", &["10.244.1.0/24"], &["10.244.200.1"]), "Pods would reach no node"),
        (node("n1", &["10.244.1.0/24"], &["0.0.0.0", "127.0.0.1", "fe80::1"]), "has no InternalIP"),
    ];
    for (node, want) in cases {
        let error = validated(&[node], "n1").unwrap_err().to_string();
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
    let (got, problems) = validated(&nodes, "n1").unwrap();
    assert!(got.peers.keys().map(|name| &**name).eq(["n2"]));
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
    let (want, _) = validated(&three(), "n2").unwrap();
    for (bad, what, says, takes) in cases {
        let mut nodes = three().to_vec();
        nodes.insert(0, bad.clone());
        // Created after the others, though its name sorts first.
        let oldest_first = nodes.iter_mut().map(|node| node.created = Some(i64::from(node.name == "bad")));
        oldest_first.for_each(drop);
        let (got, problems) = validated(&nodes, "n2").unwrap();
        let found = problems
            .iter()
            .any(|one| one.what == what && one.problem.contains(says) && one.object == "Node bad");
        let about_others = problems.iter().any(|one| one.object != "Node bad");
        // Of two with one tunnel address, the later one is named.
        assert!(found && (!about_others || says.contains("too")), "{bad:?}: {problems:?}");
        assert_eq!(got.local, want.local);
        assert_eq!(got.peers.get("bad").map_or(0, |peer| peer.pod_cidrs.len()), takes, "{bad:?}");
        for (cidr, route) in want.routes.iter() {
            assert_eq!(got.routes.get(cidr), Some(route), "{cidr} with {bad:?}");
        }
        for (name, peer) in want.peers.iter() {
            assert_eq!(got.peers.get(name), Some(peer), "{name} with {bad:?}");
        }
    }
}

#[test]
fn a_podcidr_that_holds_nodes_is_left_out() {
    let mut nodes = three().to_vec();
    nodes[0].internal_ips.push("10.244.3.9".parse().unwrap());
    let (got, problems) = validated(&nodes, "n2").unwrap();
    assert_eq!(got.peers["n3"].pod_cidrs, ["fd44:0:0:3::/64".parse::<IpNet>().unwrap()]);
    assert!(problems[0].problem.contains("10.244.3.9 of Node n1"), "{problems:?}");
}
