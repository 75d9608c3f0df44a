//! Connections that go on while policy, classes or the owners of addresses change.

use super::*;

#[test]
fn a_change_ends_connections_and_lets_them_go_on() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (a, b) = (scene.node.a, scene.node.b);
            let (client, server) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
            let (packet, reply) =
                (segment(protocol, client, server, ACK, b"more"), answer(protocol, server, client));
            // They began when there was no policy.
            for _ in 0..2 {
                assert_eq!((scene.a_sends(&packet).reason, scene.b_sends(&reply).reason), ("local", "local"));
            }
            for (rule, ingress, egress, reason) in [
                (10, open(), open(), "local"),
                (20, nothing(20), open(), "policy_ingress"),
                (30, open(), open(), "local"),
                (40, open(), nothing(40), "policy_egress"),
                (50, only(9, 51, 50), open(), "policy_ingress"),
                (60, open(), only(POD_B, 60, 61), "local"),
            ] {
                // The Pod that is asked and the one that asks.
                let pods = draft().pod(b, ingress, nothing(7)).pod(a, nothing(8), egress);
                apply(scene, pods);
                // Whoever is first: the packets of both are those of one connection.
                let first = if rule % 20 == 0 { scene.a_sends(&packet) } else { scene.b_sends(&reply) };
                assert_eq!(first.reason, reason, "{rule}");
                for _ in 0..2 {
                    assert_eq!(
                        (scene.a_sends(&packet).reason, scene.b_sends(&reply).reason),
                        (reason, reason)
                    );
                }
                let denied = if reason == "local" { 0 } else { 5 };
                assert_eq!(count(scene, rule)[1], denied, "every packet that does not pass is counted");
                assert_eq!(connections(scene), 1, "the entry stays");
            }
            // Going on is no beginning.
            assert_eq!(count(scene, 60), [0; 3]);
            // Without policy all goes on.
            apply(scene, draft().pod(b, nothing(1), nothing(1)));
            dropped(&scene.a_sends(&packet), "policy_ingress");
            scene.node.datapath.policy_off().unwrap();
            assert_eq!((scene.a_sends(&packet).reason, scene.b_sends(&reply).reason), ("local", "local"));
            // And when there is some again, what was let pass before counts for nothing.
            apply(scene, draft().pod(b, nothing(1), nothing(1)));
            dropped(&scene.b_sends(&reply), "policy_ingress");
        });
    });
}

#[test]
fn connections_from_other_nodes_and_outside_are_judged_again() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (b, server) = (scene.node.b, (p.pods.b, SERVER));
            let (remote, outside) = ((p.pods.remote, CLIENT), (p.client, CLIENT));
            scene.maps.serve(SCOPE_NODE_PORT, protocol, (p.own, 30_000), &Service::new(9, &[server]));
            scene.maps.serve_port(protocol, 30_000);
            let from_remote = segment(protocol, remote, server, ACK, b"more");
            let from_outside = segment(protocol, outside, (p.own, 30_000), ACK, b"more");
            let pass = |scene: &Scene| {
                let reasons = [
                    scene.tunnel_brings(PEER, &from_remote).reason,
                    scene.b_sends(&answer(protocol, server, remote)).reason,
                    scene.uplink_brings(&from_outside).reason,
                    scene.b_sends(&answer(protocol, server, outside)).reason,
                ];
                reasons.map(|reason| reason != "policy_ingress")
            };
            assert_eq!(pass(scene), [true; 4]);
            apply(scene, draft().pod(b, only(OUTSIDE, 1, 2), nothing(3)));
            assert_eq!(pass(scene), [false, false, true, true]);
            apply(scene, draft().pod(b, only(REMOTE, 1, 2), nothing(3)));
            assert_eq!(pass(scene), [true, true, false, false]);
            // Of a class that changes, too.
            apply(scene, draft().address(p.client, REMOTE).pod(b, only(REMOTE, 1, 2), nothing(3)));
            assert_eq!(pass(scene), [true; 4]);
        });
    });
}

#[test]
fn errors_about_connections_pass_and_others_do_not() {
    sandboxed(|scene| {
        for p in parties() {
            let a = scene.node.a;
            let (client, server) = ((p.pods.a, CLIENT), (p.pods.remote, SERVER));
            let too_big = if p.vip.is_ipv4() { (3, 4) } else { (2, 0) };
            apply(scene, draft().pod(a, nothing(1), only(REMOTE, 2, 3)));
            let packet = sent(UDP, client, server);
            assert_eq!(scene.a_sends(&packet).reason, "direct_out");
            let about =
                |packet: &Ip| error(p.pods.remote, p.pods.a, too_big, &after(1, packet.clone()).bytes());
            delivered(&scene.tunnel_brings(PEER, &about(&packet)), "direct_in", A_MAC, &about(&packet));
            let unknown = about(&sent(UDP, client, (p.pods.remote, 9)));
            dropped(&scene.tunnel_brings(PEER, &unknown), "policy_ingress");
            // Nor does a Pod that may not send anything there.
            let other = error(p.pods.a, p.client, too_big, &sent(UDP, (p.client, 1), (p.pods.a, 2)).bytes());
            dropped(&scene.a_sends(&other), "policy_egress");
        }
    });
}

#[test]
fn what_is_on_trial_passes_and_is_counted_once() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (a, b) = (scene.node.a, scene.node.b);
            let (client, server) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
            let (packet, reply) = (sent(protocol, client, server), answer(protocol, server, client));
            let on_trial = |rule| Table(all(audit(rule)), vec![]);
            let pass = |scene: &Scene| {
                for _ in 0..2 {
                    assert_eq!(
                        (scene.a_sends(&packet).reason, scene.b_sends(&reply).reason),
                        ("local", "local")
                    );
                }
            };
            apply(scene, draft().pod(a, open(), on_trial(1)).pod(b, on_trial(2), open()));
            pass(scene);
            assert_eq!((count(scene, 1), count(scene, 2)), ([0, 0, 1], [0, 0, 1]));
            // Judged again, it is the same connection.
            apply(scene, draft().pod(a, open(), on_trial(1)).pod(b, on_trial(2), open()));
            pass(scene);
            assert_eq!((count(scene, 1), count(scene, 2)), ([0, 0, 1], [0, 0, 1]), "the rules are the same");
            // One that was allowed is now on trial.
            apply(scene, draft().pod(a, open(), open()).pod(b, open(), open()));
            pass(scene);
            apply(scene, draft().pod(a, open(), on_trial(3)).pod(b, on_trial(4), open()));
            pass(scene);
            assert_eq!((count(scene, 3), count(scene, 4)), ([0, 0, 1], [0, 0, 1]));
        });
    });
}

/// A Pod of this node can only be told from others by its interface.
#[test]
fn nobody_inherits_a_verdict_with_an_address() {
    sandboxed(|scene| {
        each(scene, |scene, p, protocol| {
            let (a, b) = (scene.node.a, scene.node.b);
            let packet = sent(protocol, (p.pods.a, CLIENT), (p.pods.b, SERVER));
            apply(scene, draft().pod(a, open(), only(POD_B, 1, 2)));
            assert_eq!(scene.a_sends(&packet).reason, "local");
            // Another Pod gets the server's addresses, and nothing may come to it.
            let addresses = parties().map(|p| p.pods.b).to_vec();
            let new = ifindex("unbound");
            let port = datapath::Port {
                mac: [2, 0, 0, 0, 0, 0xcc],
                addresses,
                set: datapath::policy::CLOSED,
                ..port(new, &[])
            };
            scene.node.datapath.bind(&port).unwrap();
            dropped(
                &scene.a_sends(&sent(protocol, (p.pods.a, CLIENT + 1), (p.pods.b, SERVER))),
                "policy_unknown",
            );
            assert_ne!(
                scene.a_sends(&packet).action,
                TC_ACT_REDIRECT * 2,
                "of the old connection, at most a reset comes back"
            );
            let verdict = scene.a_sends(&packet);
            assert!(
                ["stale_connection", "connection_reset", "policy_unknown"].contains(&verdict.reason),
                "{}",
                verdict.reason
            );
            let old = datapath::Port {
                mac: B_MAC,
                addresses: parties().map(|p| p.pods.b).to_vec(),
                ..crate::support::port(b, &[])
            };
            scene.node.datapath.bind(&old).unwrap();
        });
    });
}
