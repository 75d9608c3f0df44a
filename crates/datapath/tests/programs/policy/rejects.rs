//! Whose packet is denied with `reject` is told: a reset for TCP, an ICMP error for others.

use std::net::IpAddr;

use super::*;

/// A reset that answers a segment which was never answered.
fn reset(packet: &Ip) -> Ip {
    let (from, to) = ends(&packet.bytes());
    let mut reset = segment(TCP, to, from, RST, b"");
    let sequence = u32::from_be_bytes(packet.payload[4..8].try_into().unwrap());
    let acknowledged = &packet.payload[8..12];
    if packet.payload[13] & ACK == 0 {
        reset.payload[4..8].fill(0);
        reset.payload[8..12].copy_from_slice(&(sequence + 1).to_be_bytes());
        reset.payload[13] = RST | ACK;
    } else {
        reset.payload[4..8].copy_from_slice(acknowledged);
        reset.payload[8..12].fill(0);
    }
    reset.payload[14..16].fill(0);
    reset.payload[16..18].fill(0);
    let pseudo = [octets(to.0), octets(from.0), 20u32.to_be_bytes().to_vec(), vec![0, 0, 0, TCP]].concat();
    let sum = checksum(&[pseudo, reset.payload.clone()].concat());
    reset.payload[16..18].copy_from_slice(&sum);
    Ip { fragment: if from.0.is_ipv4() { DONT_FRAGMENT } else { 0 }, ..reset }
}

/// Administratively prohibited, from an address.
fn prohibited(packet: &Ip, from: IpAddr) -> Ip {
    let quoted = packet.bytes();
    let kind = if from.is_ipv4() { (3, 13) } else { (1, 1) };
    let error = error(from, packet.source, kind, &quoted[..quoted.len() & !3]);
    let (tos, fragment) = if from.is_ipv4() { (0xc0, DONT_FRAGMENT) } else { (0, 0) };
    Ip { tos, fragment, ..error }
}

#[test]
fn who_is_to_be_told_is_told() {
    sandboxed(|scene| {
        for p in parties() {
            let (a, b) = (scene.node.a, scene.node.b);
            let told = |rule| Table(all(reject(rule)), vec![]);
            let before = connections(scene);
            apply(scene, draft().pod(a, open(), told(1)).pod(b, told(2), open()));
            let (client, server) = ((p.pods.a, CLIENT), (p.pods.remote, SERVER));
            for flags in [SYN, ACK] {
                let packet = segment(TCP, client, server, flags, b"");
                delivered(&scene.a_sends(&packet), "policy_egress", A_MAC, &reset(&packet));
            }
            dropped(&scene.a_sends(&segment(TCP, client, server, RST | ACK, b"")), "policy_egress");
            for packet in
                [segment(UDP, client, server, 0, b"question"), segment(SCTP, client, server, 0, b"question")]
            {
                let verdict = scene.a_sends(&packet);
                delivered(&verdict, "policy_egress", A_MAC, &prohibited(&packet, p.pods.gateway));
            }
            assert_eq!(count(scene, 1), [0, 5, 0]);
            assert_eq!(connections(scene), before);

            // Through the tunnel back to the node of who sent it.
            let to_b =
                |protocol, flags| segment(protocol, (p.pods.remote, CLIENT), (p.pods.b, SERVER), flags, b"");
            for (packet, told) in [
                (to_b(TCP, SYN), reset(&to_b(TCP, SYN))),
                (to_b(UDP, 0), prohibited(&to_b(UDP, 0), p.pods.gateway)),
            ] {
                let outer = tunnel::tunnel(PEER, VNI, &packet.frame(OVERLAY_MAC, GATEWAY_MAC))
                    .frame(tunnel::UPLINK_MAC, tunnel::PEER_MAC);
                let program = scene.node.program("from_uplink");
                let (verdict, counted) = scene.node.run(&program, scene.uplink, 0, &outer);
                let reasons: Vec<_> = counted.iter().map(|(reason, _)| *reason).collect();
                assert_eq!(reasons, ["direct_out", "policy_ingress"], "the packet, and the answer");
                tunnelled(&Verdict { reason: "direct_out", ..verdict }, PEER, &told);
            }
            // To the outside, in the name of the Service.
            let frontend = (p.own, 30_000);
            for protocol in [TCP, UDP] {
                scene.maps.serve(
                    SCOPE_NODE_PORT,
                    protocol,
                    frontend,
                    &Service::new(9, &[(p.pods.b, SERVER)]),
                );
                scene.maps.serve_port(protocol, frontend.1);
                let packet = segment(protocol, (p.client, CLIENT), frontend, SYN, b"");
                let told = if protocol == TCP { reset(&packet) } else { prohibited(&packet, p.own) };
                let verdict = scene.uplink_brings(&packet);
                assert_eq!((verdict.action, verdict.reason), (TC_ACT_REDIRECT, "policy_ingress"));
                assert_eq!(verdict.frame, told.frame(tunnel::PEER_MAC, tunnel::UPLINK_MAC));
            }
            // Of a connection that was let pass before: whoever goes on.
            apply(scene, draft());
            scene.node.datapath.policy_off().unwrap();
            let packet = segment(TCP, (p.pods.a, 7), (p.pods.b, SERVER), ACK, b"");
            assert_eq!(scene.a_sends(&packet).reason, "local");
            apply(scene, draft().pod(b, told(3), open()));
            delivered(&scene.a_sends(&packet), "policy_ingress", A_MAC, &reset(&packet));
            let back = segment(TCP, (p.pods.b, SERVER), (p.pods.a, 7), ACK, b"");
            delivered(&scene.b_sends(&back), "policy_ingress", B_MAC, &reset(&back));
        }
    });
}

/// Nobody makes the node send as many answers as they like.
#[test]
fn telling_is_limited() {
    sandboxed(|scene| {
        for p in parties() {
            let a = scene.node.a;
            apply(scene, draft().pod(a, open(), Table(all(reject(1)), vec![])));
            let told: Vec<bool> = (0..600)
                .map(|port| {
                    let protocol = if port % 2 == 0 { TCP } else { UDP };
                    let verdict =
                        scene.a_sends(&segment(protocol, (p.pods.a, 1024 + port), (p.pods.b, 1), SYN, b""));
                    assert_eq!(verdict.reason, "policy_egress");
                    verdict.action == TC_ACT_REDIRECT
                })
                .collect();
            let count = told.iter().filter(|told| **told).count();
            // The second family finds what the first one left.
            assert!((told[0] || p.vip.is_ipv6()) && (1..550).contains(&count), "{count}");
        }
    });
}
