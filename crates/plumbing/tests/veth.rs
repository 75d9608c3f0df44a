//! Pods' pairs and the node's own, in namespaces.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use plumbing::link::{self, delete_retired, set_up};
use plumbing::veth::{self, Namespaces, VethPair};
use plumbing::{KernelRoute, NetNs};
use testkit::Namespace;

const GATEWAY_MAC: [u8; 6] = [2, 0x6d, 0x69, 0x64, 0x6f, 1];

fn texts<T: std::str::FromStr<Err: std::fmt::Debug>>(all: &[&str]) -> Vec<T> {
    all.iter().map(|text| text.parse().unwrap()).collect()
}

/// A Pod's pair; `families` is "4", "6" or "46".
fn pod(host_ifname: &str, families: &str) -> VethPair {
    let (mut addresses, mut gateways, mut routes) = (vec![], vec![], vec![]);
    for (family, address, gateway, all) in [
        ("4", "10.244.1.3/24", "10.244.1.1", "0.0.0.0/0"),
        ("6", "fd44:0:0:1::3/64", "fd44:0:0:1::1", "::/0"),
    ] {
        if families.contains(family) {
            addresses.push(address.parse().unwrap());
            gateways.push(gateway.parse().unwrap());
            routes.push(KernelRoute::through(all.parse().unwrap(), gateway.parse().unwrap()));
        }
    }
    VethPair {
        ifname: "eth0".into(),
        mac: [2, 0, 0, 0, 0, 3],
        host_ifname: host_ifname.into(),
        host_mac: GATEWAY_MAC,
        alias: "default/a container eth0 uid".into(),
        mtu: 1430,
        addresses,
        gateways,
        routes,
        forwarding: Some(false),
        replace_stale: true,
        in_block: true,
    }
}

/// A node's namespace and a Pod's.
fn pair() -> (Namespace, Namespace, NetNs) {
    let (node, inside) = (Namespace::new(), Namespace::new());
    let netns = NetNs::open(inside.path()).unwrap();
    (node, inside, netns)
}

#[test]
fn a_pod_gets_what_it_should_in_every_family() {
    for families in ["4", "6", "46"] {
        let (node, inside, netns) = pair();
        // As a namespace starts on a node that is a router.
        inside.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
        let wanted = pod("midoa", families);
        let made = node.run(|| veth::create(Some(&netns), &wanted)).unwrap();
        let host_side = node.run(|| link::find("midoa")).unwrap().unwrap();
        assert_eq!(host_side.ifindex, made.host_ifindex);
        assert!(!host_side.up, "nothing may pass before the port is committed");
        assert_eq!(host_side.alias, "default/a container eth0 uid");
        node.run(|| set_up("midoa")).unwrap();
        assert_eq!(node.run(|| veth::check(Some(&netns), &wanted)).unwrap(), []);
        for link in [inside.ip("-d link show dev eth0"), node.ip("-d link show dev midoa")] {
            assert!(link.contains("numtxqueues 1 ") && link.contains("numrxqueues 1 "), "{link}");
        }
        let shown = inside.ip("addr show dev eth0");
        assert!(shown.contains("mtu 1430") && shown.contains("02:00:00:00:00:03"), "{shown}");
        assert_eq!(shown.contains("inet 10.244.1.3/24"), families.contains('4'), "{shown}");
        assert_eq!(shown.contains("inet6 fd44:0:0:1::3/64"), families.contains('6'), "{shown}");
        let forwarding = "/proc/sys/net/ipv4/conf/eth0/forwarding";
        assert_eq!(inside.run(|| std::fs::read_to_string(forwarding)).unwrap().trim(), "0");
        // The kernel's own link-local address is tentative for a moment even without detection of duplicates.
        let given = shown.lines().filter(|line| line.contains("fd44:"));
        assert_eq!(given.filter(|line| line.contains("tentative")).count(), 0, "{shown}");
        let detection = "/proc/sys/net/ipv6/conf/eth0/accept_dad";
        let detects = inside.run(|| std::fs::read_to_string(detection)).unwrap();
        assert!(!families.contains('6') || detects.trim() == "0", "{detects}");
        if families.contains('4') {
            let routes = inside.ip("-4 route");
            assert!(routes.contains("default via 10.244.1.1 dev eth0"), "{routes}");
            assert!(
                !routes.contains("10.244.1.0/24"),
                "neighbours are reached through the gateway: {routes}"
            );
        }
        if families.contains('6') {
            let routes = inside.ip("-6 route");
            assert!(routes.contains("default via fd44:0:0:1::1 dev eth0"), "{routes}");
        }
        let host = node.ip("-6 addr show dev midoa");
        assert!(!host.contains("fe80"), "the host side answers for nobody: {host}");
        let block = node.run(|| testkit::run(node.command("tc").args(["qdisc", "show", "dev", "midoa"])));
        assert!(
            block.contains("clsact")
                && block.contains(&format!("ingress_block {}", plumbing::tc::INGRESS_BLOCK)),
            "{block}"
        );
    }
}

#[test]
fn routes_have_what_was_asked_for() {
    let (node, inside, netns) = pair();
    let mut wanted = pod("midoa", "46");
    for route in &mut wanted.routes {
        *route = KernelRoute {
            mtu: Some(1400),
            advmss: Some(1300),
            priority: Some(7),
            table: Some(1000),
            scope: Some(0),
            ..*route
        };
    }
    wanted
        .routes
        .push(KernelRoute { scope: Some(253), ..KernelRoute::new("10.9.0.0/16".parse().unwrap(), None) });
    wanted
        .routes
        .push(KernelRoute { table: Some(0), ..KernelRoute::new("fd09::/64".parse().unwrap(), None) });
    node.run(|| veth::create(Some(&netns), &wanted).and_then(|_| set_up("midoa"))).unwrap();
    assert_eq!(node.run(|| veth::check(Some(&netns), &wanted)).unwrap(), []);
    for (family, gateway) in [("-4", "10.244.1.1"), ("-6", "fd44:0:0:1::1")] {
        let routes = inside.ip(&format!("{family} route show table 1000"));
        let want = format!("default via {gateway} dev eth0 proto 109 metric 7 mtu 1400 advmss 1300");
        assert!(routes.contains(&want), "{routes}");
    }
    assert!(inside.ip("route").contains("10.9.0.0/16 dev eth0 proto 109 scope link"));
    assert!(inside.ip("-6 route").contains("fd09::/64 dev eth0 proto 109"));

    inside.ip(
        "route replace default via 10.244.1.1 dev eth0 metric 7 table 1000 mtu 1300 advmss 1300 proto 109",
    );
    let found = node.run(|| veth::check(Some(&netns), &wanted)).unwrap();
    let missing =
        "the route to 0.0.0.0/0 via 10.244.1.1 mtu 1400 advmss 1300 metric 7 table 1000 scope 0 on eth0";
    assert!(found.len() == 1 && found[0].to_string().contains(missing), "{found:?}");
    node.run(|| veth::repair(Some(&netns), &wanted)).unwrap();
    assert_eq!(node.run(|| veth::check(Some(&netns), &wanted)).unwrap(), []);
}

#[test]
fn the_nodes_own_pair() {
    let node = Namespace::new();
    let wanted = VethPair {
        ifname: "midokube-node".into(),
        host_ifname: "midokube-mido".into(),
        alias: "node node1".into(),
        addresses: texts(&["10.244.1.2/24", "fd44:0:0:1::2/64"]),
        gateways: texts(&["10.244.1.1", "fd44:0:0:1::1"]),
        routes: vec![
            KernelRoute::through("10.244.0.0/16".parse().unwrap(), "10.244.1.1".parse().unwrap()),
            KernelRoute::through("fd44::/48".parse().unwrap(), "fd44:0:0:1::1".parse().unwrap()),
        ],
        forwarding: Some(true),
        ..pod("", "")
    };
    node.run(|| veth::create(None, &wanted).and_then(|_| set_up("midokube-mido"))).unwrap();
    assert_eq!(node.run(|| veth::check(None, &wanted)).unwrap(), []);
    assert!(node.ip("-4 route").contains("10.244.0.0/16 via 10.244.1.1 dev midokube-node proto 109"));
    assert!(node.ip("-6 route").contains("fd44::/48 via fd44:0:0:1::1 dev midokube-node proto 109"));
    let forwards = node.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")).unwrap();
    assert_eq!(forwards.trim(), "1");
}

#[test]
fn a_failure_leaves_nothing() {
    let (node, inside, netns) = pair();
    // The name of the container side is taken.
    inside.ip("link add eth0 type veth peer name other");
    let error = node.run(|| veth::create(Some(&netns), &pod("midoa", "46"))).unwrap_err();
    assert!(error.is_exists() && error.to_string().contains("eth0"), "{error}");
    assert_eq!(node.run(|| link::find("midoa")).unwrap(), None);
    inside.ip("link del eth0");
    // The same address twice: the pair exists by then.
    let mut wanted = pod("midoa", "46");
    wanted.addresses.push(wanted.addresses[0]);
    let error = node.run(|| veth::create(Some(&netns), &wanted)).unwrap_err();
    assert!(error.to_string().contains("10.244.1.3/24"), "{error}");
    assert_eq!(node.run(|| link::find("midoa")).unwrap(), None);
    testkit::wait_until(Duration::from_secs(60), "the container side is deleted, too", || {
        !inside.ip("-br link").contains("eth0")
    });
    // And after all that it works.
    node.run(|| veth::create(Some(&netns), &pod("midoa", "46"))).unwrap();
}

#[test]
fn a_stale_host_side_is_replaced_only_if_that_is_wanted() {
    let (node, _inside, netns) = pair();
    node.ip("link add midoa type veth peer name other");
    let wanted = VethPair { replace_stale: false, ..pod("midoa", "4") };
    let error = node.run(|| veth::create(Some(&netns), &wanted)).unwrap_err();
    assert!(error.is_exists() && error.to_string().contains("midoa"), "{error}");
    node.run(|| veth::create(Some(&netns), &pod("midoa", "4"))).unwrap();
}

#[test]
fn every_difference_is_found() {
    let (node, inside, netns) = pair();
    let wanted = pod("midoa", "46");
    node.run(|| veth::create(Some(&netns), &wanted).and_then(|_| set_up("midoa"))).unwrap();
    let found = |want: &str| {
        let all = node
            .run(|| veth::check(Some(&netns), &wanted))
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert!(all.iter().any(|one| one.contains(want)), "{want} in {all:?}");
    };
    inside.ip("addr del 10.244.1.3/24 dev eth0");
    found("eth0 lacks the address 10.244.1.3/24");
    inside.ip("-6 route del default");
    found("the route to ::/0 via fd44:0:0:1::1 on eth0 is missing");
    inside.ip("link set eth0 mtu 1400");
    found("eth0 has an MTU of 1400, not 1430");
    inside.ip("link set eth0 address 02:00:00:00:00:04");
    found("eth0 has the MAC address 02:00:00:00:00:04");
    node.ip("link set midoa alias nobody");
    found("alias \"nobody\"");
    node.ip("link set midoa down");
    found("midoa is down");
    testkit::run(node.command("tc").args(["qdisc", "del", "dev", "midoa", "clsact"]));
    found("midoa is not in the datapath's block");
    inside.ip("link set eth0 down");
    inside.ip("link set eth0 name eth1");
    found("interface eth0 does not exist");
    node.ip("link del midoa");
    found("interface midoa does not exist");
}

/// What DEL does.
fn retire(netns: &NetNs) -> plumbing::Result<()> {
    let mut namespaces = Namespaces::open(Some(netns))?;
    let host_side = namespaces.host_link("midoa")?.unwrap();
    namespaces.retire(&host_side, Some("eth0"))
}

/// What the next ADD of the same Pod does, if it comes before the agent has deleted the retired pair.
fn free_name() -> plumbing::Result<()> {
    let mut namespaces = Namespaces::open(None)?;
    let host_side = namespaces.host_link("midoa")?.unwrap();
    assert_eq!((host_side.group, host_side.up), (link::RETIRED_GROUP, false));
    namespaces.retire_and_rename(&host_side)
}

#[test]
fn a_retired_pair_is_out_of_use_at_once_and_deleted_later() {
    let (node, inside, netns) = pair();
    for _ in 0..3 {
        node.run(|| veth::create(Some(&netns), &pod("midoa", "46")).and_then(|_| set_up("midoa"))).unwrap();
        node.run(|| retire(&netns)).unwrap();
        assert!(!inside.ip("-br link").contains("eth0"));
        node.run(free_name).unwrap();
        assert_eq!(node.run(|| link::find("midoa")).unwrap(), None);
    }
    let retired = || node.run(link::list).unwrap().iter().filter(|link| link.is_retired()).count();
    assert_eq!(retired(), 3);
    assert!(node.run(link::list).unwrap().iter().all(|link| !link.up || link.name == "lo"));
    assert_eq!(node.run(|| delete_retired(2)).unwrap(), 2);
    assert_eq!(retired(), 1);
    assert_eq!(node.run(|| delete_retired(2)).unwrap(), 1);
    assert_eq!(node.run(|| delete_retired(2)).unwrap(), 0);
    assert_eq!(inside.ip("-br link").lines().count(), 1, "only the loopback device is left");
}

#[test]
fn many_at_once() {
    let node = Namespace::new();
    std::thread::scope(|scope| {
        for i in 0..20 {
            let node = &node;
            scope.spawn(move || {
                let inside = Namespace::new();
                let netns = NetNs::open(inside.path()).unwrap();
                let name = format!("mido{i}");
                let wanted = pod(&name, "46");
                node.run(|| veth::create(Some(&netns), &wanted).and_then(|_| set_up(&name))).unwrap();
                assert_eq!(node.run(|| veth::check(Some(&netns), &wanted)).unwrap(), []);
            });
        }
    });
}

#[test]
fn a_namespace_is_opened_only_if_it_is_one() {
    for (path, want) in [
        ("/nowhere/net", "No such file"),
        ("/proc/self/ns/mnt", "no network namespace"),
        ("/etc/passwd", "no network namespace"),
    ] {
        let error = NetNs::open(path.as_ref()).unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(want), "{error}");
    }
    let namespace = Namespace::new();
    let opened = NetNs::open(namespace.path()).unwrap();
    assert_eq!(opened.identity().unwrap(), namespace.run(|| NetNs::current().unwrap().identity().unwrap()));
    assert_ne!(opened.identity().unwrap(), NetNs::current().unwrap().identity().unwrap());
}
