//! How often the gateway answers: ICMP errors and echo replies are limited for each port, path-MTU messages apart
//! from all others.

use crate::support::*;
use datapath::policy::OPEN;
use datapath::{Limit, Limits, NodeConfig, Port, Role, Shaper};
use testkit::packet::*;

/// Sends until the answers are limited, and that must be soon; returns how many there were before.
fn flood(node: &Node, ifindex: u32, mac: [u8; 6], packet: &Ip, answered: &str) -> usize {
    let program = node.program("from_endpoint");
    let frame = packet.frame(GATEWAY_MAC, mac);
    let limited = (0..100_000).position(|_| {
        let verdict = node.process(&program, ifindex, 0, &frame);
        assert!([answered, "icmp_limited"].contains(&verdict.reason), "{verdict:?}");
        let dropped = verdict.reason == "icmp_limited";
        assert_eq!(verdict.action, if dropped { TC_ACT_SHOT } else { TC_ACT_REDIRECT });
        dropped
    });
    limited.unwrap_or_else(|| panic!("{answered} is not limited"))
}

fn sent(node: &Node, ifindex: u32, mac: [u8; 6], packet: &Ip) -> &'static str {
    node.process(&node.program("from_endpoint"), ifindex, 0, &packet.frame(GATEWAY_MAC, mac)).reason
}

#[test]
fn a_flood_is_answered_in_measure_and_keeps_nobody_else_from_answers() {
    for f in families() {
        for (packet, reason) in [
            (echo(f.a, f.gateway, false, b"ping"), "echo_reply"),
            (udp(f.a, f.missing, b"x"), "no_endpoint"),
            (udp(f.a, f.unserved, b"x"), "unreachable"),
            (Ip { hops: 1, ..udp(f.a, f.b, b"x") }, "ttl_exceeded"),
        ] {
            sandbox(|bpffs| {
                let node = Node::new(bpffs);
                assert!(flood(&node, node.a, A_MAC, &packet, reason) >= 200, "{reason}: a burst");
                // All of them draw on one bucket, but path-MTU messages.
                let large = Ip { fragment: DONT_FRAGMENT, ..udp(f.a, f.remote, &[0; 1500]) };
                assert_eq!(sent(&node, node.a, A_MAC, &large), "too_big");
                let other = Ip { source: f.b, ..packet.clone() };
                let other = if reason == "echo_reply" { echo(f.b, f.gateway, false, b"ping") } else { other };
                let other = Ip {
                    destination: if other.destination == f.b { f.a } else { other.destination },
                    ..other
                };
                assert_eq!(sent(&node, node.b, B_MAC, &other), reason, "another Pod");
                assert_eq!(sent(&node, node.a, A_MAC, &udp(f.a, f.b, b"x")), "local", "other packets pass");
                // It fills again.
                let frame = packet.frame(GATEWAY_MAC, A_MAC);
                let program = node.program("from_endpoint");
                let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
                while node.process(&program, node.a, 0, &frame).reason != reason {
                    assert!(std::time::Instant::now() < end, "no answer any more");
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            });
        }
    }
}

/// Has a port owe so many nanoseconds of answers and of path-MTU messages: a slow machine could not send them so fast.
fn owe(node: &Node, ifindex: u32, answers: u64, too_big: u64) {
    let maps = node.programs.with_file_name("maps");
    let map = aya::maps::MapData::from_pin(maps.join("answers-v1")).unwrap();
    let mut map: aya::maps::HashMap<_, u32, [u64; 2]> = aya::maps::Map::LruHashMap(map).try_into().unwrap();
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let now = now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned();
    map.insert(ifindex, [now + answers, now + too_big], 0).unwrap();
}

#[test]
fn path_mtu_messages_have_a_limit_of_their_own() {
    const MINUTE: u64 = 60_000_000_000;
    for f in families() {
        sandbox(|bpffs| {
            let node = Node::new(bpffs);
            let large = Ip { fragment: DONT_FRAGMENT, ..udp(f.a, f.remote, &[0; 1500]) };
            let echo = echo(f.a, f.gateway, false, b"ping");
            let answers = || [&large, &echo].map(|packet| sent(&node, node.a, A_MAC, packet));
            for _ in 0..1000 {
                assert_eq!(sent(&node, node.a, A_MAC, &large), "too_big", "a burst");
            }
            owe(&node, node.a, 0, MINUTE);
            assert_eq!(answers(), ["icmp_limited", "echo_reply"]);
            owe(&node, node.a, MINUTE, 0);
            assert_eq!(answers(), ["too_big", "icmp_limited"]);
        });
    }
}

#[test]
fn pods_whose_packets_come_by_the_shaper_have_a_limit_each() {
    for f in families() {
        sandbox(|bpffs| {
            let mut node = Node::new(bpffs);
            run("ip", "link add name shape type veth peer name shaped");
            let (entry, exit) = (ifindex("shape"), ifindex("shaped"));
            node.config = NodeConfig { shaper: Some(Shaper { entry, exit }), ..node.config };
            node.datapath.set_config(&node.config).unwrap();
            let limit = Some(Limit { rate: 1_000_000, burst: 1_000_000 });
            for (ifindex, mac, address, class) in [(node.a, A_MAC, f.a, 1), (node.b, B_MAC, f.b, 2)] {
                let limits = Limits { egress: limit, class, ..Limits::default() };
                let port =
                    Port { ifindex, mac, addresses: vec![address], role: Role::Pod, limits, set: OPEN };
                node.datapath.bind(&port).unwrap();
            }
            flood(&node, exit, A_MAC, &echo(f.a, f.gateway, false, b"ping"), "echo_reply");
            assert_eq!(sent(&node, exit, B_MAC, &echo(f.b, f.gateway, false, b"ping")), "echo_reply");
        });
    }
}
