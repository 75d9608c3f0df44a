//! Services for Pods and for the node's own processes: where a connection's packets go, and what they look like there.

use std::net::IpAddr;

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use datapath::policy::OPEN;
use datapath::{Limits, Port, Role};
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");

/// The source port that a packet got from the range of the configuration.
fn translated_port(packet: &[u8]) -> u16 {
    let port = ends(packet).0.1;
    assert!((20_000..=29_999).contains(&port), "{port}");
    port
}

#[test]
fn a_pod_reaches_backends_everywhere_and_is_answered_by_the_service() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            for (protocol, number) in PROTOCOLS.into_iter().zip(1..) {
                let pods = p.pods;
                let (client, backend) = ((pods.a, 40_000), |address| (address, 8080));
                let vip = |port| (p.vip, port);
                for (port, address) in [
                    (1, pods.b),
                    (2, pods.remote),
                    (3, pods.a),
                    (4, p.own),
                    (5, p.other),
                    (6, p.client),
                    (7, pods.node),
                ] {
                    scene.maps.serve(
                        SCOPE_ADDRESS,
                        protocol,
                        vip(port),
                        &Service::new(number, &[backend(address)]),
                    );
                }
                let sent = |from, to| segment(protocol, from, to, SYN, b"question");
                let answer = |from, to| segment(protocol, from, to, SYN | ACK, b"answer");
                let ask = |port| scene.a_sends(&sent(client, vip(port)));
                let answered = |verdict: &Verdict, reason, hops, port| {
                    delivered(verdict, reason, A_MAC, &after(hops, answer(vip(port), client)));
                };

                delivered(&ask(1), "local", B_MAC, &after(1, sent(client, backend(pods.b))));
                answered(&scene.b_sends(&answer(backend(pods.b), client)), "local", 1, 1);

                tunnelled(&ask(2), PEER, &after(1, sent(client, backend(pods.remote))));
                let verdict = scene.tunnel_brings(PEER, &answer(backend(pods.remote), client));
                answered(&verdict, "direct_in", 0, 2);

                // Itself, which does not take packets from itself.
                let itself = (pods.gateway, 40_000);
                delivered(&ask(3), "local", A_MAC, &after(1, sent(itself, backend(pods.a))));
                answered(&scene.a_sends(&answer(backend(pods.a), itself)), "local", 1, 3);

                for (port, host) in [(4, p.own), (7, pods.node)] {
                    delivered(&ask(port), "to_node", NODE_MAC, &after(1, sent(client, backend(host))));
                    answered(&scene.node_sends(&answer(backend(host), client)), "local", 1, port);
                }

                for (port, host) in [(5, p.other), (6, p.client)] {
                    let verdict = ask(port);
                    let source = (p.own, translated_port(&verdict.frame[14..]));
                    sent_out(&verdict, &after(1, sent(source, backend(host))));
                    let verdict = scene.uplink_brings(&answer(backend(host), source));
                    answered(&verdict, "from_outside", 1, port);
                }
                assert_eq!(scene.maps.counts(number).1, 0);
            }
            assert_eq!(scene.maps.counts(1).0, 7 * if p.vip.is_ipv4() { 1 } else { 2 });
        }
    });
}

#[test]
fn the_device_gets_translated_packets_too() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (client, backend, vip) = ((p.pods.a, 40_000), (p.pods.remote6, 53), (p.vip, 53));
            scene.maps.serve(SCOPE_ADDRESS, UDP, vip, &Service::new(1, &[backend]));
            let verdict = scene.a_sends(&segment(UDP, client, vip, 0, b"question"));
            let expected = after(1, segment(UDP, client, backend, 0, b"question"));
            delivered(&verdict, "overlay_out", OVERLAY_MAC, &expected);
            let answer = segment(UDP, backend, client, 0, b"answer").frame(OVERLAY_MAC, GATEWAY_MAC);
            let verdict = scene.overlay.process(&scene.node, PEER6, VNI, &answer);
            delivered(&verdict, "overlay_in", A_MAC, &segment(UDP, vip, client, 0, b"answer"));
        }
    });
}

#[test]
fn a_process_of_the_node_reaches_backends_everywhere() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            for (protocol, client) in PROTOCOLS.into_iter().flat_map(|x| [(x, p.pods.node), (x, p.own)]) {
                let pods = p.pods;
                let (client, backend) = ((client, 40_000), |address| (address, 8080));
                let vip = |port| (p.vip, port);
                for (port, address) in
                    [(1, pods.b), (2, pods.remote), (3, pods.node), (4, p.own), (5, p.other)]
                {
                    scene.maps.serve(
                        SCOPE_ADDRESS,
                        protocol,
                        vip(port),
                        &Service::new(1, &[backend(address)]),
                    );
                }
                let sent = |from, to| segment(protocol, from, to, SYN, b"question");
                let answer = |from, to| segment(protocol, from, to, SYN | ACK, b"answer");
                let ask = |port| scene.node_sends(&sent(client, vip(port)));
                let answered = |verdict: &Verdict, reason, hops, port| {
                    delivered(verdict, reason, NODE_MAC, &after(hops, answer(vip(port), client)));
                };

                delivered(&ask(1), "local", B_MAC, &after(1, sent(client, backend(pods.b))));
                answered(&scene.b_sends(&answer(backend(pods.b), client)), "to_node", 1, 1);
                tunnelled(&ask(2), PEER, &after(1, sent(client, backend(pods.remote))));
                let verdict = scene.tunnel_brings(PEER, &answer(backend(pods.remote), client));
                answered(&verdict, "direct_in", 0, 2);
                // The node's stack takes no packet from itself.
                for (port, host) in [(3, pods.node), (4, p.own)] {
                    let verdict = ask(port);
                    let source = ends(&verdict.frame[14..]).0;
                    assert_eq!(source.0, pods.gateway);
                    delivered(&verdict, "to_node", NODE_MAC, &after(1, sent(source, backend(host))));
                    answered(&scene.node_sends(&answer(backend(host), source)), "to_node", 1, port);
                }
                let verdict = ask(5);
                let source = (p.own, translated_port(&verdict.frame[14..]));
                sent_out(&verdict, &after(1, sent(source, backend(p.other))));
                // Past the uplink: where a Service's address comes from there, a strict check of sources refuses it.
                answered(&scene.uplink_brings(&answer(backend(p.other), source)), "from_outside", 1, 5);
            }
        }
    });
}

#[test]
fn node_ports_and_host_ports_are_reached_from_inside() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let pods = p.pods;
            let backend = (pods.b, 8080);
            for (scope, port) in [(SCOPE_NODE_PORT, 30_080), (SCOPE_HOST_PORT, 8080)] {
                scene.maps.serve(scope, TCP, (p.vip, port), &Service::new(1, &[backend]));
                scene.maps.serve_port(TCP, port);
            }
            let sent = |from, to| segment(TCP, from, to, SYN, b"");
            let client = (pods.a, 40_000);
            for (at, port, reason) in [
                (p.own, 30_080, "local"),
                (p.other, 30_080, "local"),
                (p.own, 8080, "local"),
                // Another node's hostPorts are its own matter, other ports the host's.
                (p.other, 8080, "external"),
                (p.own, 30_081, "external"),
                (p.client, 30_080, "external"),
                (pods.node, 30_080, "to_node"),
                (pods.b, 30_080, "local"),
            ] {
                let verdict = scene.a_sends(&sent(client, (at, port)));
                assert_eq!(verdict.reason, reason, "{at} {port}");
                if reason == "local" && at != pods.b {
                    // The same backend for the same client's port: one of them gets another port.
                    let source = ends(&verdict.frame[14..]).0;
                    delivered(&verdict, "local", B_MAC, &after(1, sent(source, backend)));
                    let answer = scene.b_sends(&segment(TCP, backend, source, SYN | ACK, b""));
                    let expected = after(1, segment(TCP, (at, port), client, SYN | ACK, b""));
                    delivered(&answer, "local", A_MAC, &expected);
                }
            }
            // The node's own processes: nftables gives them the gateway's address.
            for (port, reason) in [(30_080, "local"), (8080, "local"), (30_081, "gateway_other")] {
                let verdict = scene.node_sends(&sent((pods.node, port), (pods.gateway, port)));
                assert_eq!(verdict.reason, reason, "{port}");
            }
            // An own address without NodePorts still has hostPorts.
            scene.maps.own(p.own, OWN_ADDRESS);
            let port = |port| scene.a_sends(&sent((pods.a, 50_000), (p.own, port))).reason;
            assert_eq!([port(30_080), port(8080)], ["external", "local"]);
            scene.maps.own(p.own, OWN_ADDRESS | NODE_PORTS);
        }
    });
}

#[test]
fn what_nobody_serves_is_refused_or_dropped() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, number) in parties().into_iter().zip([1, 2]) {
            let backend = (p.pods.b, 8080);
            let nobody = Service { number, flags: REFUSE, ..Service::default() };
            let elsewhere = Service { outside: vec![backend], ..Service { number, ..Service::default() } };
            for protocol in PROTOCOLS {
                scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, 1), &nobody);
                scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, 2), &elsewhere);
                let ask = |to| {
                    let packet = segment(protocol, (p.pods.a, 40_000), to, SYN, b"1234");
                    (scene.a_sends(&packet), packet)
                };
                for (port, reason) in [(1, "no_backend"), (3, "service_port")] {
                    let (verdict, packet) = ask((p.vip, port));
                    delivered(&verdict, reason, A_MAC, &refusal(&packet));
                }
                dropped(&ask((p.vip, 2)).0, "no_local_backend");
                dropped(&ask((p.unallocated, 1)).0, "service_address");
            }
            assert_eq!(scene.maps.counts(number), (0, 6));
            dropped(&scene.a_sends(&echo(p.pods.a, p.vip, false, b"ping")), "service_address");
            assert_eq!(
                scene.maps.hash::<40, 60>("new_connections").keys().count(),
                0,
                "nothing is kept of it"
            );
        }
    });
}

#[test]
fn source_ranges_hold_for_everybody() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, range) in parties().into_iter().zip(["10.1.0.2/31", "fd01::2/127"]) {
            let service = Service { ranges: 7, ..Service::new(1, &[(p.pods.remote, 80)]) };
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 80), &service);
            scene.maps.allow(7, range.parse().unwrap());
            let ask = |address| segment(TCP, (address, 40_000), (p.vip, 80), SYN, b"");
            assert_eq!(scene.a_sends(&ask(p.pods.a)).reason, "direct_out");
            assert_eq!(scene.node_sends(&ask(p.pods.node)).reason, "direct_out");
            dropped(&scene.b_sends(&ask(p.pods.b)), "service_source");
        }
        assert_eq!(scene.maps.counts(1), (4, 2));
    });
}

#[test]
fn no_service_where_another_proxy_serves_them() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        scene.node.config.services = false;
        scene.node.datapath.set_config(&scene.node.config).unwrap();
        for p in parties() {
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.client, 80), &Service::new(1, &[(p.pods.b, 80)]));
            scene.maps.serve_port(TCP, 80);
            let packet = segment(TCP, (p.pods.a, 40_000), (p.client, 80), SYN, b"");
            delivered(&scene.a_sends(&packet), "external", NODE_MAC, &after(1, packet));
            let packet = segment(TCP, ("192.0.2.9".parse().unwrap(), 40_000), (p.client, 80), SYN, b"");
            if p.client.is_ipv4() {
                passed(&scene.uplink_brings(&packet), "", &packet);
            }
        }
    });
}

/// A Pod's packets must not become another node's tunnel packets by a detour through a Service.
#[test]
fn no_service_leads_into_another_nodes_tunnel() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            for other in [p.other, p.client] {
                scene.maps.serve(SCOPE_ADDRESS, UDP, (p.vip, 1), &Service::new(1, &[(other, TUNNEL_PORT)]));
                let packet = segment(UDP, (p.pods.a, 40_000), (p.vip, 1), 0, &[0; 64]);
                dropped(&scene.a_sends(&packet), "tunnel_from_pod");
            }
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 1), &Service::new(1, &[(p.other, TUNNEL_PORT)]));
            let packet = segment(TCP, (p.pods.a, 40_000), (p.vip, 1), SYN, b"");
            assert_eq!(scene.a_sends(&packet).reason, "outside", "VXLAN is UDP");
        }
    });
}

#[test]
fn a_node_without_an_address_of_the_family_reaches_nobody_outside() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        (scene.node.config.node_address4, scene.node.config.node_address6) = (None, None);
        scene.node.datapath.set_config(&scene.node.config).unwrap();
        for p in parties() {
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 1), &Service::new(1, &[(p.client, 80)]));
            let packet = segment(TCP, (p.pods.a, 40_000), (p.vip, 1), SYN, b"");
            dropped(&scene.a_sends(&packet), "outside_unreachable");
        }
    });
}

/// Of a range that another node has by now: its answers come to this node all the same.
#[test]
fn a_pod_with_an_address_outside_the_nodes_ranges_reaches_services() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        run("ip", "link add name stale type veth peer name stale-peer");
        let (ifindex, mac) = (ifindex("stale"), [2, 0, 0, 0, 0, 0xcc]);
        let addresses = parties().map(|p| p.pods.remote).to_vec();
        let port =
            Port { ifindex, mac, addresses, role: Role::Outside, limits: Limits::default(), set: OPEN };
        scene.node.datapath.bind(&port).unwrap();
        for p in parties() {
            let client = (p.pods.remote, 40_000);
            let answer = |from, to| segment(TCP, from, to, SYN | ACK, b"answer");
            for (port, backend) in [(1, p.pods.b), (2, p.pods.remote6)] {
                let (vip, backend) = ((p.vip, port), (backend, 8080));
                scene.maps.serve(SCOPE_ADDRESS, TCP, vip, &Service::new(1, &[backend]));
                let verdict = scene.endpoint_sends(ifindex, mac, &segment(TCP, client, vip, SYN, b""));
                if port == 1 {
                    delivered(&verdict, "local", B_MAC, &after(1, segment(TCP, client, backend, SYN, b"")));
                    let verdict = scene.b_sends(&answer(backend, client));
                    delivered(&verdict, "local", mac, &after(1, answer(vip, client)));
                    continue;
                }
                let source = (p.pods.gateway, 40_000);
                let expected = after(1, segment(TCP, source, backend, SYN, b""));
                delivered(&verdict, "overlay_out", OVERLAY_MAC, &expected);
                let frame = answer(backend, source).frame(OVERLAY_MAC, GATEWAY_MAC);
                let verdict = scene.overlay.process(&scene.node, PEER6, VNI, &frame);
                delivered(&verdict, "overlay_in", mac, &answer(vip, client));
            }
        }
    });
}

#[test]
fn backends_that_are_no_place_to_send_packets_get_none() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, [loopback, multicast, unserved]) in parties()
            .into_iter()
            .zip([["127.0.0.1", "224.0.0.1", "10.1.9.9"], ["::1", "ff02::1", "fd01:0:0:9::9"]])
        {
            let ip = |text: &str| text.parse::<IpAddr>().unwrap();
            for (address, reason) in [
                (ip(loopback), "not_routable"),
                (ip(multicast), "multicast"),
                (ip(unserved), "unreachable"),
                (p.pods.missing, "no_endpoint"),
                (p.pods.gateway, "gateway_other"),
                (p.unallocated, "service_address"),
            ] {
                scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 1), &Service::new(1, &[(address, 80)]));
                let packet = segment(TCP, (p.pods.a, 40_000), (p.vip, 1), SYN, b"");
                assert_eq!(scene.a_sends(&packet).reason, reason, "{address}");
            }
        }
    });
}
