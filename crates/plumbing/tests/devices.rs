//! The overlay device, the uplink, the node's settings, masquerading.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use plumbing::nft::{self, Elements, Rules};
use plumbing::{Family, overlay, sysctl, underlay};
use testkit::Namespace;

/// How long the kernel may take until a link carries.
const DEADLINE: Duration = Duration::from_secs(60);

const MAC: [u8; 6] = [2, 0x6d, 0x69, 0x64, 0x6f, 2];

#[test]
fn the_overlay_device_is_made_kept_repaired_and_replaced() {
    let node = Namespace::new();
    let ensure = |mtu, port| node.run(|| overlay::ensure("midokube-vxlan", MAC, mtu, port)).unwrap();
    let first = ensure(1450, 4789);
    let shown = node.ip("-d link show midokube-vxlan");
    for part in ["external", "dstport 4789", "02:6d:69:64:6f:02", "mtu 1450", "nolearning", "udp6zerocsumrx"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(shown.contains(",UP"), "{shown}");
    assert_eq!(ensure(1450, 4789), first, "what fits stays");
    node.ip("link set midokube-vxlan down");
    assert_eq!(ensure(1400, 4789), first, "what can be changed is changed");
    assert!(node.ip("link show midokube-vxlan").contains("mtu 1400"));
    assert_ne!(ensure(1400, 8472), first, "another port needs another device");
    node.ip("link del midokube-vxlan");
    node.ip("link add midokube-vxlan type vxlan id 7 dstport 4789");
    ensure(1450, 4789);
    assert!(node.ip("-d link show midokube-vxlan").contains("external"));
    assert_eq!(node.ip("-6 addr show dev midokube-vxlan"), "");
}

#[test]
fn ipsec_policies_are_noticed() {
    let node = Namespace::new();
    let protects = || node.run(plumbing::ipsec::protects_what_leaves).unwrap();
    assert!(!protects());
    let policy = "src 192.0.2.0/24 dst 198.51.100.0/24 dir";
    let template = "tmpl src 192.0.2.1 dst 198.51.100.1 proto esp mode tunnel";
    node.ip(&format!("xfrm policy add {policy} in {template}"));
    assert!(!protects(), "what arrives is no concern here");
    node.ip(&format!("xfrm policy add {policy} out {template}"));
    assert!(protects());
    node.ip("xfrm policy flush");
    assert!(!protects());
}

#[test]
fn the_interface_with_an_address_is_found() {
    let node = Namespace::new();
    node.ip("link add up0 type veth peer name other");
    node.ip("link set up0 mtu 1400 up");
    node.ip("addr add 192.0.2.5/24 dev up0");
    node.ip("addr add 2001:db8::5/64 dev up0 nodad");
    for address in ["192.0.2.5", "2001:db8::5"] {
        let found = node.run(|| underlay::holder(address.parse().unwrap())).unwrap();
        assert_eq!((found.ifname.as_str(), found.mtu), ("up0", 1400));
    }
    let error = node.run(|| underlay::holder("192.0.2.6".parse().unwrap())).unwrap_err().to_string();
    assert!(error.contains("192.0.2.6"), "{error}");
}

#[test]
fn a_path_leads_out_of_the_interfaces_of_the_route() {
    let node = Namespace::new();
    for (name, number) in [("up0", 0), ("up1", 1)] {
        node.ip(&format!("link add {name} type veth peer name other{number}"));
        node.ip(&format!("link set {name} up"));
        node.ip(&format!("link set other{number} up"));
        node.ip(&format!("addr add 192.0.2.{number}/31 dev {name}"));
        node.ip(&format!("addr add 2001:db8:{number}::1/64 dev {name} nodad"));
    }
    node.ip("link set lo up");
    node.ip("addr add 198.51.100.1/32 dev lo");
    node.ip("addr add 2001:db8:9::1/128 dev lo");
    let index = |name: &str| node.run(|| plumbing::link::find(name)).unwrap().unwrap().ifindex;
    let (up0, up1) = (index("up0"), index("up1"));
    let path = |from: &str, to: &str| {
        let find =
            || underlay::path(&mut plumbing::Netlink::here()?, from.parse().unwrap(), to.parse().unwrap());
        node.run(find).unwrap().map(|path| (path.ifindexes, path.mtu))
    };
    let own = [("198.51.100.1", "198.51.100"), ("2001:db8:9::1", "2001:db8:8:")];
    for (from, net) in own {
        let to =
            |host: u8| if from.contains(':') { format!("{net}:{host}") } else { format!("{net}.{host}") };
        let via = |number: u8| {
            if from.contains(':') {
                format!("via 2001:db8:{number}::2 dev up{number}")
            } else {
                format!("dev up{number}")
            }
        };
        assert_eq!(path(from, &to(2)), None, "no route");
        node.ip(&format!("route add {} {}", to(2), via(0)));
        assert_eq!(path(from, &to(2)), Some((vec![up0], None)), "{from}");
        node.ip(&format!("route replace {} {} mtu 1400", to(2), via(1)));
        assert_eq!(path(from, &to(2)), Some((vec![up1], Some(1400))), "{from}");
        node.ip(&format!("route add {} nexthop {} nexthop {}", to(3), via(1), via(0)));
        assert_eq!(path(from, &to(3)), Some((vec![up0, up1], None)), "{from}");
        for kind in ["unreachable", "blackhole", "prohibit"] {
            node.ip(&format!("route replace {kind} {}", to(4)));
            assert_eq!(path(from, &to(4)), None, "{from} {kind}");
        }
        assert_eq!(path(from, from), None, "to itself");
    }
}

#[test]
fn a_device_with_an_mtu_below_ipv6s_least_is_made_and_changed() {
    let node = Namespace::new();
    let ensure = |mtu| node.run(|| overlay::ensure("midokube-vxlan", [2, 0, 0, 0, 0, 1], mtu, 4789)).unwrap();
    for mtu in [1230, 576, 1450, 1279, 1280] {
        ensure(mtu);
        let shown = testkit::run(node.command("ip").args(["-d", "link", "show", "midokube-vxlan"]));
        assert!(shown.contains(&format!("mtu {mtu} ")), "{shown}");
        assert!(mtu < 1280 || shown.contains("addrgenmode none"), "{shown}");
    }
}

#[test]
fn a_node_that_becomes_a_router_still_learns_its_own_routes() {
    let node = Namespace::new();
    node.ip("link add up0 type veth peer name other");
    let read =
        |setting: &str| node.run(|| std::fs::read_to_string(format!("/proc/sys/net/{setting}"))).unwrap();
    node.run(|| sysctl::set("ipv6/conf/up0/accept_ra", "1")).unwrap();
    node.run(|| sysctl::enable_forwarding(&[Family::V4, Family::V6])).unwrap();
    assert_eq!(read("ipv6/conf/up0/accept_ra").trim(), "2");
    assert_eq!((read("ipv4/ip_forward").trim(), read("ipv6/conf/all/forwarding").trim()), ("1", "1"));
    let error = node.run(|| sysctl::set("ipv4/no_such_setting", "1")).unwrap_err().to_string();
    assert!(error.contains("ipv4/no_such_setting"), "{error}");
}

/// pod -- node -- outside; the outside knows no way back to the Pod.
fn three() -> (Namespace, Namespace, Namespace) {
    let (pod, node, outside) = (Namespace::new(), Namespace::new(), Namespace::new());
    for (inside, name, net4, net6) in
        [(&pod, "in0", "10.244.1", "fd44:0:0:1"), (&outside, "out0", "192.0.2", "2001:db8")]
    {
        node.ip(&format!("link add {name} type veth peer name eth0 netns {}", process_of(inside)));
        node.ip(&format!("link set {name} up"));
        node.ip(&format!("addr add {net4}.1/24 dev {name}"));
        node.ip(&format!("addr add {net6}::1/64 dev {name} nodad"));
        inside.ip("link set eth0 up");
        inside.ip(&format!("addr add {net4}.9/24 dev eth0"));
        inside.ip(&format!("addr add {net6}::9/64 dev eth0 nodad"));
    }
    pod.ip("route add default via 10.244.1.1");
    pod.ip("-6 route add default via fd44:0:0:1::1");
    node.run(|| sysctl::enable_forwarding(&[Family::V4, Family::V6])).unwrap();
    (pod, node, outside)
}

/// `ip link ... netns` takes a path too.
fn process_of(namespace: &Namespace) -> String {
    namespace.path().display().to_string()
}

#[test]
fn what_leaves_the_cluster_is_masqueraded() {
    let (pod, node, outside) = three();
    let ping = |from: &Namespace, to: &str| {
        from.command("ping").args(["-c1", "-W1", to]).output().unwrap().status.success()
    };
    for to in ["192.0.2.9", "2001:db8::9"] {
        testkit::wait_until(DEADLINE, "the links carry", || {
            ping(&outside, &format!("{}1", to.trim_end_matches('9')))
        });
        assert!(!ping(&pod, to), "the outside has no way back yet");
    }
    let rules = Rules {
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd44:0:0:1::/64".parse().unwrap()],
        inside: "in0".into(),
        source_ports: 40000..=50000,
        services: None,
    };
    for _ in 0..2 {
        node.run(|| rules.apply(&Elements::new())).unwrap();
        for to in ["192.0.2.9", "2001:db8::9"] {
            testkit::wait_until(DEADLINE, to, || ping(&pod, to));
        }
    }
    let shown = testkit::run(node.command("nft").args(["list", "table", "inet", nft::TABLE]));
    assert_eq!(shown.matches("masquerade to :40000-50000 fully-random").count(), 2, "{shown}");
    for part in [
        "ip saddr 10.244.1.0/24",
        "ip6 saddr fd44:0:0:1::/64",
        "oifname != \"in0\"",
        "type nat hook postrouting priority srcnat",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    node.run(nft::delete).unwrap();
    node.run(nft::delete).unwrap();
    assert!(!ping(&pod, "192.0.2.9"));
}
