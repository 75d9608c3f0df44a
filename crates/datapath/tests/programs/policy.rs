//! Policy, on single packets: what passes at each hook, what does not, and what is counted.

mod connections;
mod fragments;
mod rejects;

use crate::support::packets::*;
use crate::support::policy::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use datapath::policy::Origin;
use datapath::{Datapath, Protocol};
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");
const CLIENT: u16 = 40_000;
const SERVER: u16 = 8080;

/// Classes of the tests.
const POD_B: u32 = 2;
const REMOTE: u32 = 3;
const OUTSIDE: u32 = 4;

/// A draft in which everybody has a class, in both families.
fn draft() -> Draft {
    let mut draft = Draft::new();
    for p in parties() {
        draft = draft.address(p.pods.b, POD_B).address(p.pods.remote, REMOTE);
    }
    draft.block("192.0.2.0/24", OUTSIDE).block("2001:db8::/64", OUTSIDE)
}

/// Denied but for a class, under rules.
fn only(class: u32, rule: u32, denied: u32) -> Table {
    Table(all(deny(denied)), vec![(class, all(allow(rule)))])
}

fn nothing(rule: u32) -> Table {
    Table(all(deny(rule)), vec![])
}

fn sent(protocol: u8, from: End, to: End) -> Ip {
    segment(protocol, from, to, SYN, b"question")
}

fn answer(protocol: u8, from: End, to: End) -> Ip {
    segment(protocol, from, to, SYN | ACK, b"answer")
}

/// How many entries the tables of connections have.
fn connections(scene: &Scene) -> usize {
    ["new_connections", "connections"].map(|name| scene.maps.hash::<40, 60>(name).keys().count()).iter().sum()
}

fn count(scene: &Scene, rule: u32) -> [u64; 3] {
    counts(&scene.node.datapath, rule)
}

/// To the Pods of which the draft says nothing no policy applies.
fn apply(scene: &mut Scene, mut draft: Draft) {
    for pod in [scene.node.a, scene.node.b] {
        if draft.0.sets.iter().all(|(ifindex, _)| *ifindex != pod) {
            draft.0.sets.push((pod, datapath::policy::OPEN));
        }
    }
    draft.apply(&mut scene.node.datapath);
}

/// To the Pods of which the draft says nothing it is not known what applies.
fn apply_closed(scene: &mut Scene, draft: Draft) {
    draft.apply(&mut scene.node.datapath);
}

/// For each family and each protocol with ports.
fn each(scene: &mut Scene, mut test: impl FnMut(&mut Scene, &Parties, u8)) {
    for p in parties() {
        for protocol in PROTOCOLS {
            test(scene, &p, protocol);
            scene.node.datapath.policy_off().unwrap();
            for name in ["new_connections", "connections"] {
                let mut map = scene.maps.hash::<40, 60>(name);
                let keys: Vec<[u8; 40]> = map.keys().map(Result::unwrap).collect();
                keys.iter().for_each(|key| map.remove(key).unwrap());
            }
        }
    }
}

fn sandboxed(test: impl FnOnce(&mut Scene) + Send) {
    sandbox(|bpffs| test(&mut Scene::new(bpffs, OBJECT)));
}

#[test]
fn a_pod_sends_only_where_it_may() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (client, b) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
            let (a, from) = (scene.node.a, |to| sent(protocol, client, to));
            apply(scene, draft().pod(a, open(), only(POD_B, 1, 2)));
            delivered(&scene.a_sends(&from(b)), "local", B_MAC, &after(1, from(b)));
            delivered(
                &scene.b_sends(&answer(protocol, b, client)),
                "local",
                A_MAC,
                &after(1, answer(protocol, b, client)),
            );
            assert_eq!((count(scene, 1), connections(scene)), ([1, 0, 0], 1));
            // A second packet is no second connection.
            delivered(&scene.a_sends(&from(b)), "local", B_MAC, &after(1, from(b)));
            assert_eq!(count(scene, 1), [1, 0, 0]);
            for (number, to) in
                (1..).zip([p.pods.remote, p.pods.node, p.own, p.other, p.client, p.pods.missing])
            {
                dropped(&scene.a_sends(&from((to, SERVER))), "policy_egress");
                assert_eq!((count(scene, 2), connections(scene)), ([0, number, 0], 1), "no entry for {to}");
            }
            // The other Pod has no policy.
            let packet = sent(protocol, (p.pods.b, 1), (p.pods.remote, 2));
            tunnelled(&scene.b_sends(&packet), PEER, &after(1, packet));
        });
    });
}

#[test]
fn what_comes_to_a_pod_is_judged_by_the_real_client() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (b, server) = (scene.node.b, (p.pods.b, SERVER));
            let from = |from| sent(protocol, (from, CLIENT), server);
            scene.maps.serve(SCOPE_NODE_PORT, protocol, (p.own, 30_000), &Service::new(9, &[server]));
            scene.maps.serve_port(protocol, 30_000);
            let outside = sent(protocol, (p.client, CLIENT), (p.own, 30_000));
            let tunnel = |scene: &Scene, packet: &Ip| scene.tunnel_brings(PEER, packet);
            apply(scene, draft().pod(b, only(REMOTE, 1, 2), open()));
            delivered(&tunnel(scene, &from(p.pods.remote)), "direct_in", B_MAC, &from(p.pods.remote));
            dropped(&scene.a_sends(&from(p.pods.a)), "policy_ingress");
            dropped(&scene.uplink_brings(&outside), "policy_ingress");
            // Another node is an address like others.
            dropped(&tunnel(scene, &from(p.other)), "policy_ingress");
            assert_eq!((count(scene, 1), count(scene, 2)), ([1, 0, 0], [0, 3, 0]));
            assert_eq!(connections(scene), 1);

            apply(scene, draft().pod(b, only(OUTSIDE, 3, 4), open()));
            let arrived = after(1, sent(protocol, (p.client, CLIENT), server));
            delivered(&scene.uplink_brings(&outside), "from_outside", B_MAC, &arrived);
            // What the node's stack forwards keeps its source; and what another node sent on for a Service, too.
            let forwarded = sent(protocol, (p.client, 7), server);
            delivered(&scene.node_sends(&forwarded), "local", B_MAC, &after(1, forwarded));
            let sent_on = sent(protocol, (p.client, 8), server);
            delivered(&tunnel(scene, &sent_on), "direct_in", B_MAC, &sent_on);
            // The connection from before the change does not go on.
            dropped(&tunnel(scene, &from(p.pods.remote)), "policy_ingress");
        });
    });
}

#[test]
fn the_own_node_reaches_every_pod_and_no_other_node_does() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (b, server) = (scene.node.b, (p.pods.b, SERVER));
            for closed in [false, true] {
                if closed {
                    apply_closed(scene, draft());
                } else {
                    apply(scene, draft().pod(b, nothing(1), nothing(2)));
                }
                for (port, own) in (CLIENT + 10 * u16::from(closed)..).zip([p.pods.node, p.own]) {
                    let (probe, reply) =
                        (sent(protocol, (own, port), server), answer(protocol, server, (own, port)));
                    delivered(&scene.node_sends(&probe), "local", B_MAC, &after(1, probe.clone()));
                    let way = if own == p.own { "external" } else { "to_node" };
                    delivered(&scene.b_sends(&reply), way, NODE_MAC, &after(1, reply));
                    delivered(&scene.node_sends(&probe), "local", B_MAC, &after(1, probe));
                }
                let reasons =
                    if closed { ["policy_unknown"; 2] } else { ["policy_ingress", "policy_egress"] };
                for (node, from) in [(p.pods.remote, PEER), (p.other, PEER)] {
                    let probe = sent(protocol, (node, CLIENT), server);
                    dropped(&scene.tunnel_brings(from, &probe), reasons[0]);
                }
                for own in [p.pods.node, p.own] {
                    dropped(&scene.b_sends(&sent(protocol, server, (own, 9))), reasons[1]);
                }
            }
            // A change judges what is established again, and lets it pass again.
            let (probe, reply) =
                (sent(protocol, (p.own, CLIENT + 1), server), answer(protocol, server, (p.own, CLIENT + 1)));
            apply(scene, draft().pod(b, nothing(1), nothing(2)));
            delivered(&scene.b_sends(&reply), "external", NODE_MAC, &after(1, reply));
            delivered(&scene.node_sends(&probe), "local", B_MAC, &after(1, probe));
        });
    });
}

#[test]
fn between_two_pods_both_have_to_let_it_pass() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (a, b) = (scene.node.a, scene.node.b);
            let packet = sent(protocol, (p.pods.a, CLIENT), (p.pods.b, SERVER));
            let closed =
                |allowed: bool, rule| if allowed { Table(all(allow(rule)), vec![]) } else { nothing(rule) };
            for (egress, ingress, reason) in [
                (false, false, "policy_egress"),
                (false, true, "policy_egress"),
                (true, false, "policy_ingress"),
                (true, true, "local"),
            ] {
                let pods =
                    draft().pod(a, nothing(1), closed(egress, 2)).pod(b, closed(ingress, 3), nothing(4));
                apply(scene, pods);
                assert_eq!(scene.a_sends(&packet).reason, reason);
            }
            // What it is answered passes, though neither may begin a connection in that direction.
            let reply = answer(protocol, (p.pods.b, SERVER), (p.pods.a, CLIENT));
            delivered(&scene.b_sends(&reply), "local", A_MAC, &after(1, reply));
            dropped(&scene.b_sends(&sent(protocol, (p.pods.b, SERVER), (p.pods.a, 9))), "policy_egress");
        });
    });
}

#[test]
fn ports_decide_and_what_has_none_is_judged_by_the_rest() {
    sandboxed(|scene| {
        for p in parties() {
            let (a, to) = (scene.node.a, p.pods.remote);
            let tcp_only = ports(
                deny(1),
                &[
                    (Protocol::Tcp, 80, 80, allow(2)),
                    (Protocol::Tcp, 1000, 1999, allow(3)),
                    (Protocol::Udp, 53, 53, allow(4)),
                ],
            );
            apply(scene, draft().pod(a, open(), Table(tcp_only, vec![])));
            let sends = |scene: &Scene, protocol, port| {
                let passes = scene.a_sends(&sent(protocol, (p.pods.a, CLIENT), (to, port))).reason;
                assert!(["direct_out", "policy_egress"].contains(&passes), "{passes}");
                passes == "direct_out"
            };
            for (protocol, port, passes) in [
                (TCP, 80, true),
                (TCP, 79, false),
                (TCP, 81, false),
                (TCP, 999, false),
                (TCP, 1000, true),
                (TCP, 1999, true),
                (TCP, 2000, false),
                (UDP, 53, true),
                (UDP, 80, false),
                (SCTP, 80, false),
            ] {
                assert_eq!(sends(scene, protocol, port), passes, "{protocol} {port}");
            }
            dropped(&scene.a_sends(&echo(p.pods.a, to, false, b"ping")), "policy_egress");
            let other = Ip::new(p.pods.a, to, 47, vec![0; 32]);
            dropped(&scene.a_sends(&other), "policy_egress");

            let not_tcp = ports(allow(5), &[(Protocol::Tcp, 0, 65_535, deny(6))]);
            apply(scene, draft().pod(a, open(), Table(not_tcp, vec![])));
            assert!(!sends(scene, TCP, 80) && sends(scene, UDP, 53) && sends(scene, SCTP, 80));
            assert_eq!(scene.a_sends(&echo(p.pods.a, to, false, b"ping")).reason, "direct_out");
            assert_eq!(scene.tunnel_brings(PEER, &echo(to, p.pods.a, true, b"ping")).reason, "direct_in");
            // Each packet of what has no connection is counted.
            let before = count(scene, 5)[0];
            for number in 1..=3 {
                assert_eq!(scene.a_sends(&other).reason, "direct_out");
                assert_eq!(count(scene, 5)[0], before + number);
            }
            // A Pod's own other protocol comes only as far as the other one lets it.
            apply(scene, draft().pod(scene.node.b, nothing(7), open()));
            dropped(&scene.a_sends(&Ip::new(p.pods.a, p.pods.b, 47, vec![0; 32])), "policy_ingress");
            dropped(&scene.a_sends(&echo(p.pods.a, p.pods.b, false, b"ping")), "policy_ingress");
        }
    });
}

#[test]
fn a_service_is_judged_by_its_backend() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (a, client, vip) = (scene.node.a, (p.pods.a, CLIENT), (p.vip, 80));
            let backends = [(p.pods.b, SERVER), (p.pods.remote, SERVER)];
            for (port, backend) in (80..).zip(backends) {
                scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, port), &Service::new(3, &[backend]));
            }
            let vips = if p.vip.is_ipv4() { "10.96.0.0/16" } else { "fd96::/112" };
            // Whoever names the Service's address names nobody.
            apply(scene, draft().block(vips, 9).pod(a, open(), only(9, 1, 2)));
            dropped(&scene.a_sends(&sent(protocol, client, vip)), "policy_egress");
            // By the backend's own port.
            let by_port = |port| {
                Table(
                    ports(
                        deny(3),
                        &[
                            (Protocol::ALL[0], port, port, allow(4)),
                            (Protocol::ALL[1], port, port, allow(4)),
                            (Protocol::ALL[2], port, port, allow(4)),
                        ],
                    ),
                    vec![],
                )
            };
            apply(scene, draft().pod(a, open(), by_port(80)));
            dropped(&scene.a_sends(&sent(protocol, client, vip)), "policy_egress");
            apply(scene, draft().pod(a, open(), by_port(SERVER)));
            delivered(
                &scene.a_sends(&sent(protocol, client, vip)),
                "local",
                B_MAC,
                &after(1, sent(protocol, client, backends[0])),
            );

            apply(scene, draft().pod(a, open(), only(POD_B, 5, 6)).pod(scene.node.b, nothing(7), nothing(8)));
            dropped(&scene.a_sends(&sent(protocol, client, vip)), "policy_ingress");
            dropped(&scene.a_sends(&sent(protocol, client, (p.vip, 81))), "policy_egress");
            // What is on its way is judged again by the same ends: the question, and the answer.
            apply(scene, draft().pod(a, open(), only(REMOTE, 9, 10)));
            dropped(&scene.a_sends(&sent(protocol, client, vip)), "policy_egress");
            dropped(&scene.b_sends(&answer(protocol, backends[0], client)), "policy_egress");
            apply(scene, draft().pod(a, nothing(1), only(POD_B, 11, 12)));
            let reply = answer(protocol, backends[0], client);
            delivered(&scene.b_sends(&reply), "local", A_MAC, &after(1, answer(protocol, vip, client)));
            delivered(
                &scene.a_sends(&sent(protocol, client, vip)),
                "local",
                B_MAC,
                &after(1, sent(protocol, client, backends[0])),
            );
        });
    });
}

#[test]
fn a_pod_reaches_itself_through_its_service_unless_an_administrator_forbids() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (a, client, vip) = (scene.node.a, (p.pods.a, CLIENT), (p.vip, 80));
            scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(3, &[(p.pods.a, SERVER)]));
            let forbid = |origin| Table(all(by(origin, deny(1))), vec![]);
            let packet = sent(protocol, client, vip);
            let arrived = after(1, sent(protocol, (p.pods.gateway, CLIENT), (p.pods.a, SERVER)));
            let reply = answer(protocol, (p.pods.a, SERVER), (p.pods.gateway, CLIENT));
            let replied = after(1, answer(protocol, vip, client));
            for origin in [Origin::NetworkPolicy, Origin::Nothing, Origin::Admin, Origin::Baseline] {
                let passes = [Origin::NetworkPolicy, Origin::Nothing].contains(&origin);
                for (ingress, egress, reason) in
                    [(forbid(origin), open(), "policy_ingress"), (open(), forbid(origin), "policy_egress")]
                {
                    apply(scene, draft().pod(a, ingress, egress));
                    // The first time as a new connection, then as one that is judged again.
                    let (asked, answered) = (scene.a_sends(&packet), scene.a_sends(&reply));
                    if passes {
                        delivered(&asked, "local", A_MAC, &arrived);
                        delivered(&answered, "local", A_MAC, &replied);
                    } else {
                        dropped(&asked, reason);
                        dropped(&answered, reason);
                    }
                }
            }
            // By its own address it is nobody's business.
            apply(scene, draft().pod(a, forbid(Origin::Admin), forbid(Origin::Admin)));
            let itself = sent(protocol, client, (p.pods.a, SERVER));
            for _ in 0..2 {
                delivered(&scene.a_sends(&itself), "local", A_MAC, &after(1, itself.clone()));
                apply(scene, draft().pod(a, forbid(Origin::Admin), forbid(Origin::Admin)));
            }
        });
    });
}

#[test]
fn the_gateway_and_neighbours_know_no_policy() {
    sandboxed(|scene| {
        for p in parties() {
            let a = scene.node.a;
            apply_closed(scene, draft());
            assert_eq!(scene.a_sends(&echo(p.pods.a, p.pods.gateway, false, b"ping")).reason, "echo_reply");
            let (own, gateway) = (p.pods.a, p.pods.gateway);
            let neighbour = if own.is_ipv4() {
                ethernet([0xff; 6], A_MAC, 0x0806, &arp(1, A_MAC, own, [0; 6], gateway))
            } else {
                let option = link_layer_option(1, A_MAC);
                neighbour(135, 0, own, gateway, gateway, &option).frame(GATEWAY_MAC, A_MAC)
            };
            let verdict = scene.node.process(&scene.node.program("from_endpoint"), a, 0, &neighbour);
            assert!(["arp_reply", "ndp_reply"].contains(&verdict.reason), "{}", verdict.reason);
            dropped(&scene.a_sends(&udp(p.pods.a, p.pods.b, b"x")), "policy_unknown");
            dropped(&scene.b_sends(&udp(p.pods.b, p.pods.a, b"x")), "policy_unknown");
            // What may be sent is too big for the tunnel: that is said.
            apply(scene, draft().pod(a, nothing(1), only(REMOTE, 2, 3)));
            let big = |to| Ip {
                fragment: if p.vip.is_ipv4() { DONT_FRAGMENT } else { 0 },
                ..udp(p.pods.a, to, &[0; 1400])
            };
            assert_eq!(scene.a_sends(&big(p.pods.remote)).reason, "too_big");
            dropped(&scene.a_sends(&big(p.pods.remote6)), "policy_egress");
            let last = |to| Ip { hops: 1, ..udp(p.pods.a, to, b"x") };
            assert_eq!(scene.a_sends(&last(p.pods.remote)).reason, "ttl_exceeded");
            dropped(&scene.a_sends(&last(p.pods.b)), "policy_egress");
        }
    });
}

/// A proxy in the node's stack chooses the backend: the packet comes back from there.
#[test]
fn what_the_nodes_stack_translates_is_judged_when_it_comes_back() {
    sandboxed(|scene| {
        scene.node.config.services = false;
        scene.node.datapath.set_config(&scene.node.config).unwrap();
        for prefix in ["10.96.0.0/16", "fd96::/112"] {
            scene.node.datapath.set_route(prefix.parse().unwrap(), datapath::Route::Proxied).unwrap();
        }
        each(scene, |scene, p, protocol| {
            let (a, b) = (scene.node.a, scene.node.b);
            let (client, vip) = ((p.pods.a, CLIENT), (p.vip, 80));
            for (backend, class) in [((p.pods.b, SERVER), POD_B), ((p.pods.remote, SERVER), REMOTE)] {
                let (asked, translated) = (sent(protocol, client, vip), sent(protocol, client, backend));
                let back = |scene: &Scene| {
                    delivered(&scene.a_sends(&asked), "external", NODE_MAC, &after(1, asked.clone()));
                    scene.node_sends(&translated).reason
                };
                let passed = if class == POD_B { "local" } else { "direct_out" };
                apply(scene, draft().pod(a, nothing(1), only(class, 2, 3)));
                assert_eq!(back(scene), passed);
                apply(scene, draft().pod(a, nothing(1), nothing(3)));
                assert_eq!(back(scene), "policy_egress");
                apply(scene, draft().pod(a, nothing(1), only(class, 2, 3)).pod(b, nothing(4), open()));
                assert_eq!(back(scene), if class == POD_B { "policy_ingress" } else { passed });
                // The answer goes the same way back.
                apply(scene, draft().pod(a, nothing(1), only(class, 2, 3)));
                assert_eq!(back(scene), passed);
                let reply = answer(protocol, backend, client);
                let answered =
                    if class == POD_B { scene.b_sends(&reply) } else { scene.tunnel_brings(PEER, &reply) };
                assert_eq!(answered.reason, "via_node");
                let reply = answer(protocol, vip, client);
                delivered(&scene.node_sends(&reply), "local", A_MAC, &after(1, reply));
            }
            // A connection straight to the backend that takes the same way is judged as well, at both ends.
            let direct = sent(protocol, client, (p.pods.b, SERVER));
            for (ingress, reason) in [(nothing(5), "policy_ingress"), (only(1, 6, 7), "local")] {
                apply(scene, draft().address(p.pods.a, 1).pod(b, ingress, open()));
                let first = scene.a_sends(&direct).reason;
                assert!(first == "via_node" || first == reason, "{first}");
                assert_eq!(scene.node_sends(&direct).reason, reason);
            }
        });
    });
}

fn sets(datapath: &Datapath) -> Vec<(u32, u32)> {
    datapath.ports().unwrap().iter().map(|port| (port.ifindex, port.set)).collect()
}

#[test]
fn pods_of_which_nothing_is_said_are_closed() {
    sandboxed(|scene| {
        let (a, b, mido) = (scene.node.a, scene.node.b, scene.node.config.mido_ifindex);
        let draft = draft().pod(a, open(), open());
        let set = draft.0.sets[0].1;
        apply_closed(scene, draft);
        let mut expected = [(a, set), (b, datapath::policy::CLOSED), (mido, datapath::policy::OPEN)];
        expected.sort_unstable();
        assert_eq!(sets(&scene.node.datapath), expected);
        scene.node.datapath.policy_off().unwrap();
        assert!(sets(&scene.node.datapath).iter().all(|(_, set)| *set == datapath::policy::OPEN));
    });
}
