//! Routes of this project out of a link, beside those of others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use plumbing::{KernelRoute, add_routes, own_routes, remove_routes};
use testkit::Namespace;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn route(to: &str, via: &str) -> KernelRoute {
    KernelRoute::through(net(to), via.parse().unwrap())
}

#[test]
fn they_come_are_replaced_and_go_and_those_of_others_stay() {
    let node = Namespace::new();
    for (name, v4, v6) in [("inside", "10.1.0.2/24", "fd01::2/64"), ("other", "10.2.0.2/24", "fd02::2/64")] {
        node.ip(&format!("link add {name} type veth peer name {name}-peer"));
        node.ip(&format!("link set {name} up"));
        node.ip(&format!("link set {name}-peer up"));
        node.ip(&format!("addr add {v4} dev {name}"));
        node.ip(&format!("addr add {v6} dev {name} nodad"));
    }
    let own = || node.run(|| own_routes("inside")).unwrap();
    let add = |routes: &[KernelRoute]| node.run(|| add_routes("inside", routes)).unwrap();
    assert_eq!(own(), BTreeMap::new(), "the kernel's own are not ours");
    // Somebody else's: to an address of its own, and out of the same link.
    node.ip("route add 203.0.113.9/32 via 10.2.0.1");
    node.ip("-6 route add 2001:db8::9/128 via fd02::1");
    node.ip("route add 198.51.100.0/24 via 10.1.0.1");

    let wanted = [
        route("10.96.0.0/16", "10.1.0.1"),
        route("203.0.113.1/32", "10.1.0.1"),
        route("fd96::/112", "fd01::1"),
        route("2001:db8::1/128", "fd01::1"),
    ];
    let all: BTreeMap<IpNet, Option<IpAddr>> = wanted.iter().map(|route| (route.dst, route.via)).collect();
    for _ in 0..2 {
        assert!(add(&wanted).is_empty());
        assert_eq!(own(), all);
    }
    let taken = [route("203.0.113.9/32", "10.1.0.1"), route("2001:db8::9/128", "fd01::1")];
    let failed = add(&[taken[0], route("203.0.113.2/32", "10.1.0.1"), taken[1]]);
    assert_eq!(failed.iter().map(|(net, _)| *net).collect::<Vec<_>>(), taken.map(|route| route.dst));
    assert!(failed.iter().all(|(_, error)| error.is_exists()), "{failed:?}");
    assert!(node.ip("route show 203.0.113.9").contains("dev other"));
    assert!(own().contains_key(&net("203.0.113.2/32")), "the others are there");

    // Another next hop.
    assert!(add(&[route("10.96.0.0/16", "10.1.0.7"), route("fd96::/112", "fd01::7")]).is_empty());
    let via = |to: &str| own()[&net(to)].unwrap().to_string();
    assert_eq!((via("10.96.0.0/16"), via("fd96::/112")), ("10.1.0.7".into(), "fd01::7".into()));

    let gone: Vec<IpNet> = own().into_keys().chain([net("192.0.2.0/24")]).collect();
    for _ in 0..2 {
        assert!(node.run(|| remove_routes("inside", &gone)).unwrap().is_empty());
        assert_eq!(own(), BTreeMap::new());
    }
    for left in ["203.0.113.9", "198.51.100.0/24"] {
        assert!(!node.ip(&format!("route show {left}")).is_empty(), "{left}");
    }
    assert!(!node.ip("-6 route show 2001:db8::9").is_empty());
    assert!(node.run(|| own_routes("none")).unwrap().is_empty());
    assert!(node.run(|| add_routes("none", &wanted)).is_err());
}
