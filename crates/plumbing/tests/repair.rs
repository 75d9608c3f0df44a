//! Hearing of what others do to a pair, and putting it right in place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use plumbing::nft::{self, Masquerade};
use plumbing::{Attachment, Monitor, NetNs, Part, Route, attach, check, find, repair, set_up, tc};
use testkit::Namespace;

fn pair(netns: &NetNs) -> Attachment<'_> {
    Attachment {
        netns: Some(netns),
        inner: "eth0".into(),
        inner_mac: [2, 0, 0, 0, 0, 3],
        outer: "midoa".into(),
        outer_mac: [2, 0, 0, 0, 0, 1],
        alias: "whose".into(),
        mtu: 1430,
        addresses: ["10.244.1.3/24", "fd44::3/64"].map(|text| text.parse().unwrap()).to_vec(),
        gateways: ["10.244.1.1", "fd44::1"].map(|text| text.parse().unwrap()).to_vec(),
        routes: [("0.0.0.0/0", "10.244.1.1"), ("::/0", "fd44::1")]
            .map(|(dst, via)| Route::through(dst.parse().unwrap(), via.parse().unwrap()))
            .to_vec(),
        forwarding: None,
        replace_stale: false,
    }
}

#[test]
fn each_part_is_named_and_put_right_in_place() {
    let (node, inside) = (Namespace::new(), Namespace::new());
    let netns = NetNs::open(inside.path()).unwrap();
    let pair = pair(&netns);
    let made = node.run(|| attach(&pair)).unwrap();
    node.run(|| set_up("midoa")).unwrap();
    for (place, words, part) in [
        (&inside, "addr del 10.244.1.3/24 dev eth0", Part::Address),
        (&inside, "-6 addr del fd44::3/64 dev eth0", Part::Address),
        (&inside, "route del default", Part::Route),
        (&inside, "route replace default dev lo", Part::Route),
        (&inside, "link set eth0 down", Part::Setting),
        (&inside, "link set eth0 mtu 1400", Part::SmallerMtu),
        (&node, "link set midoa down", Part::Setting),
        (&node, "link set midoa address 02:00:00:00:00:09", Part::Setting),
        (&node, "link set midoa alias other", Part::Setting),
    ] {
        place.ip(words);
        let found = node.run(|| check(&pair)).unwrap();
        assert!(found.iter().any(|difference| difference.part == part), "{words}: {found:?}");
        node.run(|| repair(&pair)).unwrap();
        assert_eq!(node.run(|| check(&pair)).unwrap(), [], "{words}");
    }
    for setting in ["disable_ipv6", "accept_dad", "accept_ra"] {
        let path = format!("/proc/sys/net/ipv6/conf/eth0/{setting}");
        inside.run(|| std::fs::write(&path, "1")).unwrap();
        let found = node.run(|| check(&pair)).unwrap();
        assert!(found.iter().any(|difference| difference.to_string().contains(setting)), "{found:?}");
        node.run(|| repair(&pair)).unwrap();
        assert_eq!(node.run(|| check(&pair)).unwrap(), [], "{setting}");
    }
    testkit::run(node.command("tc").args(["qdisc", "del", "dev", "midoa", "clsact"]));
    let in_block = || {
        let listed = node.run(tc::block_members).unwrap().contains(&made.outer_ifindex);
        assert_eq!(node.run(|| tc::in_block(made.outer_ifindex)).unwrap(), listed);
        listed
    };
    assert!(!in_block());
    node.run(|| repair(&pair)).unwrap();
    assert!(in_block());
    // Somebody's own in its place, none at all, and no interface.
    testkit::run(node.command("tc").args(["qdisc", "del", "dev", "midoa", "clsact"]));
    testkit::run(node.command("tc").args(["qdisc", "add", "dev", "midoa", "clsact"]));
    assert!(!in_block());
    node.run(|| repair(&pair)).unwrap();
    assert!(in_block());
    for other in [1, 999_999] {
        assert!(!node.run(|| tc::in_block(other)).unwrap());
    }
    assert_eq!(node.run(|| find(&pair)).unwrap(), made, "the pair was made anew");
    node.ip("link del midoa");
    assert!(node.run(|| repair(&pair)).unwrap_err().to_string().contains("midoa"));
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
fn a_change_of_a_link_is_told_from_others_and_a_look_is_no_change() {
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
    // Each look at the qdisc may be told to all who listen to changes: it must not be the reason for the next look.
    let index = node.run(|| plumbing::find_port("midoa")).unwrap().unwrap().ifindex;
    for _ in 0..5 {
        assert!(!node.run(|| tc::in_block(index)).unwrap());
        let _programs =
            node.run(|| (tc::block_members().unwrap(), tc::ingress_program(index, "none").unwrap()));
    }
    assert!(!heard(500).any);
}

#[test]
fn a_changed_table_is_told_from_one_that_only_counted() {
    let node = Namespace::new();
    let look = || node.run(nft::look).unwrap();
    assert_eq!(look(), None);
    let ours = Masquerade { pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()], inside: "midob".into() };
    node.run(|| ours.apply()).unwrap();
    let made = look();
    assert!(made.is_some());
    node.run(|| ours.apply()).unwrap();
    assert_eq!(look(), made, "other handles are no difference");
    let nft = |words: &str| testkit::run(node.command("nft").arg(words));
    // A packet that the rule counts.
    node.ip("link add midoa type veth peer name midob");
    node.ip("addr add 10.244.1.9/24 dev midoa");
    node.ip("link set midoa up");
    node.ip("link set midob up");
    node.ip("neigh add 10.244.1.8 lladdr 02:00:00:00:00:08 dev midoa");
    let _lost = node.command("ping").args(["-c1", "-W1", "10.244.1.8"]).output().unwrap();
    assert!(!nft("list table inet midonet-kube").contains("packets 0"));
    assert_eq!(look(), made);
    nft("add rule inet midonet-kube postrouting accept");
    assert_ne!(look(), made);
}
