//! Notifications of changes, and repairs of a pair in place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use plumbing::link::set_up;
use plumbing::nft::{self, Elements, Rules};
use plumbing::veth::{self, DifferenceKind as Kind, HostSide, VethPair};
use plumbing::{KernelRoute, Monitor, NetNs, tc};
use testkit::Namespace;

fn pair() -> VethPair {
    VethPair {
        ifname: "eth0".into(),
        mac: [2, 0, 0, 0, 0, 3],
        host_ifname: "midoa".into(),
        host_mac: [2, 0, 0, 0, 0, 1],
        alias: "whose".into(),
        mtu: 1430,
        addresses: ["10.244.1.3/24", "fd44::3/64"].map(|text| text.parse().unwrap()).to_vec(),
        gateways: ["10.244.1.1", "fd44::1"].map(|text| text.parse().unwrap()).to_vec(),
        routes: [("0.0.0.0/0", "10.244.1.1"), ("::/0", "fd44::1")]
            .map(|(dst, via)| KernelRoute::through(dst.parse().unwrap(), via.parse().unwrap()))
            .to_vec(),
        forwarding: None,
        replace_stale: false,
        in_block: true,
    }
}

#[test]
fn each_difference_is_named_and_repaired_in_place() {
    let (node, inside) = (Namespace::new(), Namespace::new());
    let netns = NetNs::open(inside.path()).unwrap();
    let pair = pair();
    let made = node.run(|| veth::create(Some(&netns), &pair)).unwrap();
    node.run(|| set_up("midoa")).unwrap();
    for (place, words, kind) in [
        (&inside, "addr del 10.244.1.3/24 dev eth0", Kind::Address),
        (&inside, "-6 addr del fd44::3/64 dev eth0", Kind::Address),
        (&inside, "route del default", Kind::Route),
        (&inside, "route replace default dev lo", Kind::Route),
        (&inside, "link set eth0 down", Kind::Setting),
        (&inside, "link set eth0 mtu 1400", Kind::SmallerMtu),
        (&node, "link set midoa down", Kind::Setting),
        (&node, "link set midoa address 02:00:00:00:00:09", Kind::Setting),
        (&node, "link set midoa alias other", Kind::Setting),
    ] {
        place.ip(words);
        let found = node.run(|| veth::check(Some(&netns), &pair)).unwrap();
        assert!(found.iter().any(|difference| difference.kind == kind), "{words}: {found:?}");
        node.run(|| veth::repair(Some(&netns), &pair)).unwrap();
        assert_eq!(node.run(|| veth::check(Some(&netns), &pair)).unwrap(), [], "{words}");
    }
    for setting in ["disable_ipv6", "accept_dad", "accept_ra"] {
        let path = format!("/proc/sys/net/ipv6/conf/eth0/{setting}");
        inside.run(|| std::fs::write(&path, "1")).unwrap();
        let found = node.run(|| veth::check(Some(&netns), &pair)).unwrap();
        assert!(found.iter().any(|difference| difference.to_string().contains(setting)), "{found:?}");
        node.run(|| veth::repair(Some(&netns), &pair)).unwrap();
        assert_eq!(node.run(|| veth::check(Some(&netns), &pair)).unwrap(), [], "{setting}");
    }
    testkit::run(node.command("tc").args(["qdisc", "del", "dev", "midoa", "clsact"]));
    let in_block = || {
        let listed = node.run(tc::block_members).unwrap().contains(&made.host_ifindex);
        assert_eq!(node.run(|| tc::in_block(made.host_ifindex)).unwrap(), listed);
        listed
    };
    assert!(!in_block());
    node.run(|| veth::repair(Some(&netns), &pair)).unwrap();
    assert!(in_block());
    // Somebody's own in its place, none at all, and no interface.
    testkit::run(node.command("tc").args(["qdisc", "del", "dev", "midoa", "clsact"]));
    testkit::run(node.command("tc").args(["qdisc", "add", "dev", "midoa", "clsact"]));
    assert!(!in_block());
    node.run(|| veth::repair(Some(&netns), &pair)).unwrap();
    assert!(in_block());
    for other in [1, 999_999] {
        assert!(!node.run(|| tc::in_block(other)).unwrap());
    }
    assert_eq!(node.run(|| veth::find(Some(&netns), &pair)).unwrap(), made, "the pair was made anew");
    node.ip("link del midoa");
    assert!(node.run(|| veth::repair(Some(&netns), &pair)).unwrap_err().to_string().contains("midoa"));
}

#[test]
fn a_pair_outside_the_block_is_kept_out_of_it_and_in_its_bridge() {
    let (node, inside) = (Namespace::new(), Namespace::new());
    let netns = NetNs::open(inside.path()).unwrap();
    let pair = VethPair { in_block: false, ..pair() };
    let made = node.run(|| veth::create(Some(&netns), &pair)).unwrap();
    node.run(|| set_up("midoa")).unwrap();
    assert_eq!(node.run(|| veth::check(Some(&netns), &pair)).unwrap(), []);
    node.ip("link add br0 type bridge");
    node.ip("link set midoa master br0");
    node.ip("link set midoa down");
    node.run(|| veth::repair(Some(&netns), &pair)).unwrap();
    let wanted = |in_block| HostSide {
        ifindex: made.host_ifindex,
        name: "midoa".into(),
        mac: [2, 0, 0, 0, 0, 1],
        alias: None,
        in_block,
    };
    let master = || node.run(|| plumbing::link::find("midoa")).unwrap().unwrap().master;
    let in_block = || node.run(|| tc::in_block(made.host_ifindex)).unwrap();
    node.run(|| veth::repair_host_side(&wanted(false))).unwrap();
    assert!(master() != 0 && !in_block());
    node.run(|| veth::repair_host_side(&wanted(true))).unwrap();
    assert!(master() == 0 && in_block());
    // A block without a program has none to be taken out.
    assert!(!node.run(|| tc::clear_block(tc::INGRESS_BLOCK)).unwrap());
}

#[test]
fn every_kind_of_change_is_heard() {
    let node = Namespace::new();
    node.ip("link add midoa type veth peer name midob");
    node.ip("link set midoa up");
    let monitor = node.run(Monitor::here).unwrap();
    let heard = |deadline| monitor.wait(Duration::from_millis(deadline)).unwrap();
    while heard(100).any {}
    for (program, words) in [
        ("ip", "link set midob up"),
        ("ip", "addr add 192.0.2.1/24 dev midoa"),
        ("ip", "-6 addr add 2001:db8::1/64 dev midoa nodad"),
        ("ip", "route add 198.51.100.0/24 dev midoa"),
        ("ip", "-6 route add 2001:db8:1::/64 dev midoa"),
        ("tc", "qdisc add dev midoa clsact"),
        ("nft", "add table inet other"),
        ("ip", "rule add pref 7009 to 198.51.100.0/24 lookup 7009"),
        ("ip", "-6 rule add pref 7009 to 2001:db8:1::/64 lookup 7009"),
        (
            "ip",
            "xfrm policy add src 192.0.2.7 dst 192.0.2.8 dir out tmpl src 192.0.2.7 dst 192.0.2.8 proto esp",
        ),
        ("sysctl", "-qw net.ipv4.ip_forward=1"),
        ("sysctl", "-qw net.ipv4.conf.midoa.forwarding=0"),
        ("sysctl", "-qw net.ipv4.conf.midoa.rp_filter=1"),
        ("sysctl", "-qw net.ipv6.conf.all.forwarding=1"),
        ("sysctl", "-qw net.ipv6.conf.midoa.forwarding=0"),
    ] {
        testkit::run(node.command(program).args(words.split(' ')));
        assert!(heard(60_000).any, "{program} {words}");
        while heard(100).any {}
    }
}

#[test]
fn a_change_of_a_link_is_told_from_others_and_a_request_is_no_change() {
    let node = Namespace::new();
    node.ip("link add midoa type veth peer name midob");
    node.ip("link set midoa up");
    testkit::run(node.command("tc").args("qdisc add dev midoa clsact".split(' ')));
    let monitor = node.run(Monitor::here).unwrap();
    let heard = |deadline| monitor.wait(Duration::from_millis(deadline)).unwrap();
    while heard(100).any {}
    node.ip("route add 198.51.100.0/24 dev midoa");
    let told = heard(60_000);
    assert!(told.any && !told.links);
    while heard(100).any {}
    node.ip("link set midoa group 7021");
    assert!(heard(60_000).links);
    while heard(100).any {}
    // Each request for a qdisc may be answered by a notification to all listeners: it must not cause the next
    // request.
    let index = node.run(|| plumbing::link::find("midoa")).unwrap().unwrap().ifindex;
    for _ in 0..5 {
        assert!(!node.run(|| tc::in_block(index)).unwrap());
        let _programs = node.run(|| {
            (
                tc::block_members().unwrap(),
                tc::attached_program(tc::Direction::Ingress, index, "none").unwrap(),
            )
        });
    }
    assert!(!heard(500).any);
}

#[test]
fn a_changed_table_is_told_from_one_that_only_counted() {
    let node = Namespace::new();
    let find = || node.run(nft::find).unwrap();
    assert_eq!(find(), None);
    let ours = Rules {
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        inside: "midob".into(),
        source_ports: 32768..=60999,
        services: None,
    };
    node.run(|| ours.apply(&Elements::new())).unwrap();
    let made = find();
    assert!(made.is_some());
    node.run(|| ours.apply(&Elements::new())).unwrap();
    assert_eq!(find(), made, "other handles are no difference");
    let nft = |words: &str| testkit::run(node.command("nft").arg(words));
    // A packet that the rule counts.
    node.ip("link add midoa type veth peer name midob");
    node.ip("addr add 10.244.1.9/24 dev midoa");
    node.ip("link set midoa up");
    node.ip("link set midob up");
    node.ip("neigh add 10.244.1.8 lladdr 02:00:00:00:00:08 dev midoa");
    let _lost = node.command("ping").args(["-c1", "-W1", "10.244.1.8"]).output().unwrap();
    assert!(!nft("list table inet midonet-kube").contains("packets 0"));
    assert_eq!(find(), made);
    nft("add rule inet midonet-kube postrouting accept");
    assert_ne!(find(), made);
}
