//! Services for hosts outside: what comes in at an uplink, what goes back there, and what other nodes see of it.

use std::net::IpAddr;

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::tunnel::*;
use crate::support::*;
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");

/// What outside clients reach: a NodePort, a hostPort, an address of a load balancer, one more of the node's.
fn frontends(p: &Parties) -> [(u8, End); 4] {
    let balancer = if p.own.is_ipv4() { "203.0.113.80" } else { "2001:db8:80::80" };
    [
        (SCOPE_NODE_PORT, (p.own, 30_080)),
        (SCOPE_HOST_PORT, (p.own, 8080)),
        (SCOPE_ADDRESS, (balancer.parse().unwrap(), 80)),
        (SCOPE_ADDRESS, (p.own, 81)),
    ]
}

#[test]
fn hosts_outside_reach_backends_everywhere_and_are_answered_by_what_they_asked() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().flat_map(|p| PROTOCOLS.map(|protocol| (p, protocol))) {
            let client = (p.client, 40_000);
            for (scope, front) in frontends(p) {
                for backend in [p.pods.b, p.pods.remote, p.own, p.other, p.pods.node] {
                    let backend = (backend, 9090);
                    // Another client's port, or it would be the same connection to the same backend.
                    let client = (client.0, client.1 + front.1 + u16::from(protocol));
                    scene.maps.serve(scope, protocol, front, &Service::new(1, &[backend]));
                    scene.maps.serve_port(protocol, front.1);
                    let sent = |from, to, flags| segment(protocol, from, to, flags, b"question");
                    let answer = |from, to| segment(protocol, from, to, SYN | ACK, b"answer");
                    let expected = after(1, answer(front, client));
                    // Twice, and once more when it is established.
                    for flags in [SYN, ACK, ACK] {
                        let verdict = scene.uplink_brings(&sent(client, front, flags));
                        if backend.0 == p.pods.b {
                            delivered(
                                &verdict,
                                "from_outside",
                                B_MAC,
                                &after(1, sent(client, backend, flags)),
                            );
                            sent_out(&scene.b_sends(&answer(backend, client)), &expected);
                        } else if backend.0 == p.pods.remote {
                            tunnelled(&verdict, PEER, &after(1, sent(client, backend, flags)));
                            sent_out(
                                &scene.tunnel_brings(PEER, &answer(backend, client)),
                                &answer(front, client),
                            );
                        } else if backend.0 == p.own {
                            passed(&verdict, "from_outside", &sent(client, backend, flags));
                            passed(
                                &scene.node_sends_out(&answer(backend, client)),
                                "",
                                &answer(front, client),
                            );
                        } else if backend.0 == p.pods.node {
                            delivered(
                                &verdict,
                                "from_outside",
                                NODE_MAC,
                                &after(1, sent(client, backend, flags)),
                            );
                            sent_out(&scene.node_sends(&answer(backend, client)), &expected);
                        } else {
                            let source = ends(&verdict.frame[14..]).0;
                            assert!(source.0 == p.own && (20_000..=29_999).contains(&source.1), "{source:?}");
                            sent_out(&verdict, &after(1, sent(source, backend, flags)));
                            sent_out(&scene.uplink_brings(&answer(backend, source)), &expected);
                        }
                    }
                    // The next backend is for the next connection.
                    for map in ["new_connections", "connections"] {
                        let mut map = scene.maps.hash::<40, 60>(map);
                        let keys: Vec<[u8; 40]> = map.keys().map(Result::unwrap).collect();
                        keys.iter().for_each(|key| map.remove(key).unwrap());
                    }
                }
            }
        }
    });
}

#[test]
fn what_is_for_no_service_passes_untouched() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let backend = (p.pods.b, 80);
            scene.maps.serve(SCOPE_NODE_PORT, TCP, (p.own, 30_080), &Service::new(1, &[backend]));
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.own, 8443), &Service::new(1, &[backend]));
            for port in [30_080, 8443, 22] {
                scene.maps.serve_port(TCP, port);
            }
            let from = (p.client, 40_000);
            for packet in [
                segment(TCP, from, (p.own, 22), SYN, b"x"),
                segment(TCP, from, (p.own, 443), SYN, b"x"),
                segment(UDP, from, (p.own, 30_080), 0, b"x"),
                segment(SCTP, from, (p.own, 30_080), 0, b"x"),
                segment(TCP, from, (p.other, 30_080), SYN, b"x"),
                segment(TCP, from, (p.pods.a, 30_080), SYN, b"x"),
                segment(TCP, from, (p.own, 25_000), SYN | ACK, b"x"),
                echo(p.client, p.own, false, b"ping"),
                error(p.client, p.own, (3, 3), &segment(TCP, (p.own, 1), from, 0, b"").bytes()),
            ] {
                let verdict = scene.uplink_brings(&packet);
                passed(&verdict, "", &packet);
                assert_eq!(verdict.frame, packet.frame(UPLINK_MAC, PEER_MAC), "{packet:?}");
                let packet = Ip { source: packet.destination, destination: packet.source, ..packet };
                passed(&scene.node_sends_out(&packet), "", &packet);
            }
            // For another host, and where no NodePorts are served.
            let packet = segment(TCP, from, (p.own, 30_080), SYN, b"x");
            let frame = packet.frame(PEER_MAC, UPLINK_MAC);
            let (verdict, counted) =
                scene.node.run(&scene.node.program("from_uplink"), scene.uplink, 0, &frame);
            assert_eq!((verdict.action, counted), (TCX_NEXT, vec![]));
            scene.maps.own(p.own, OWN_ADDRESS);
            passed(&scene.uplink_brings(&packet), "", &packet);
            scene.maps.own(p.own, OWN_ADDRESS | NODE_PORTS);
            assert_eq!(scene.uplink_brings(&packet).reason, "from_outside");
        }
        assert_eq!(scene.maps.hash::<40, 60>("new_connections").keys().count(), 4, "two connections");
    });
}

#[test]
fn the_outside_is_refused_or_dropped_by_what_it_asked() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (balancer, backend) = (frontends(&p)[2].1.0, (p.pods.b, 8080));
            let nobody = Service { flags: REFUSE, ..Service { number: 1, ..Service::default() } };
            let inside = Service { inside: vec![backend], ..Service { number: 1, ..Service::default() } };
            for protocol in PROTOCOLS {
                for (port, service) in [(30_001, &nobody), (30_002, &inside)] {
                    scene.maps.serve(SCOPE_NODE_PORT, protocol, (p.own, port), service);
                    scene.maps.serve(SCOPE_ADDRESS, protocol, (balancer, port), service);
                    scene.maps.serve_port(protocol, port);
                }
                scene.maps.serve_port(protocol, 30_003);
                for address in [p.own, balancer] {
                    let ask = |port| segment(protocol, (p.client, 40_000), (address, port), SYN, b"1234");
                    let refused = |port, reason| {
                        let verdict = scene.uplink_brings(&ask(port));
                        assert_eq!((verdict.action, verdict.reason), (TC_ACT_REDIRECT, reason));
                        assert_eq!(verdict.frame, refusal(&ask(port)).frame(PEER_MAC, UPLINK_MAC));
                    };
                    refused(30_001, "no_backend");
                    dropped(&scene.uplink_brings(&ask(30_002)), "no_local_backend");
                    if address == balancer {
                        refused(30_003, "service_port");
                    } else {
                        passed(&scene.uplink_brings(&ask(30_003)), "", &ask(30_003));
                    }
                }
            }
        }
    });
}

#[test]
fn source_ranges_and_hops_count_for_the_outside() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, range) in parties().into_iter().zip(["192.0.2.0/31", "2001:db8::/127"]) {
            let front = frontends(&p)[2].1;
            let service = Service { ranges: 3, ..Service::new(1, &[(p.pods.b, 80)]) };
            scene.maps.serve(SCOPE_ADDRESS, TCP, front, &service);
            scene.maps.serve_port(TCP, front.1);
            scene.maps.allow(3, range.parse().unwrap());
            let other: IpAddr = if p.own.is_ipv4() { "192.0.2.2" } else { "2001:db8::2" }.parse().unwrap();
            dropped(&scene.uplink_brings(&segment(TCP, (other, 1), front, SYN, b"")), "service_source");
            let packet = segment(TCP, (p.client, 1), front, SYN, b"");
            assert_eq!(scene.uplink_brings(&packet).reason, "from_outside");
            // Who has one hop left reaches the node itself, and no one behind it.
            let packet = Ip { hops: 1, ..segment(TCP, (p.client, 2), front, SYN, b"") };
            let verdict = scene.uplink_brings(&packet);
            let kind = if p.own.is_ipv4() { (11, 0) } else { (3, 0) };
            assert_eq!(verdict.reason, "ttl_exceeded");
            assert_eq!(verdict.frame, answer(&packet, kind).frame(PEER_MAC, UPLINK_MAC));
            scene.maps.serve(SCOPE_ADDRESS, TCP, front, &Service::new(1, &[(p.own, 80)]));
            let host = Ip { hops: 1, ..segment(TCP, (p.client, 2), (p.own, 80), SYN, b"") };
            passed(&scene.uplink_brings(&packet), "from_outside", &host);
        }
    });
}

/// Other nodes take a node's addresses and those of its Pods from that node alone: as clients from outside, without
/// masquerade, they are translated.
#[test]
fn another_nodes_processes_and_pods_reach_a_third_nodes_pod() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let other = if p.own.is_ipv4() { "203.0.113.66" } else { PEER6 };
            for address in [other.parse().unwrap(), p.other, p.pods.remote6] {
                let (client, front, backend) = ((address, 40_000), (p.own, 30_080), (p.pods.remote, 80));
                scene.maps.serve(SCOPE_NODE_PORT, TCP, front, &Service::new(1, &[backend]));
                scene.maps.serve_port(TCP, front.1);
                let verdict = scene.uplink_brings(&segment(TCP, client, front, SYN, b""));
                let source = ends(inner(&verdict.frame)).0;
                assert_eq!(source.0, p.own);
                tunnelled(&verdict, PEER, &after(1, segment(TCP, source, backend, SYN, b"")));
                let verdict = scene.tunnel_brings(PEER, &segment(TCP, backend, source, SYN | ACK, b""));
                sent_out(&verdict, &segment(TCP, front, client, SYN | ACK, b""));
                // To a Pod here it is who it is.
                scene.maps.serve(SCOPE_NODE_PORT, TCP, front, &Service::new(1, &[(p.pods.b, 80)]));
                let client = (address, 40_001);
                let verdict = scene.uplink_brings(&segment(TCP, client, front, SYN, b""));
                let expected = segment(TCP, client, (p.pods.b, 80), SYN, b"");
                delivered(&verdict, "from_outside", B_MAC, &after(1, expected));
            }
        }
    });
}

/// What the node of a backend sees of clients outside that came in at another node.
#[test]
fn the_backends_node_answers_through_the_tunnel_that_the_client_came_through() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let second = "198.51.100.9";
        scene.node.datapath.set_node(second.parse().unwrap(), Some(second.parse().unwrap())).unwrap();
        for (p, protocol) in parties().iter().flat_map(|p| PROTOCOLS.map(|protocol| (p, protocol))) {
            let (client, backend) = ((p.client, 40_000), (p.pods.a, 8080));
            let ask = |flags| segment(protocol, client, backend, flags, b"question");
            let answer = |flags| segment(protocol, backend, client, flags, b"answer");
            let from_pod = scene.a_sends(&Ip { destination: "192.0.2.77".parse().unwrap(), ..answer(ACK) });
            assert!(p.own.is_ipv6() || from_pod.reason == "external");
            for (peer, flags) in
                [(PEER, SYN), (PEER, ACK), (PEER, ACK), (second, ACK), (second, ACK), (PEER, ACK)]
            {
                delivered(&scene.tunnel_brings(peer, &ask(flags)), "direct_in", A_MAC, &ask(flags));
                tunnelled(&scene.a_sends(&answer(ACK)), peer, &after(1, answer(ACK)));
            }
            let kind = if p.own.is_ipv6() { (1, 4) } else { (3, 3) };
            let packet = error(p.pods.a, p.client, kind, &ask(ACK).bytes());
            tunnelled(&scene.a_sends(&packet), PEER, &after(1, packet));
            let packet = error(p.client, p.pods.a, kind, &after(1, answer(ACK)).bytes());
            delivered(&scene.tunnel_brings(PEER, &packet), "direct_in", A_MAC, &packet);
            // By the device, too.
            let frame = ask(ACK).frame(OVERLAY_MAC, GATEWAY_MAC);
            delivered(&scene.overlay.process(&scene.node, PEER, VNI, &frame), "overlay_in", A_MAC, &ask(ACK));
        }
    });
}

#[test]
fn only_nodes_that_serve_services_bring_clients_from_outside() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let ask = |from: IpAddr, to: IpAddr| segment(TCP, (from, 40_000), (to, 8080), SYN, b"");
            dropped(&scene.tunnel_brings("203.0.113.5", &ask(p.client, p.pods.a)), "overlay_source");
            dropped(&scene.tunnel_brings(OWN, &ask(p.client, p.pods.a)), "overlay_source");
            for source in [p.vip, p.unallocated, p.pods.unserved, p.pods.missing, p.pods.b, p.own] {
                dropped(&scene.tunnel_brings(PEER, &ask(source, p.pods.a)), "overlay_source");
            }
            // Only to Pods, and not back out.
            for destination in [p.pods.node, p.own] {
                dropped(&scene.tunnel_brings(PEER, &ask(p.client, destination)), "overlay_source");
            }
            for destination in [p.client, p.pods.remote, p.pods.missing, p.vip] {
                dropped(&scene.tunnel_brings(PEER, &ask(p.client, destination)), "overlay_unknown");
            }
        }
        scene.node.config.services = false;
        scene.node.datapath.set_config(&scene.node.config).unwrap();
        for p in parties() {
            let packet = segment(TCP, (p.client, 40_000), (p.pods.a, 8080), SYN, b"");
            dropped(&scene.tunnel_brings(PEER, &packet), "overlay_source");
        }
    });
}

/// A client outside with one port for two ways to one Pod: no answer of one goes the other's way.
#[test]
fn one_tuple_is_one_connection() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (front, backend) = ((p.own, 30_080), (p.pods.b, 8080));
            scene.maps.serve(SCOPE_NODE_PORT, TCP, front, &Service::new(1, &[backend]));
            scene.maps.serve_port(TCP, front.1);
            let answer = |from, to| segment(TCP, from, to, SYN | ACK, b"");
            // Through another node first, then through this one: the port is another.
            let client = (p.client, 40_000);
            scene.tunnel_brings(PEER, &segment(TCP, client, backend, SYN, b""));
            let verdict = scene.uplink_brings(&segment(TCP, client, front, SYN, b""));
            let source = ends(&verdict.frame[14..]).0;
            assert!((20_000..=29_999).contains(&source.1));
            sent_out(&scene.b_sends(&answer(backend, source)), &after(1, answer(front, client)));
            tunnelled(&scene.b_sends(&answer(backend, client)), PEER, &after(1, answer(backend, client)));
            // The other way round there is no place for the tunnel: refused, not mixed up.
            let client = (p.client, 50_000);
            scene.uplink_brings(&segment(TCP, client, front, SYN, b""));
            dropped(&scene.tunnel_brings(PEER, &segment(TCP, client, backend, SYN, b"")), "no_port");
            sent_out(&scene.b_sends(&answer(backend, client)), &after(1, answer(front, client)));
        }
    });
}

/// The outside can write any source: no packet of it takes a connection from a Pod.
#[test]
fn a_forged_source_ends_no_connection() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (client, front) = ((p.pods.a, 40_000), (p.own, 30_080));
            scene.maps.serve(SCOPE_NODE_PORT, TCP, front, &Service::new(1, &[(p.pods.b, 8080)]));
            scene.maps.serve_port(TCP, front.1);
            scene.a_sends(&segment(TCP, client, front, SYN, b""));
            let entries = || {
                let map = scene.maps.hash::<40, 60>("new_connections");
                let mut entries: Vec<_> = map.iter().map(|entry| entry.unwrap().0).collect();
                entries.sort_unstable();
                entries
            };
            let before = entries();
            let forged = segment(TCP, client, front, SYN, b"");
            passed(&scene.uplink_brings(&forged), "", &forged);
            assert_eq!(entries(), before);
            let answer = segment(TCP, (p.pods.b, 8080), client, SYN | ACK, b"");
            let expected = after(1, segment(TCP, front, client, SYN | ACK, b""));
            delivered(&scene.b_sends(&answer), "local", A_MAC, &expected);
        }
    });
}
