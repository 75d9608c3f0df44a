//! Every branch of `from_endpoint`, for both families, on packets that the kernel runs through
//! them one by one: what is done with the packet, how it looks then, and what is counted.

use crate::support::*;
use datapath::{Limit, Limits, NodeConfig, Port, Shaper};
use testkit::packet::*;

/// A packet and what must become of it.
struct Case {
    name: String,
    ifindex: u32,
    gso_size: u32,
    frame: Vec<u8>,
    reason: &'static str,
    /// The frame sent on, or nothing if it is dropped.
    expected: Option<Vec<u8>>,
}

impl Case {
    fn drop(name: &str, ifindex: u32, frame: Vec<u8>, reason: &'static str) -> Self {
        Self { name: name.to_owned(), ifindex, gso_size: 0, frame, reason, expected: None }
    }

    fn pass(name: &str, ifindex: u32, frame: Vec<u8>, reason: &'static str, expected: Vec<u8>) -> Self {
        Self { expected: Some(expected), ..Self::drop(name, ifindex, frame, reason) }
    }

    fn check(&self, node: &Node, program: &aya::programs::SchedClassifier) {
        let verdict = node.process(program, self.ifindex, self.gso_size, &self.frame);
        assert_eq!(verdict.reason, self.reason, "{}: {verdict:02x?}", self.name);
        match &self.expected {
            None => assert_eq!(verdict.action, TC_ACT_SHOT, "{}", self.name),
            Some(expected) => {
                assert_eq!(verdict.action, TC_ACT_REDIRECT, "{}", self.name);
                let start = |frame: &[u8]| format!("{} {:02x?}", frame.len(), &frame[..frame.len().min(100)]);
                let (found, wanted) = (start(&verdict.frame), start(expected));
                assert!(verdict.frame == *expected, "{}\nfound  {found}\nwanted {wanted}", self.name);
            }
        }
    }
}

/// Runs cases against `from_endpoint`.
fn check(cases: impl Fn(&Node, &Family) -> Vec<Case> + Send + Sync) {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        for family in families() {
            for case in cases(&node, &family) {
                case.check(&node, &program);
            }
        }
    });
}

/// The packet one hop later.
fn forwarded(packet: &Ip, destination: [u8; 6], source: [u8; 6]) -> Vec<u8> {
    Ip { hops: packet.hops - 1, ..packet.clone() }.frame(destination, source)
}

/// An ICMP error from the gateway about a packet: IPv4's type and code, IPv6's, and the MTU if any.
fn error_about(packet: &Ip, gateway: std::net::IpAddr, v4: (u8, u8), v6: (u8, u8), mtu: u32) -> Ip {
    let ((kind, code), limit) = if gateway.is_ipv6() { (v6, 1280 - 48) } else { (v4, 576 - 28) };
    let mut quoted = packet.bytes();
    quoted.truncate(limit.min(quoted.len()) & !3);
    let error = icmp(gateway, packet.source, kind, code, mtu.to_be_bytes(), &quoted);
    Ip { tos: 0xc0, fragment: DONT_FRAGMENT, ..error }
}

#[test]
fn packets_go_to_pods_the_node_the_tunnel_and_out() {
    check(|node, f| {
        let mido = node.config.mido_ifindex;
        let mut cases = vec![];
        for build in [udp, tcp, |s, d, data: &[u8]| echo(s, d, false, data)] {
            let packet = build(f.a, f.b, b"hello, neighbour");
            let input = packet.frame(GATEWAY_MAC, A_MAC);
            cases.push(Case::pass(
                "pod to pod",
                node.a,
                input,
                "local",
                forwarded(&packet, B_MAC, GATEWAY_MAC),
            ));
        }
        for (name, destination, reason, mac) in [
            ("pod to its node", f.node, "to_node", (NODE_MAC, GATEWAY_MAC)),
            ("pod to the world", f.external, "external", (NODE_MAC, GATEWAY_MAC)),
            ("pod to a remote pod", f.remote, "overlay_out", (OVERLAY_MAC, GATEWAY_MAC)),
            ("pod to a remote pod, IPv6 underlay", f.remote6, "overlay_out", (OVERLAY_MAC, GATEWAY_MAC)),
        ] {
            let packet = udp(f.a, destination, b"hello");
            let input = packet.frame(GATEWAY_MAC, A_MAC);
            cases.push(Case::pass(name, node.a, input, reason, forwarded(&packet, mac.0, mac.1)));
        }
        // VXLAN between Pods is theirs; out of the cluster it would pass for the node's own.
        let vxlan = |to| udp_to(f.a, to, TUNNEL_PORT, b"a network of its own");
        let input = |packet: &Ip| packet.frame(GATEWAY_MAC, A_MAC);
        let packet = vxlan(f.b);
        let output = forwarded(&packet, B_MAC, GATEWAY_MAC);
        cases.push(Case::pass("a Pod's own tunnel", node.a, input(&packet), "local", output));
        let packet = udp_to(f.a, f.external, TUNNEL_PORT + 1, b"another port");
        let output = forwarded(&packet, NODE_MAC, GATEWAY_MAC);
        cases.push(Case::pass("another port", node.a, input(&packet), "external", output));
        cases.push(Case::drop("a Pod's tunnel out", node.a, input(&vxlan(f.external)), "tunnel_from_pod"));
        if f.a.is_ipv4() {
            let options = Ip { options: vec![1; 8], ..vxlan(f.external) };
            cases.push(Case::drop("behind options", node.a, input(&options), "tunnel_from_pod"));
            let first = Ip { fragment: MORE_FRAGMENTS, ..vxlan(f.external) };
            cases.push(Case::drop("the first fragment", node.a, input(&first), "tunnel_from_pod"));
            let later = Ip { fragment: 100, ..vxlan(f.external) };
            let output = forwarded(&later, NODE_MAC, GATEWAY_MAC);
            cases.push(Case::pass("a later fragment", node.a, input(&later), "external", output));
            let short = Ip::new(f.a, f.external, UDP, vec![0; 3]);
            let padded = [input(&short), vec![0; 40]].concat();
            cases.push(Case::drop("without a port", node.a, padded[..37].to_vec(), "tunnel_from_pod"));
        } else {
            let behind = |header: &[u8], first| {
                let payload = [header, &vxlan(f.external).payload].concat();
                Ip::new(f.a, f.external, first, payload)
            };
            let options = [[UDP, 0, 1, 4, 0, 0, 0, 0]; 1].concat();
            let packet = behind(&options, 60);
            cases.push(Case::drop("behind options", node.a, input(&packet), "tunnel_from_pod"));
            let later = behind(&[UDP, 0, 0, 8, 0, 0, 0, 1], FRAGMENT);
            let output = forwarded(&later, NODE_MAC, GATEWAY_MAC);
            cases.push(Case::pass("a later fragment", node.a, input(&later), "external", output));
            let many = behind(&[[60, 0, 1, 4, 0, 0, 0, 0]; 9].concat(), 60);
            cases.push(Case::drop("too many headers", node.a, input(&many), "tunnel_from_pod"));
        }
        // What the node sends may have any source: its own, or that of somebody it forwards for.
        for source in [f.node, f.external] {
            let packet = tcp(source, f.b, b"hello");
            let input = packet.frame(GATEWAY_MAC, NODE_MAC);
            cases.push(Case::pass(
                "node to pod",
                mido,
                input,
                "local",
                forwarded(&packet, B_MAC, GATEWAY_MAC),
            ));
            let packet = tcp(source, f.remote, b"hello");
            let input = packet.frame(GATEWAY_MAC, NODE_MAC);
            let output = forwarded(&packet, OVERLAY_MAC, GATEWAY_MAC);
            cases.push(Case::pass("node to remote pod", mido, input, "overlay_out", output));
        }
        // Any protocol, and TTLs whose checksums wrap.
        for (protocol, hops) in [(132, 255), (50, 2), (4, 3), (41, 128), (255, 17)] {
            let packet = Ip { hops, ..Ip::new(f.a, f.b, protocol, vec![7; 31]) };
            let input = packet.frame(GATEWAY_MAC, A_MAC);
            cases.push(Case::pass(
                "any protocol",
                node.a,
                input,
                "local",
                forwarded(&packet, B_MAC, GATEWAY_MAC),
            ));
        }
        // No payload at all, and padding behind a short packet.
        let packet = Ip::new(f.a, f.b, 59, vec![]);
        let pad = |frame: Vec<u8>| [frame, vec![0; 30]].concat();
        let input = packet.frame(GATEWAY_MAC, A_MAC);
        let output = forwarded(&packet, B_MAC, GATEWAY_MAC);
        cases.push(Case::pass("padded", node.a, pad(input.clone()), "local", pad(output.clone())));
        cases.push(Case::pass("empty", node.a, input, "local", output));
        cases
    });
}

#[test]
fn fragments_and_options_are_forwarded() {
    check(|node, f| {
        let packets = if f.a.is_ipv4() {
            let packet = udp(f.a, f.b, &[1; 64]);
            vec![
                Ip { fragment: MORE_FRAGMENTS, ..packet.clone() },
                Ip { fragment: 185, ..packet.clone() },
                Ip { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..packet.clone() },
                Ip { options: vec![1; 40], ..packet },
            ]
        } else {
            [[17, 0, 0, 1], [17, 0, 5, 0xc8]]
                .map(|head| [&head[..], &[0, 0, 0, 9], &[1; 64]].concat())
                .map(|payload| Ip::new(f.a, f.b, FRAGMENT, payload))
                .into_iter()
                .chain([Ip::new(f.a, f.b, 0, [vec![17, 0, 5, 2, 0, 0, 1, 0], vec![0; 16]].concat())])
                .collect()
        };
        let case = |packet: &Ip| {
            let output = forwarded(packet, B_MAC, GATEWAY_MAC);
            Case::pass("fragment or options", node.a, packet.frame(GATEWAY_MAC, A_MAC), "local", output)
        };
        packets.iter().map(case).collect()
    });
}

#[test]
fn nothing_leaves_with_another_sources_name() {
    check(|node, f| {
        let honest = udp(f.a, f.b, b"x");
        let link_local: std::net::IpAddr =
            if f.a.is_ipv6() { "fe80::1" } else { "169.254.0.1" }.parse().unwrap();
        let from = |source| udp(source, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
        vec![
            Case::drop("another pod's address", node.a, from(f.b), "source_ip"),
            Case::drop("the gateway's address", node.a, from(f.gateway), "source_ip"),
            Case::drop("the node's address", node.a, from(f.node), "source_ip"),
            Case::drop("nobody's address", node.a, from(f.external), "source_ip"),
            Case::drop("a link-local address", node.a, from(link_local), "source_ip"),
            Case::drop("another MAC", node.a, honest.frame(GATEWAY_MAC, B_MAC), "source_mac"),
            Case::drop(
                "another's MAC and address",
                node.a,
                udp(f.b, f.a, b"").frame(GATEWAY_MAC, B_MAC),
                "source_mac",
            ),
            Case::drop("another port", node.b, honest.frame(GATEWAY_MAC, A_MAC), "source_mac"),
            Case::drop("unbound port", node.unbound, honest.frame(GATEWAY_MAC, A_MAC), "port_not_bound"),
        ]
    });
}

#[test]
fn only_the_gateway_is_a_next_hop() {
    check(|node, f| {
        let packet = udp(f.a, f.b, b"x");
        let mido = node.config.mido_ifindex;
        let multicast: std::net::IpAddr =
            if f.a.is_ipv6() { "ff02::1" } else { "224.0.0.1" }.parse().unwrap();
        let broadcast = [0xff; 6];
        let mut cases = vec![
            Case::drop("straight to the other pod", node.a, packet.frame(B_MAC, A_MAC), "destination_mac"),
            Case::drop("broadcast frame", node.a, packet.frame(broadcast, A_MAC), "multicast"),
            Case::drop("unbound", node.unbound, packet.frame(broadcast, A_MAC), "port_not_bound"),
            Case::drop("unbound, wrong MAC", node.unbound, packet.frame(B_MAC, A_MAC), "port_not_bound"),
            Case::drop("node, broadcast", mido, packet.frame(broadcast, NODE_MAC), "multicast"),
            Case::drop("node, wrong MAC", mido, packet.frame(B_MAC, NODE_MAC), "destination_mac"),
            Case::drop(
                "multicast group",
                node.a,
                udp(f.a, multicast, b"").frame(GATEWAY_MAC, A_MAC),
                "multicast",
            ),
            Case::drop(
                "node to itself",
                mido,
                udp(f.node, f.node, b"").frame(GATEWAY_MAC, NODE_MAC),
                "node_loop",
            ),
            Case::drop(
                "node to the world",
                mido,
                udp(f.node, f.external, b"").frame(GATEWAY_MAC, NODE_MAC),
                "no_route",
            ),
        ];
        let nowhere: &[&str] = if f.a.is_ipv6() {
            &["::1", "::", "fe80::5", "::ffff:192.0.2.1", "::ffff:10.1.0.4"]
        } else {
            &["127.0.0.1", "0.0.0.0", "0.1.2.3"]
        };
        for address in nowhere {
            let packet = udp(f.a, address.parse().unwrap(), b"");
            cases.push(Case::drop(address, node.a, packet.frame(GATEWAY_MAC, A_MAC), "not_routable"));
        }
        if f.a.is_ipv6() {
            // The Pod's own IPv4 address, in an IPv6 header.
            let packet = udp("::ffff:10.1.0.3".parse().unwrap(), f.b, b"");
            cases.push(Case::drop("mapped", node.a, packet.frame(GATEWAY_MAC, A_MAC), "not_routable"));
        }
        cases
    });
}

#[test]
fn what_is_no_packet_is_dropped() {
    check(|node, f| {
        let good = udp(f.a, f.b, &[0; 32]).frame(GATEWAY_MAC, A_MAC);
        let truncated = good.len() - 1;
        let mut version = good.clone();
        version[14] ^= 0x30;
        let mut cases = vec![
            Case::drop("shorter than it says", node.a, good[..truncated].to_vec(), "malformed"),
            Case::drop("version", node.a, version, "malformed"),
            Case::drop("VLAN", node.a, ethernet(GATEWAY_MAC, A_MAC, 0x8100, &good[12..]), "ethertype"),
            Case::drop("MPLS", node.a, ethernet(GATEWAY_MAC, A_MAC, 0x8847, &good[14..]), "ethertype"),
        ];
        if f.a.is_ipv4() {
            let mut header = good.clone();
            header[14] = 0x44;
            cases.push(Case::drop("header of 16 bytes", node.a, header, "malformed"));
            let mut length = good.clone();
            length[16..18].copy_from_slice(&19u16.to_be_bytes());
            cases.push(Case::drop("total shorter than the header", node.a, length, "malformed"));
            let mut zero = good;
            zero[16..18].copy_from_slice(&[0, 0]);
            cases.push(Case::drop("total of 0", node.a, zero, "malformed"));
        } else {
            let icmp = Ip::new(f.a, f.b, ICMPV6, vec![]).frame(GATEWAY_MAC, A_MAC);
            cases.push(Case::drop("ICMPv6 without a type", node.a, icmp, "malformed"));
        }
        cases
    });
}

#[test]
fn the_gateway_answers_pings_and_nothing_else() {
    check(|node, f| {
        let mut cases = vec![];
        for (ifindex, source, mac) in [(node.a, f.a, A_MAC), (node.config.mido_ifindex, f.node, NODE_MAC)] {
            for size in [0, 1, 56, 1400] {
                let request = Ip { hops: 7, ..echo(source, f.gateway, false, &vec![0x5a; size]) };
                let reply = echo(f.gateway, source, true, &vec![0x5a; size]);
                let (request, reply) = (request.frame(GATEWAY_MAC, mac), reply.frame(mac, GATEWAY_MAC));
                cases.push(Case::pass("ping", ifindex, request, "echo_reply", reply));
            }
        }
        for packet in [
            udp(f.a, f.gateway, b"x"),
            tcp(f.a, f.gateway, b""),
            echo(f.a, f.gateway, true, b"x"),
            icmp(f.a, f.gateway, 3, 1, [0; 4], b""),
            Ip::new(f.a, f.gateway, if f.a.is_ipv6() { ICMPV6 } else { ICMP }, vec![8]),
        ] {
            cases.push(Case::drop("not a ping", node.a, packet.frame(GATEWAY_MAC, A_MAC), "gateway_other"));
        }
        cases
    });
}

/// The answers to the fragments of a ping are the fragments of its answer.
#[test]
fn the_gateway_answers_a_fragmented_ping() {
    check(|node, f| {
        let whole = |source, destination, reply| echo(source, destination, reply, &[0x5a; 2992]).payload;
        let pieces = |source, destination, reply| -> Vec<Ip> {
            let message: Vec<u8> = whole(source, destination, reply);
            [0u16, 1, 2]
                .map(|piece| {
                    let payload = message[usize::from(piece) * 1000..][..1000].to_vec();
                    let more = piece < 2;
                    if f.a.is_ipv4() {
                        let fragment = (piece * 125) | if more { MORE_FRAGMENTS } else { 0 };
                        return Ip { fragment, ..Ip::new(source, destination, ICMP, payload) };
                    }
                    let offset = ((piece * 1000) | u16::from(more)).to_be_bytes();
                    let head = vec![ICMPV6, 0, offset[0], offset[1], 0, 0, 0, 9];
                    Ip::new(source, destination, FRAGMENT, [head, payload].concat())
                })
                .to_vec()
        };
        let answers = pieces(f.gateway, f.a, true);
        let questions = pieces(f.a, f.gateway, false);
        let mut cases: Vec<_> = std::iter::zip(questions, answers)
            .map(|(question, answer)| {
                let (question, answer) =
                    (question.frame(GATEWAY_MAC, A_MAC), answer.frame(A_MAC, GATEWAY_MAC));
                Case::pass("fragment of a ping", node.a, question, "echo_reply", answer)
            })
            .collect();
        if f.a.is_ipv6() {
            let other =
                Ip::new(f.a, f.gateway, FRAGMENT, [&[UDP, 0, 0, 1, 0, 0, 0, 9][..], &[0; 64]].concat());
            cases.push(Case::drop(
                "fragment of UDP",
                node.a,
                other.frame(GATEWAY_MAC, A_MAC),
                "gateway_other",
            ));
            let cut = Ip::new(f.a, f.gateway, FRAGMENT, vec![]);
            cases.push(Case::drop("no fragment header", node.a, cut.frame(GATEWAY_MAC, A_MAC), "malformed"));
        }
        cases
    });
}

#[test]
fn errors_are_told_with_icmp() {
    check(|node, f| {
        let mut cases = vec![];
        for (ifindex, source, mac) in [(node.a, f.a, A_MAC), (node.config.mido_ifindex, f.external, NODE_MAC)]
        {
            // From nothing to more than is quoted, and odd sizes.
            for size in [0, 1, 3, 100, 999, 1400] {
                for (name, destination, hops, reason, v4, v6) in [
                    ("TTL 1, local", f.b, 1, "ttl_exceeded", (11, 0), (3, 0)),
                    ("TTL 0, tunnel", f.remote, 0, "ttl_exceeded", (11, 0), (3, 0)),
                    ("TTL 1, world", f.external, 1, "ttl_exceeded", (11, 0), (3, 0)),
                    ("nobody", f.missing, 64, "no_endpoint", (3, 1), (1, 3)),
                    ("no node", f.unserved, 64, "unreachable", (3, 0), (1, 0)),
                ] {
                    let packet = Ip { hops, ..udp(source, destination, &vec![9; size]) };
                    let output = error_about(&packet, f.gateway, v4, v6, 0).frame(mac, GATEWAY_MAC);
                    cases.push(Case::pass(name, ifindex, packet.frame(GATEWAY_MAC, mac), reason, output));
                }
            }
        }
        // A ping that gets nowhere is told so, and IPv4 options are quoted.
        let mut packet = echo(f.a, f.missing, false, b"ping");
        if f.a.is_ipv4() {
            packet.options = vec![1; 12];
        }
        let output = error_about(&packet, f.gateway, (3, 1), (1, 3), 0).frame(A_MAC, GATEWAY_MAC);
        cases.push(Case::pass("ping", node.a, packet.frame(GATEWAY_MAC, A_MAC), "no_endpoint", output));
        cases
    });
}

#[test]
fn some_packets_get_no_icmp_error() {
    check(|node, f| {
        let mido = node.config.mido_ifindex;
        let pod =
            |name, packet: Ip| Case::drop(name, node.a, packet.frame(GATEWAY_MAC, A_MAC), "icmp_suppressed");
        let other = |source: &str, packet: &Ip| Case {
            name: format!("source {source}"),
            ..Case::drop(
                "",
                mido,
                Ip { source: source.parse().unwrap(), ..packet.clone() }.frame(GATEWAY_MAC, NODE_MAC),
                "icmp_suppressed",
            )
        };
        let packet = udp(f.a, f.missing, b"x");
        if f.a.is_ipv4() {
            let mut cases: Vec<_> = [3, 4, 5, 11, 12, 42]
                .map(|kind| pod("an ICMP error", icmp(f.a, f.missing, kind, 0, [0; 4], &[0; 28])))
                .into();
            cases.push(pod("later fragment", Ip { fragment: 7, ..packet.clone() }));
            cases.push(pod("ICMP without a type", Ip::new(f.a, f.missing, ICMP, vec![])));
            cases.extend(["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"].map(|s| other(s, &packet)));
            return cases;
        }
        let behind =
            |head: &[u8], rest: &[u8], protocol| Ip::new(f.a, f.missing, protocol, [head, rest].concat());
        let error = icmp(f.a, f.missing, 1, 0, [0; 4], &[0; 48]);
        let nested = [[0u8, 0, 1, 4, 0, 0, 0, 0]; 9].concat();
        let mut cases = vec![
            pod("error behind options", behind(&[ICMPV6, 0, 1, 4, 0, 0, 0, 0], &error.payload, 60)),
            pod(
                "error behind authentication",
                behind(&[ICMPV6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &error.payload, 51),
            ),
            pod(
                "error in a first fragment",
                behind(&[ICMPV6, 0, 0, 1, 0, 0, 0, 0], &error.payload, FRAGMENT),
            ),
            pod("an ICMPv6 error", error),
            pod("later fragment", behind(&[UDP, 0, 0, 8, 0, 0, 0, 0], &[0; 8], FRAGMENT)),
            pod("too many headers", behind(&nested, &[], 60)),
            pod("ICMPv6 without a type", behind(&[ICMPV6, 0, 1, 4, 0, 0, 0, 0], &[], 60)),
        ];
        cases.extend(["::", "::1", "ff02::1"].map(|source| other(source, &packet)));
        cases
    });
}

#[test]
fn what_does_not_fit_into_the_tunnel_is_told() {
    check(|node, f| {
        let mtu = OVERLAY_MTU as usize;
        let headers = if f.a.is_ipv6() { 40 } else { 20 };
        let exact = Ip { fragment: DONT_FRAGMENT, ..udp(f.a, f.remote, &vec![1; mtu - headers - 8]) };
        let large = Ip { fragment: DONT_FRAGMENT, ..udp(f.a, f.remote, &vec![1; mtu - headers - 8 + 1]) };
        let told = |packet: &Ip| {
            error_about(packet, f.gateway, (3, 4), (2, 0), OVERLAY_MTU).frame(A_MAC, GATEWAY_MAC)
        };
        let sent = |packet: &Ip| forwarded(packet, OVERLAY_MAC, GATEWAY_MAC);
        let input = |packet: &Ip| packet.frame(GATEWAY_MAC, A_MAC);
        let mut cases = vec![
            Case::pass("fits", node.a, input(&exact), "overlay_out", sent(&exact)),
            Case::pass("one byte too many", node.a, input(&large), "too_big", told(&large)),
        ];
        if f.a.is_ipv4() {
            let may = Ip { fragment: 0, ..large.clone() };
            cases.push(Case::pass("may be fragmented", node.a, input(&may), "overlay_out", sent(&may)));
            // The kernel fragments no tunnel over IPv6.
            let may = Ip { destination: f.remote6, ..may };
            cases.push(Case::pass("may be, but cannot", node.a, input(&may), "too_big", told(&may)));
        }
        // For segmentation: what counts is the size of each segment on the wire.
        for (name, packet, fits) in [
            ("TCP", Ip { fragment: DONT_FRAGMENT, ..tcp(f.a, f.remote, &[2; 2500]) }, mtu - headers - 20),
            ("UDP", Ip { fragment: DONT_FRAGMENT, ..udp(f.a, f.remote, &[2; 2500]) }, mtu - headers - 8),
        ] {
            for (gso_size, reason, output) in [
                (fits, "overlay_out", sent(&packet)),
                (fits + 1, "too_big", told(&packet)),
                (0xffff, "overlay_out", sent(&packet)), // SCTP's list of ready packets
            ] {
                let case = Case::pass(name, node.a, input(&packet), reason, output);
                cases.push(Case { gso_size: gso_size.try_into().unwrap(), ..case });
            }
        }
        cases
    });
}

#[test]
fn nothing_passes_before_the_configuration() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let f = families()[0];
        // An array cannot lose its element: a second datapath has an empty one.
        let options = datapath::Options { pin_dir: bpffs.join("other"), ..options(bpffs) };
        let datapath = datapath::Datapath::open(&options).unwrap();
        let programs = options.pin_dir.join("programs");
        let empty = Node { datapath, programs, ..node };
        let frame = udp(f.a, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
        for name in ["from_endpoint", "from_overlay"] {
            let program = empty.program(name);
            Case::drop(name, empty.a, frame.clone(), "not_configured").check(&empty, &program);
        }
    });
}

/// Not faster than they may: packets of such a Pod are processed when they come out of the shaper.
#[test]
fn what_a_limited_pod_sends_goes_through_the_shaper_first() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        run("ip", "link add name entry type veth peer name exit");
        let shaper = Shaper { entry: ifindex("entry"), exit: ifindex("exit") };
        let limit = Some(Limit { rate: 8_000_000, burst: 800_000 });
        let limited = Limits { egress: limit, class: 0x6d69_0007, ..Limits::default() };
        let bind = |node: &mut Node, limits| {
            let ports = node.datapath.ports().unwrap();
            let a = ports.into_iter().find(|port| port.ifindex == node.a).unwrap();
            node.datapath.bind(&Port { limits, ..a }).unwrap();
        };
        bind(&mut node, limited);
        for f in families() {
            let packet = udp(f.a, f.b, b"hello");
            let input = packet.frame(GATEWAY_MAC, A_MAC);
            // Nothing there to queue in: fail closed.
            Case::drop("no shaper", node.a, input.clone(), "no_shaper").check(&node, &program);
        }
        node.datapath.set_config(&NodeConfig { shaper: Some(shaper), ..node.config.clone() }).unwrap();
        for f in families() {
            let packet = udp(f.a, f.b, b"hello");
            let input = packet.frame(GATEWAY_MAC, A_MAC);
            let (verdict, counted) = node.run(&program, node.a, 0, &input);
            assert_eq!((verdict.action, verdict.frame == input, counted.len()), (TC_ACT_REDIRECT, true, 0));
            assert_eq!(verdict.priority, 0x6d69_0007);
            // What the node and other Pods send does not.
            for (name, from, mac, packet) in [
                ("node", node.config.mido_ifindex, NODE_MAC, udp(f.node, f.b, b"hello")),
                ("another Pod", node.b, B_MAC, udp(f.b, f.a, b"hello")),
            ] {
                let to = if from == node.b { A_MAC } else { B_MAC };
                let output = forwarded(&packet, to, GATEWAY_MAC);
                Case::pass(name, from, packet.frame(GATEWAY_MAC, mac), "local", output)
                    .check(&node, &program);
            }
            // Out of the shaper it is like any other.
            let exit = shaper.exit;
            let mut cases = vec![
                Case::pass("to a Pod", exit, input, "local", forwarded(&packet, B_MAC, GATEWAY_MAC)),
                Case::drop("another's MAC", exit, packet.frame(GATEWAY_MAC, B_MAC), "port_not_bound"),
                Case::drop(
                    "nobody's",
                    exit,
                    udp(f.missing, f.b, b"x").frame(GATEWAY_MAC, A_MAC),
                    "port_not_bound",
                ),
            ];
            let external = udp(f.a, f.external, b"hello");
            let output = forwarded(&external, NODE_MAC, GATEWAY_MAC);
            cases.push(Case::pass("out", exit, external.frame(GATEWAY_MAC, A_MAC), "external", output));
            let last_hop = Ip { hops: 1, ..udp(f.a, f.b, &[7; 64]) };
            let error = error_about(&last_hop, f.gateway, (11, 0), (3, 0), 0);
            let input = last_hop.frame(GATEWAY_MAC, A_MAC);
            cases.push(Case::pass("an error", exit, input, "ttl_exceeded", error.frame(A_MAC, GATEWAY_MAC)));
            let ping = echo(f.a, f.gateway, false, b"hello");
            let pong = Ip { hops: 64, ..echo(f.gateway, f.a, true, b"hello") };
            let input = ping.frame(GATEWAY_MAC, A_MAC);
            cases.push(Case::pass("a ping", exit, input, "echo_reply", pong.frame(A_MAC, GATEWAY_MAC)));
            cases.iter().for_each(|case| case.check(&node, &program));
        }
        bind(&mut node, Limits::default());
        for f in families() {
            let packet = udp(f.a, f.b, b"hello");
            let output = forwarded(&packet, B_MAC, GATEWAY_MAC);
            let input = packet.frame(GATEWAY_MAC, A_MAC);
            Case::pass("no limit any more", node.a, input, "local", output).check(&node, &program);
        }
    });
}
