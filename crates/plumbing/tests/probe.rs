//! What keeps Pods' packets from where they should go is found in the kernel and named, whoever set it; and a node
//! where nothing is wrong has no faults, whatever rules and routes it has.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use plumbing::Family;
use plumbing::probe::{Fault, KINDS, Probe, Question, filters_tunnels, overlaps, wrong_settings};
use testkit::Namespace;

/// A node with an uplink, and the interface towards Pods.
fn node() -> Namespace {
    let node = Namespace::new();
    node.sh("ip link add eth0 type veth peer name wire && ip link set eth0 up && ip link set wire up && \
         echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad && \
         ip addr add 172.30.0.11/24 dev eth0 && ip addr add fd30::11/64 dev eth0 nodad && \
         ip link add midokube-node type veth peer name omidokube- && ip link set omidokube- up && ip link set midokube-node up && \
         ip addr add 10.244.1.2/24 dev midokube-node noprefixroute && \
         ip addr add fd44:0:0:1::2/64 dev midokube-node nodad noprefixroute && \
         ip route add 10.244.1.1 dev midokube-node && ip -6 route add fd44:0:0:1::1 dev midokube-node && \
         ip route add default via 172.30.0.1 && ip -6 route add default via fd30::1 && \
         for c in 10.244.0.0/16 10.96.0.0/12; do ip route add $c via 10.244.1.1; done && \
         for c in fd44::/48 fd96::/108; do ip -6 route add $c via fd44:0:0:1::1; done && \
         sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 \
            net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.midokube-node.rp_filter=0 net.ipv6.conf.eth0.accept_ra=0",
    );
    node
}

fn nets<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn question() -> Question {
    Question {
        inside: "midokube-node".into(),
        cluster_cidrs: nets(&["10.244.0.0/16", "fd44::/48"]),
        service_cidrs: nets(&["10.96.0.0/12", "fd96::/108"]),
        node_addresses: nets(&["10.244.1.2/24", "fd44:0:0:1::2/64"]),
        tunnel_address: "172.30.0.11".parse().unwrap(),
        tunnel_port: 4789,
        direct: true,
        peers: vec![("node2".into(), "172.30.0.12".parse().unwrap())],
    }
}

fn faults(node: &Namespace, question: &Question) -> Vec<Fault> {
    let faults = node.run(|| Probe::default().faults(question)).unwrap();
    assert!(faults.iter().all(|fault| KINDS.contains(&fault.what)), "{faults:?}");
    faults
}

/// One thing that is wrong: its kind and words of what is said of it.
type Wrong<'a> = (&'a str, &'a [&'a str]);

/// Breaks the node, sees that exactly these faults are named, mends it, and sees that none is left.
fn breaks(node: &Namespace, question: &Question, break_it: &str, mend: &str, wrong: &[Wrong<'_>]) {
    assert_eq!(faults(node, question), [], "before {break_it}");
    node.sh(break_it);
    let found = faults(node, question);
    for (what, words) in wrong {
        let told =
            |fault: &&Fault| fault.what == *what && words.iter().all(|word| fault.to_string().contains(word));
        assert!(found.iter().any(|fault| told(&fault)), "{break_it}: {what} {words:?} in {found:#?}");
    }
    assert_eq!(found.len(), wrong.len(), "{break_it}: {found:#?}");
    node.sh(mend);
    assert_eq!(faults(node, question), [], "after {mend}");
}

/// Writes what is said to be right to the settings that are wrong: these.
fn put_right(node: &Namespace, settings: &[&str]) {
    let wrong = || {
        let both = [Family::V4, Family::V6];
        wrong_settings("midokube-node", question().tunnel_address, &both).unwrap()
    };
    let found = node.run(wrong);
    let names: Vec<&str> = found.iter().map(|wrong| wrong.setting.as_str()).collect();
    assert_eq!(names, settings);
    for wrong in &found {
        node.run(|| plumbing::sysctl::set(&wrong.setting, wrong.value)).unwrap();
    }
    assert_eq!(node.run(wrong), []);
}

const FLUSH: &str = "nft flush ruleset";

#[test]
fn chains_that_drop_are_named_with_the_command_that_accepts() {
    let node = node();
    let (direct, device) = (question(), Question { direct: false, ..question() });
    let drop_at = |family: &str, hook: &str, policy: &str, rules: &str| {
        format!(
            "nft 'table {family} fw {{ chain c {{ type filter hook {hook} priority 0; policy {policy}; {rules} }}; }}'"
        )
    };
    for family in ["ip", "ip6", "inet"] {
        let chain = format!("nftables chain {family} fw c");
        let insert = format!("nft insert rule {family} fw c");
        for (policy, rules) in [
            ("drop", ""),
            ("drop", "ct state established,related oifname docker0 accept; iifname docker0 accept;"),
            ("accept", "iifname { docker0, br0 } accept; counter drop;"),
            ("accept", "meta mark and 0x4000 == 0x4000 accept; counter reject;"),
            (
                "accept",
                "meta l4proto { tcp, udp } ip saddr 10.0.0.0/8 drop; ip6 saddr fd44::/16 drop; ct state established drop;",
            ),
        ] {
            if family != "inet" && rules.contains("saddr") {
                continue;
            }
            let words: &[&str] = &[
                &chain,
                "packets of Pods to the outside",
                "answers from the outside",
                "packets of Pods to Services",
                &format!("{insert} iifname midokube-node accept"),
                &format!("{insert} oifname midokube-node ct state established,related accept"),
            ];
            let line = drop_at(family, "forward", policy, rules);
            breaks(&node, &direct, &line, FLUSH, &[("forward_dropped", words)]);
        }
        let line = drop_at(
            family,
            "input",
            "drop",
            "ct state established,related accept; iifname lo accept; tcp dport 22 accept;",
        );
        let words: &[&str] =
            &[&chain, "packets of Pods to their own node", &format!("{insert} iifname midokube-node accept")];
        let mut wrong: Vec<Wrong<'_>> = vec![("input_dropped", words)];
        let tunnel: &[&str] =
            &[&chain, "tunnels from other nodes", &format!("{insert} udp dport 4789 accept")];
        if family != "ip6" {
            wrong.push(("tunnel_dropped", tunnel));
        }
        breaks(&node, &device, &line, FLUSH, &wrong);
        let past: &[&str] = &[&chain, "--encapsulation"];
        if family != "ip6" {
            wrong.pop();
            wrong.push(("tunnel_past_firewall", past));
        }
        breaks(&node, &direct, &line, FLUSH, &wrong);
    }
    let line = drop_at("inet", "output", "drop", "ct state established,related accept; oifname lo accept;");
    breaks(&node, &device, &line, FLUSH, &[("tunnel_dropped", &["tunnels to other nodes"])]);
}

/// The table of a firewall's own tool is told in that tool's words.
#[test]
fn the_remedy_is_a_command_of_whoever_made_the_rules() {
    let node = node();
    for (rules, remedy) in [
        (
            "table ip filter { chain DOCKER-USER { return; }; chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }; }",
            "iptables -I DOCKER-USER -i midokube-node -j ACCEPT",
        ),
        (
            "table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }",
            "ip6tables -I FORWARD -i midokube-node -j ACCEPT",
        ),
        (
            "table ip filter { chain ufw-user-forward { }; chain FORWARD { type filter hook forward priority 0; policy drop; jump ufw-user-forward; }; }",
            "ufw route allow in on midokube-node",
        ),
        (
            "table inet firewalld { \
               chain filter_FWD_public { reject with icmpx type admin-prohibited; }; \
               chain filter_FORWARD_ZONES { iifname eth0 goto filter_FWD_public; goto filter_FWD_public; }; \
               chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; \
                 ct state { established, related } accept; ct status dnat accept; iifname lo accept; \
                 ct state { invalid } drop; jump filter_FORWARD_ZONES; reject with icmpx type admin-prohibited; }; }",
            "firewall-cmd --permanent --zone=trusted --add-interface=midokube-node",
        ),
    ] {
        let wrong: &[Wrong<'_>] = &[("forward_dropped", &["packets of Pods to the outside", remedy])];
        breaks(&node, &question(), &format!("nft '{rules}'"), FLUSH, wrong);
    }
}

/// The same rules made without nf_tables.
#[test]
fn rules_of_the_former_iptables_are_read_too() {
    let node = node();
    let device = Question { direct: false, ..question() };
    for (iptables, pods) in [("iptables-legacy", "10.244.0.0/16"), ("ip6tables-legacy", "fd44::/48")] {
        let sh = |lines: &[&str]| {
            lines.iter().for_each(|line| drop(node.sh(&format!("{iptables} {line}"))));
        };
        assert_eq!(faults(&node, &device), [], "before {iptables}");
        sh(&[
            "-P FORWARD DROP",
            "-A FORWARD -i docker0 -j ACCEPT",
            "-A FORWARD ! -o eth+ -m conntrack --ctstate INVALID -j ACCEPT",
        ]);
        let found = faults(&node, &device);
        let [fault] = found.as_slice() else { panic!("{iptables}: {found:#?}") };
        let said = fault.to_string();
        for word in [
            &format!("chain FORWARD of {iptables}"),
            "by its policy",
            "packets of Pods to the outside",
            &format!("{iptables} -I FORWARD -i midokube-node -j ACCEPT"),
            &format!(
                "{iptables} -I FORWARD -o midokube-node -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            ),
        ] {
            assert!(said.contains(word), "{word} in {said}");
        }
        let (from, to) =
            (format!("-A FORWARD -s {pods} -j ACCEPT"), format!("-A FORWARD -d {pods} -j ACCEPT"));
        let answers = "-I FORWARD -o midokube-node -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
        let by_chain = "-A PODS -o mido+ -j RETURN";
        for accept in [
            vec!["-I FORWARD -i midokube-node -j ACCEPT", answers],
            vec![from.as_str(), to.as_str()],
            vec![
                "-N PODS",
                "-A PODS -i mido+ -j ACCEPT",
                by_chain,
                "-A FORWARD -j PODS",
                "-A FORWARD ! -o docker0 -j ACCEPT",
            ],
            vec!["-N GO", "-A GO -j ACCEPT", "-A FORWARD -p tcp -g GO"],
        ] {
            sh(&accept);
            assert_eq!(faults(&node, &device), [], "{iptables} {accept:?}");
            sh(&["-F FORWARD"]);
            assert_eq!(faults(&node, &device).len(), 1, "{iptables} -F FORWARD");
        }
        sh(&[
            "-P FORWARD ACCEPT",
            "-A INPUT -p tcp --dport 22 -j ACCEPT",
            "-A INPUT -i lo -j ACCEPT",
            "-A INPUT -p tcp -j REJECT",
        ]);
        let found = faults(&node, &device);
        let words = ["packets of Pods to their own node", "by one of its rules"];
        assert!(
            found.len() == 1
                && found.iter().all(|fault| words.iter().all(|word| fault.to_string().contains(word))),
            "{found:#?}"
        );
        sh(&["-F INPUT"]);
    }
}

#[test]
fn rules_that_accept_pods_raise_no_alarm() {
    let node = node();
    let device = Question { direct: false, ..question() };
    for rules in [
        "iifname midokube-node accept; oifname midokube-node ct state established,related accept;",
        "iifname midokube-node accept; oifname midokube-node accept; ct state invalid drop; udp dport != 4789 drop;",
        "iifname \"mido*\" accept; ct state vmap { established : accept, related : accept, invalid : drop };",
        "iifname { lo, midokube-node } accept; ct state { established, related } accept;",
        "ip saddr 10.244.0.0/16 accept; ip6 saddr fd44::/48 accept; ct state established accept;",
        "ip saddr { 10.244.0.0/16, 10.96.0.0/12 } accept; ip6 saddr { fd44::/48 } accept; ct state established accept;",
        "iifname vmap { midokube-node : jump pods, eth0 : jump world };",
        // What is not known may accept them.
        "meta cgroup 7 accept;",
        "fib saddr type unicast accept;",
    ] {
        for (hook, policy) in [("forward", "drop"), ("forward", "accept"), ("input", "drop")] {
            let tail = if policy == "accept" { "counter reject;" } else { "udp dport 4789 accept;" };
            let line = format!(
                "nft 'table inet fw {{ chain pods {{ accept; }}; chain world {{ ct state established accept; }}; \
                 chain c {{ type filter hook {hook} priority 0; policy {policy}; {rules} {tail} }}; }}'"
            );
            node.sh(&line);
            assert_eq!(faults(&node, &device), [], "{line}");
            node.sh(FLUSH);
        }
    }
}

/// The rules that Docker, kube-proxy and this agent have when all is well.
#[test]
fn the_usual_tables_of_a_node_raise_no_alarm() {
    let node = node();
    let device = Question { direct: false, ..question() };
    for line in [
        "iptables -N KUBE-FORWARD && iptables -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD && \
         iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP && \
         iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT && \
         iptables -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && \
         iptables -N KUBE-FIREWALL && iptables -A INPUT -j KUBE-FIREWALL && \
         iptables -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP && \
         iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "nft 'table ip kube-proxy { \
           map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }; \
           chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }; \
           chain reject-chain { reject; }; chain cluster-ips-check { ip daddr 10.96.0.0/12 reject; }; \
           chain filter-forward { type filter hook forward priority -110; policy accept; ct state new jump firewall-check; \
             ct state new jump cluster-ips-check; }; \
           chain filter-input { type filter hook input priority -110; policy accept; ct state new jump firewall-check; }; }'",
        "iptables -P FORWARD DROP && iptables -N DOCKER-USER && iptables -A FORWARD -j DOCKER-USER && \
         iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT && \
         iptables -A DOCKER-USER -i midokube-node -j ACCEPT && \
         iptables -A DOCKER-USER -o midokube-node -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ] {
        node.sh(&line.replace("iptables ", "iptables-nft "));
        assert_eq!(faults(&node, &device), [], "{line}");
    }
    node.sh("iptables-nft -D DOCKER-USER -i midokube-node -j ACCEPT");
    let found = faults(&node, &device);
    assert!(
        found.iter().any(|fault| fault.what == "forward_dropped"),
        "kube-proxy's rules hide nothing: {found:#?}"
    );
}

/// What a packet of the kernel's own tells: where the probe says "dropped" it is dropped.
#[test]
fn what_is_said_of_tunnels_is_what_happens_to_packets() {
    for (rules, restricts) in [
        ("policy accept;", false),
        ("policy accept; udp dport 4789 accept;", false),
        ("policy accept; tcp dport 22 drop;", false),
        ("policy accept; udp dport 4789 ip saddr != 172.30.0.0/24 drop;", true),
        ("policy drop; udp dport 4789 accept;", true),
        ("policy accept; ct state established accept; reject;", true),
    ] {
        let node = node();
        node.sh(&format!(
            "nft 'table inet fw {{ chain c {{ type filter hook input priority 0; {rules} }}; }}'"
        ));
        let said = node.run(|| filters_tunnels("172.30.0.11".parse().unwrap(), 4789, "eth0")).unwrap();
        assert_eq!(said.is_some(), restricts, "{rules}: {said:?}");
        let other = node.run(|| filters_tunnels("fd30::11".parse().unwrap(), 4789, "eth0")).unwrap();
        assert_eq!(other.is_some(), restricts, "{rules}: {other:?}");
    }
}

#[test]
fn routes_that_lead_pods_addresses_elsewhere_are_named() {
    let node = node();
    let other = "ip link add tailscale0 type veth peer name otailscale && ip link set otailscale up && ip link set tailscale0 up";
    node.sh(other);
    for (break_it, mend, object, words) in [
        (
            "ip route add blackhole 10.244.7.0/26",
            "ip route del blackhole 10.244.7.0/26",
            "10.244.7.0/26",
            ["blackhole", "ip route del blackhole 10.244.7.0/26"],
        ),
        (
            "ip -6 route add unreachable fd44:0:0:7::/64",
            "ip -6 route del unreachable fd44:0:0:7::/64",
            "fd44:0:0:7::/64",
            ["unreachable", "ip -6 route del unreachable fd44:0:0:7::/64"],
        ),
        (
            "ip route add 10.244.9.0/24 dev eth0",
            "ip route del 10.244.9.0/24 dev eth0",
            "10.244.9.0/24",
            ["leads out of eth0", "ip route del 10.244.9.0/24"],
        ),
        (
            "ip -6 route add fd44:0:0:9::/64 dev eth0",
            "ip -6 route del fd44:0:0:9::/64 dev eth0",
            "fd44:0:0:9::/64",
            ["leads out of eth0", "ip -6 route del fd44:0:0:9::/64"],
        ),
        (
            "ip route add 10.96.0.0/16 dev eth0",
            "ip route del 10.96.0.0/16 dev eth0",
            "10.96.0.0/16",
            ["leads out of eth0", "Services"],
        ),
        (
            "ip route add default dev tailscale0 table 52 && ip rule add lookup 52 priority 5270",
            "ip rule del lookup 52 && ip route flush table 52",
            "in table 52",
            ["tailscale0", "ip rule add to"],
        ),
        (
            "ip -6 route add fd44::/47 dev tailscale0 table 52 && ip -6 rule add lookup 52 priority 5270",
            "ip -6 rule del lookup 52 && ip -6 route flush table 52",
            "in table 52",
            ["tailscale0", "ip -6 rule add to"],
        ),
    ] {
        assert_eq!(faults(&node, &question()), [], "before {break_it}");
        node.sh(break_it);
        let found = faults(&node, &question());
        let told = |fault: &Fault| {
            fault.what == "foreign_route"
                && fault.object.contains(object)
                && words.iter().all(|word| fault.to_string().contains(word))
        };
        assert!(found.iter().any(told), "{break_it}: {found:#?}");
        assert!(
            found.iter().all(|fault| matches!(fault.what, "foreign_route" | "peer_route")),
            "{break_it}: {found:#?}"
        );
        node.sh(mend);
        assert_eq!(faults(&node, &question()), [], "after {mend}");
    }
    // Table 52 with the networks of others harms nobody.
    node.sh("ip route add 100.64.0.0/10 dev tailscale0 table 52 && ip rule add lookup 52 priority 5270");
    // Nor does a table that no rule leads to.
    node.sh("ip route add 10.244.3.0/24 dev tailscale0 table 77");
    assert_eq!(faults(&node, &question()), []);
}

#[test]
fn other_nodes_that_are_not_reached_are_named() {
    let node = node();
    for (name, address, break_it, mend) in [
        ("node2", "172.30.0.12", "ip route add blackhole 172.30.0.12", "ip route del blackhole 172.30.0.12"),
        ("node3", "fd30::12", "ip -6 route add unreachable fd30::12", "ip -6 route del unreachable fd30::12"),
    ] {
        let question = Question { peers: vec![(name.into(), address.parse().unwrap())], ..question() };
        breaks(&node, &question, break_it, mend, &[("peer_route", &[name, address, "route get"])]);
    }
}

#[test]
fn settings_that_stop_packets_are_named_and_can_be_put_right() {
    let node = node();
    // What has learned nothing from router advertisements loses nothing.
    node.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=1");
    assert_eq!(faults(&node, &question()), []);
    node.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=2 && ip -6 route add 2001:db8:7::/64 dev eth0 proto ra");
    for (break_it, what, path) in [
        ("net.ipv4.conf.eth0.forwarding=0", "forwarding", "ipv4/conf/eth0/forwarding"),
        ("net.ipv4.conf.midokube-node.forwarding=0", "forwarding", "ipv4/conf/midokube-node/forwarding"),
        ("net.ipv6.conf.eth0.accept_ra=1", "accept_ra", "ipv6/conf/eth0/accept_ra"),
    ] {
        node.sh(&format!("sysctl -qw {break_it}"));
        let found = faults(&node, &question());
        let [fault] = found.as_slice() else { panic!("{break_it}: {found:#?}") };
        let setting = path.replace('/', ".");
        assert!(fault.what == what && fault.remedy.contains(&format!("sysctl -w net.{setting}=")), "{fault}");
        put_right(&node, &[path]);
        assert_eq!(faults(&node, &question()), [], "{break_it}");
    }
    let off = "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1";
    let on = "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0 && ip addr add fd30::11/64 dev eth0 nodad && \
        ip -6 route add default via fd30::1";
    let words: &[&str] = &["eth0", "sysctl -w net.ipv6.conf.eth0.disable_ipv6=0"];
    breaks(&node, &question(), off, on, &[("disable_ipv6", words)]);
    // Of other interfaces it does not matter, nor has IPv6 such a setting of one interface.
    node.sh("sysctl -qw net.ipv4.conf.lo.forwarding=0 net.ipv4.conf.wire.forwarding=0 net.ipv6.conf.eth0.forwarding=0",
    );
    node.sh("sysctl -qw net.ipv6.conf.wire.accept_ra=1 net.ipv6.conf.wire.forwarding=1");
    assert_eq!(faults(&node, &question()), []);
}

#[test]
fn a_strict_rp_filter_is_told_and_loosened() {
    let node = node();
    for (break_it, is) in [
        ("sysctl -qw net.ipv4.conf.midokube-node.rp_filter=1", true),
        ("sysctl -qw net.ipv4.conf.midokube-node.rp_filter=0 net.ipv4.conf.all.rp_filter=1", true),
        ("sysctl -qw net.ipv4.conf.all.rp_filter=2", false),
        ("sysctl -qw net.ipv4.conf.all.rp_filter=0", false),
    ] {
        node.sh(break_it);
        assert_eq!(node.run(|| plumbing::sysctl::filters_strictly("midokube-node")), is, "{break_it}");
        assert_eq!(
            faults(&node, &question()).iter().any(|fault| fault.what == "rp_filter"),
            is,
            "{break_it}"
        );
        if is {
            put_right(&node, &["ipv4/conf/midokube-node/rp_filter"]);
            assert_eq!(faults(&node, &question()), [], "{break_it}");
        }
    }
    // The way back to the world leads out of another interface, for packets that come in by the uplink.
    node.sh("ip link add eth1 type veth peer name wire1 && ip link set eth1 up && ip link set wire1 up && \
         ip route add 198.51.100.0/24 dev eth1 table 88 && ip rule add to 198.51.100.0/24 iif lo lookup main priority 98 && \
         ip rule add to 198.51.100.0/24 lookup 88 priority 99",
    );
    let strict = "sysctl -qw net.ipv4.conf.eth0.rp_filter=1";
    let words: &[&str] = &["eth0", "rp_filter", "net.ipv4.conf.eth0.rp_filter=2"];
    breaks(
        &node,
        &question(),
        strict,
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=2",
        &[("not_forwarded", words)],
    );
}

#[test]
fn what_overlaps_pods_addresses_is_named() {
    let node = node();
    for (break_it, mend, words) in [
        (
            "ip link add cni0 type veth peer name ocni0 && ip link set ocni0 up && ip addr add 10.244.1.1/24 dev cni0 && ip link set cni0 up",
            "ip link del cni0",
            ["cni0", "10.244.1.1/24", "ip link delete cni0"],
        ),
        (
            "ip link add flannel.1 type veth peer name oflannel.1 && ip link set oflannel.1 up && ip addr add fd44:0:0:1::/128 dev flannel.1 nodad",
            "ip link del flannel.1",
            ["flannel.1", "fd44::/48", "ip link delete flannel.1"],
        ),
        (
            "ip link add docker0 type veth peer name odocker0 && ip link set odocker0 up && ip addr add 10.97.0.1/16 dev docker0 && ip link set docker0 up",
            "ip link del docker0",
            ["docker0", "10.96.0.0/12", "ip address del"],
        ),
    ] {
        assert_eq!(faults(&node, &question()), [], "before {break_it}");
        node.sh(break_it);
        let found = faults(&node, &question());
        let told = |fault: &Fault| {
            fault.what == "overlap" && words.iter().all(|word| fault.to_string().contains(word))
        };
        assert!(found.iter().any(told), "{break_it}: {found:#?}");
        node.sh(mend);
        assert_eq!(faults(&node, &question()), [], "after {mend}");
    }
    let own = |ranges: &[&str], address: &str| {
        let (ranges, address) = (nets(ranges), address.parse().unwrap());
        node.run(move || overlaps(&ranges, address)).unwrap().map(|(range, what)| format!("{range}: {what}"))
    };
    // A part of the nodes' network that no node is in may be the Pods': their route is the more specific one.
    assert_eq!(own(&["10.244.0.0/16", "fd44::/48", "172.30.0.128/25"], "172.30.0.11"), None);
    // What answers for a Service on the node itself.
    node.sh("ip addr add 10.96.0.10/32 dev lo && ip addr add fd96::a/128 dev lo");
    assert_eq!(faults(&node, &question()), []);
    for (range, address, what) in [
        ("172.30.0.0/16", "172.30.0.11", "the node's own address 172.30.0.11"),
        ("fd30::/32", "fd30::11", "the node's own address fd30::11"),
        ("fd30::/32", "172.30.0.11", "the node's own network fd30::/64"),
    ] {
        assert_eq!(own(&[range], address), Some(format!("{range}: {what}")));
    }
}

/// Before an agent runs there is no interface towards Pods, and a larger network's route takes their addresses.
#[test]
fn a_node_without_an_agent_is_judged_as_far_as_it_can_be() {
    let node = node();
    node.sh("ip link del midokube-node && ip route add 10.0.0.0/8 via 172.30.0.1");
    let words: &[&str] = &["10.244.0.0/17", "ip route del 10.244.0.0/17"];
    breaks(
        &node,
        &question(),
        "ip route add 10.244.0.0/17 via 172.30.0.1",
        "ip route del 10.244.0.0/17",
        &[("foreign_route", words)],
    );
    let line = "nft 'table ip f { chain c { type filter hook forward priority 0; policy drop; }; }'";
    breaks(&node, &question(), line, FLUSH, &[("forward_dropped", &["iifname midokube-node accept"])]);
}
