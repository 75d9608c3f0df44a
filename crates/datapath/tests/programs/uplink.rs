//! The VXLAN header written and removed by the programs: every branch, on single packets.

use std::net::IpAddr;

use crate::support::random::damage;
use crate::support::tunnel::*;
use crate::support::*;
use datapath::Route;
use testkit::Random;
use testkit::packet::*;

const TCX_NEXT: u32 = u32::MAX;
/// Outer IP, UDP, VXLAN and inner Ethernet.
const HEADERS: usize = 20 + 8 + 8 + 14;

#[test]
fn packets_to_other_nodes_leave_with_their_header() {
    sandbox(|bpffs| {
        let (node, _) = uplink_node(bpffs);
        let program = node.program("from_endpoint");
        for f in families() {
            let dont = Ip { fragment: DONT_FRAGMENT, ..tcp(f.a, f.remote, b"whole") };
            for packet in [udp(f.a, f.remote, &[0; 900]), tcp(f.a, f.remote, b""), dont] {
                let frame = packet.frame(GATEWAY_MAC, A_MAC);
                let verdict = node.process(&program, node.a, 0, &frame);
                assert_eq!((verdict.action, verdict.reason), (TC_ACT_REDIRECT, "direct_out"));
                let inner = Ip { hops: 63, ..packet }.frame(OVERLAY_MAC, GATEWAY_MAC);
                let mut outer = tunnel(PEER, VNI, &inner);
                (outer.source, outer.destination) = (OWN.parse().unwrap(), PEER.parse().unwrap());
                let sent = &verdict.frame[14..];
                // What differs from packet to packet: the source port, and the identification.
                assert!(u16::from_be_bytes([sent[20], sent[21]]) >= 49152, "RFC 6335's dynamic ports");
                assert_eq!(checksum(&sent[..20]), [0, 0], "the header's checksum is right");
                outer.payload[..2].copy_from_slice(&sent[20..22]);
                let mut expected = outer.bytes();
                expected[4..6].copy_from_slice(&sent[4..6]);
                expected[10..12].copy_from_slice(&sent[10..12]);
                assert_eq!(verdict.frame[12..14], [8, 0]);
                assert!(sent == expected, "\nfound  {:02x?}\nwanted {:02x?}", &sent[..60], &expected[..60]);
            }
        }
    });
}

#[test]
fn the_outer_header_carries_the_congestion_bits() {
    sandbox(|bpffs| {
        let (node, _) = uplink_node(bpffs);
        let program = node.program("from_endpoint");
        for f in families() {
            for bits in 0..4 {
                let packet = tcp(f.a, f.remote, b"x");
                let mut frame = Ip { tos: 0xb8 | bits, ..packet }.frame(GATEWAY_MAC, A_MAC);
                if f.a.is_ipv6() {
                    frame[14] = 0x6b;
                    frame[15] = 0x80 | bits << 4;
                }
                let verdict = node.process(&program, node.a, 0, &frame);
                assert_eq!((verdict.reason, verdict.frame[15]), ("direct_out", bits));
            }
        }
    });
}

#[test]
fn what_is_not_plain_is_left_to_the_device() {
    sandbox(|bpffs| {
        let (mut node, _) = uplink_node(bpffs);
        let program = node.program("from_endpoint");
        let sent = |node: &Node, packet: &Ip, gso_size| {
            let frame = packet.frame(GATEWAY_MAC, A_MAC);
            let verdict = node.process(&program, node.a, gso_size, &frame);
            if verdict.reason == "overlay_out" {
                let expected = Ip { hops: 63, ..packet.clone() }.frame(OVERLAY_MAC, GATEWAY_MAC);
                assert!(verdict.frame == expected, "the device gets the frame as it is");
            }
            verdict.reason
        };
        for f in families() {
            let packet = tcp(f.a, f.remote, &[1; 3000]);
            // `BPF_PROG_TEST_RUN` does not say what kind it is; for TCP, see traffic.rs.
            assert_eq!(sent(&node, &packet, 1000), "overlay_out", "to be segmented, but not known how");
            assert_eq!(sent(&node, &packet, 0xffff), "overlay_out", "SCTP's list of ready packets");
            assert_eq!(sent(&node, &tcp(f.a, f.remote6, b"x"), 0), "overlay_out", "an IPv6 underlay");
            if f.a.is_ipv4() {
                assert_eq!(sent(&node, &packet, 0), "overlay_out", "to be fragmented");
            }
        }
        let f = families()[0];
        let packet = tcp(f.a, f.remote, b"x");
        let far = Route::Tunnel("203.0.113.9".parse().unwrap());
        node.datapath.set_route("10.1.1.0/24".parse().unwrap(), far).unwrap();
        assert_eq!(sent(&node, &packet, 0), "overlay_out", "no route there");
        run("ip", "route add 203.0.113.0/24 via 198.51.100.254");
        assert_eq!(sent(&node, &packet, 0), "direct_out", "behind a router");
        run("ip", "route replace unreachable 203.0.113.0/24");
        assert_eq!(sent(&node, &packet, 0), "overlay_out", "unreachable");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        run("ip", "route replace 203.0.113.0/24 via 198.51.100.254");
        assert_eq!(sent(&node, &packet, 0), "overlay_out", "the look-up answers routers only");
        node.config.direct = false;
        node.datapath.set_config(&node.config).unwrap();
        assert_eq!(sent(&node, &packet, 0), "overlay_out", "switched off");
    });
}

/// What an ICMP error says that the path takes.
fn told(frame: &[u8]) -> u32 {
    let at = 14 + if frame[12..14] == [8, 0] { 20 } else { 40 } + 4;
    u32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
}

#[test]
fn what_a_path_takes_is_told() {
    sandbox(|bpffs| {
        let (mut node, _) = uplink_node(bpffs);
        let program = node.program("from_endpoint");
        let process = |node: &Node, packet: &Ip, gso_size| {
            let verdict = node.process(&program, node.a, gso_size, &packet.frame(GATEWAY_MAC, A_MAC));
            let mtu = (verdict.reason == "too_big").then(|| told(&verdict.frame));
            (verdict.reason, mtu)
        };
        let sized = |from: IpAddr, to: IpAddr, size: usize| {
            let headers = if from.is_ipv4() { 28 } else { 48 };
            udp(from, to, &vec![0; size - headers])
        };
        let dont = |packet: Ip| Ip { fragment: DONT_FRAGMENT, ..packet };
        // In the tables' order: what is done to the underlay, and what it then takes of IPv4 and of IPv6.
        for (change, takes) in [
            ("route add 198.51.100.7 dev uplink mtu lock 1400", [1350, 1350]),
            ("route replace 198.51.100.7 dev uplink mtu lock 1300", [1250, 1280]),
            ("route del 198.51.100.7", [1400, 1400]),
            ("link set uplink mtu 1430", [1380, 1380]),
        ] {
            run("ip", change);
            for (f, takes) in families().into_iter().zip(takes) {
                let large = |size| dont(sized(f.a, f.remote, size));
                let fits = process(&node, &large(takes), 0);
                // What IPv6 may rely on arrives in fragments, which the device makes.
                let expected = if takes == 1280 { "overlay_out" } else { "direct_out" };
                assert_eq!(fits, (expected, None), "{change}: {takes}");
                assert_eq!(process(&node, &large(takes + 1), 0), ("too_big", Some(takes as u32)), "{change}");
                if f.a.is_ipv4() {
                    let may = sized(f.a, f.remote, takes + 1);
                    assert_eq!(process(&node, &may, 0), ("overlay_out", None), "{change}: may be fragmented");
                }
            }
        }
        run("ip", "link set uplink mtu 1500");

        // Over IPv6 nothing is fragmented, so that all senders are told.
        run("ip", "addr add 2001:db8:1::1/64 dev uplink nodad");
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        node.config.tunnel_address6 = Some("2001:db8:1::1".parse().unwrap());
        node.datapath.set_config(&node.config).unwrap();
        for (change, takes) in [
            ("route add 2001:db8:1::7 dev uplink mtu lock 1400", [1330, 1330]),
            ("route replace 2001:db8:1::7 dev uplink mtu lock 1300", [1230, 1280]),
            ("route del 2001:db8:1::7", [1400, 1400]),
            ("link set uplink mtu 1430", [1360, 1360]),
        ] {
            run("ip", change);
            for (f, takes) in families().into_iter().zip(takes) {
                for packet in [sized(f.a, f.remote6, takes), sized(f.a, f.remote6, 100)] {
                    assert_eq!(process(&node, &packet, 0), ("overlay_out", None), "{change}: {takes}");
                }
                let large = sized(f.a, f.remote6, takes + 1);
                assert_eq!(process(&node, &large, 0), ("too_big", Some(takes as u32)), "{change}");
                assert_eq!(
                    process(&node, &large, takes as u32 - 200),
                    ("overlay_out", None),
                    "{change}: segments fit"
                );
            }
        }
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0").unwrap();
        let f = families()[0];
        let unknown = process(&node, &sized(f.a, f.remote6, 1400), 0);
        assert_eq!(unknown, ("overlay_out", None), "the look-up answers routers only");
    });
}

#[test]
fn plain_packets_of_other_nodes_are_delivered() {
    sandbox(|bpffs| {
        let (node, uplink) = uplink_node(bpffs);
        let program = node.program("from_uplink");
        for f in families() {
            for (destination, mac) in [(f.a, A_MAC), (f.b, B_MAC), (f.node, NODE_MAC)] {
                for (hops, fragment, tos) in [(64, 0, 0), (1, DONT_FRAGMENT, 0xba)] {
                    let packet = Ip { hops, ..tcp(f.remote, destination, b"hello") };
                    let inner = packet.frame(OVERLAY_MAC, GATEWAY_MAC);
                    let outer = Ip { fragment, tos, ..tunnel(PEER, VNI, &inner) };
                    let outer = outer.frame(UPLINK_MAC, PEER_MAC);
                    let (verdict, counted) = node.run(&program, uplink, 0, &outer);
                    let bytes = (outer.len() - HEADERS) as u64;
                    assert_eq!(
                        (verdict.action, &counted[..]),
                        (TC_ACT_REDIRECT, &[("direct_in", bytes)][..])
                    );
                    assert_eq!(verdict.frame, packet.frame(mac, GATEWAY_MAC));
                }
            }
        }
    });
}

#[test]
fn what_no_other_node_may_send_is_dropped() {
    sandbox(|bpffs| {
        let (node, uplink) = uplink_node(bpffs);
        let program = node.program("from_uplink");
        for f in families() {
            let frame = |packet: &Ip| packet.frame(OVERLAY_MAC, GATEWAY_MAC);
            let from = |source| frame(&udp(source, f.a, b"x"));
            let to = |destination| frame(&udp(f.remote, destination, b"x"));
            let mut version = to(f.a);
            version[14] = 0;
            let mapped = udp("::ffff:10.1.1.5".parse().unwrap(), "::ffff:10.1.0.3".parse().unwrap(), b"");
            for (name, peer, inner, reason) in [
                ("another node's packet", "198.51.100.8", to(f.a), "overlay_peer"),
                ("of a node that is reached over IPv6", PEER, from(f.remote6), "overlay_peer"),
                ("a local pod's address", PEER, from(f.b), "overlay_source"),
                ("the local gateway's", PEER, from(f.gateway), "overlay_source"),
                ("an unserved address", PEER, from(f.unserved), "overlay_source"),
                ("a foreign address", PEER, from(f.external), "overlay_source"),
                ("to an unused address", PEER, to(f.missing), "overlay_unknown"),
                ("to the gateway", PEER, to(f.gateway), "overlay_unknown"),
                ("back out", PEER, to(f.remote), "overlay_unknown"),
                ("out of the cluster", PEER, to(f.external), "overlay_unknown"),
                ("IPv4 in disguise", PEER, frame(&mapped), "not_routable"),
                ("broken", PEER, version, "malformed"),
            ] {
                let outer = tunnel(peer, VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
                let (verdict, counted) = node.run(&program, uplink, 0, &outer);
                let reasons: Vec<_> = counted.iter().map(|(reason, _)| *reason).collect();
                assert_eq!((verdict.action, reasons), (TC_ACT_SHOT, vec![reason]), "{name}");
            }
        }
    });
}

/// The kernel goes on taking what a program takes out of a tunnel for a tunnel's packet: to UDP, whose segments are
/// taken apart where they arrive, that matters.
#[test]
fn datagrams_that_arrive_as_one_packet_are_left_to_the_device() {
    sandbox(|bpffs| {
        let (node, uplink) = uplink_node(bpffs);
        let program = node.program("from_uplink");
        for f in families() {
            let options = if f.a.is_ipv4() {
                Ip { options: vec![1; 8], ..udp(f.remote, f.a, &[1; 2400]) }
            } else {
                let header =
                    [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(f.remote, f.a, &[1; 2400]).payload].concat();
                Ip::new(f.remote, f.a, 60, header)
            };
            for packet in [udp(f.remote, f.a, &[1; 2400]), options] {
                let outer = tunnel(PEER, VNI, &packet.frame(OVERLAY_MAC, GATEWAY_MAC));
                let outer = outer.frame(UPLINK_MAC, PEER_MAC);
                let (verdict, counted) = node.run(&program, uplink, 1200, &outer);
                assert_eq!((verdict.action, &counted[..]), (TCX_NEXT, &[][..]));
                assert_eq!(verdict.frame, outer, "as it came");
                let (verdict, counted) = node.run(&program, uplink, 0, &outer);
                assert_eq!((verdict.action, counted[0].0), (TC_ACT_REDIRECT, "direct_in"), "a single one");
            }
        }
    });
}

/// Everything else that an uplink carries passes untouched and uncounted: to the device, to the node.
#[test]
fn everything_else_passes() {
    sandbox(|bpffs| {
        let (mut node, uplink) = uplink_node(bpffs);
        let program = node.program("from_uplink");
        let f = families()[0];
        let inner = udp(f.remote, f.a, &[7; 64]).frame(OVERLAY_MAC, GATEWAY_MAC);
        let good = tunnel(PEER, VNI, &inner);
        let own: IpAddr = OWN.parse().unwrap();
        let changed = |at: usize, value: u8| {
            let mut packet = good.clone();
            packet.payload[at] = value;
            packet.frame(UPLINK_MAC, PEER_MAC)
        };
        let frame = |packet: Ip| packet.frame(UPLINK_MAC, PEER_MAC);
        let mut short = frame(good.clone());
        short.truncate(14 + 20 + 8 + 8);
        let mut header = frame(good.clone());
        header[24] ^= 1;
        let mut tagged = tunnel(PEER, VNI, &[&inner[..12], &[0x81, 0, 0, 5], &inner[12..]].concat());
        tagged.hops = 9;
        for (name, outer) in [
            ("another port", changed(3, 0xb6)),
            ("a length that is not the packet's", changed(5, 0)),
            ("a checksum, for the stack to check", changed(7, 1)),
            ("flags that are not ours", changed(8, 0x0c)),
            ("no VNI", changed(8, 0)),
            ("another network", changed(14, 2)),
            ("for another inner MAC", changed(16, 6)),
            ("neither IPv4 nor IPv6 inside", changed(28, 9)),
            ("a tag inside", frame(tagged)),
            ("a congestion mark", frame(Ip { tos: 3, ..good.clone() })),
            ("a first fragment", frame(Ip { fragment: MORE_FRAGMENTS, ..good.clone() })),
            ("a later fragment", frame(Ip { fragment: 100, ..good.clone() })),
            ("options", frame(Ip { options: vec![1; 4], ..good.clone() })),
            ("a broken header", header),
            ("for another address", frame(Ip { destination: f.external, ..good.clone() })),
            ("not for this host", good.frame(PEER_MAC, UPLINK_MAC)),
            ("too short", short),
            ("padded", [frame(good.clone()), vec![0; 4]].concat()),
            ("TCP", frame(tcp(PEER.parse().unwrap(), own, b"x"))),
            ("IPv6", frame(udp(families()[1].external, families()[1].a, b"x"))),
            ("ARP", ethernet([0xff; 6], PEER_MAC, 0x0806, &[0; 46])),
        ] {
            let (verdict, counted) = node.run(&program, uplink, 0, &outer);
            assert_eq!((verdict.action, &counted[..]), (TCX_NEXT, &[][..]), "{name}");
            assert!(verdict.frame == outer, "{name}");
        }
        node.config.direct = false;
        node.datapath.set_config(&node.config).unwrap();
        let (verdict, counted) = node.run(&program, uplink, 0, &frame(good));
        assert_eq!((verdict.action, &counted[..]), (TCX_NEXT, &[][..]), "switched off");
    });
}

/// Damaged packets: each passes untouched, or ends under one counter that says what was done.
#[test]
fn damaged_packets_pass_untouched_or_end_in_one_way() {
    sandbox(|bpffs| {
        let (node, uplink) = uplink_node(bpffs);
        let program = node.program("from_uplink");
        let corpus = families().map(|f| {
            let inner = tcp(f.remote, f.a, &[0; 64]).frame(OVERLAY_MAC, GATEWAY_MAC);
            tunnel(PEER, VNI, &inner).frame(UPLINK_MAC, PEER_MAC)
        });
        let mut random = Random::new(0);
        let mut passed = 0;
        for round in 0..3000 {
            let mut frame = corpus[round % 2].clone();
            damage(&mut random, &mut frame);
            let (verdict, counted) = node.run(&program, uplink, 0, &frame);
            match counted[..] {
                [] => {
                    assert_eq!(verdict.action, TCX_NEXT, "round {round}: {frame:02x?}");
                    assert!(verdict.frame == frame, "round {round}: {frame:02x?}");
                    passed += 1;
                }
                [("direct_in", _)] => assert_eq!(verdict.action, TC_ACT_REDIRECT, "round {round}"),
                [_] => assert_eq!(verdict.action, TC_ACT_SHOT, "round {round}: {counted:?}"),
                _ => panic!("round {round}: {counted:?}"),
            }
        }
        assert!((100..2900).contains(&passed), "{passed} of 3000 passed");
    });
}
