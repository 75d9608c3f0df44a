//! Packets of connections through Services that have no ports of their own: ICMP errors, and fragments.

use std::net::IpAddr;

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");

/// A quoted packet as the other side knows it. The checksum of TCP and SCTP stays: an error need not quote that much.
fn quoted_as(packet: &Ip, from: End, to: End) -> Ip {
    let mut payload = packet.payload.clone();
    payload[..2].copy_from_slice(&from.1.to_be_bytes());
    payload[2..4].copy_from_slice(&to.1.to_be_bytes());
    if packet.protocol == UDP {
        payload = message(UDP, from, to, 0, &payload[8..]);
    }
    Ip { source: from.0, destination: to.0, payload, ..packet.clone() }
}

/// A connection as one side of the translation knows it: the client's end, and the server's.
#[derive(Clone, Copy)]
struct Side(End, End);

/// An error from `sender` about what the client sent on one side, and how it looks on the other.
fn about_question(protocol: u8, sender: IpAddr, inner: Side, outer: Side) -> (Ip, Ip) {
    let packet = after(1, segment(protocol, inner.0, inner.1, ACK, b"question"));
    let kind = if sender.is_ipv6() { (2, 0) } else { (3, 4) };
    let told = if sender == inner.1.0 { outer.1.0 } else { sender };
    (
        error(sender, inner.0.0, kind, &packet.bytes()),
        error(told, outer.0.0, kind, &quoted_as(&packet, outer.0, outer.1).bytes()),
    )
}

/// The same about what the server answered, from the client's side to the server's.
fn about_answer(protocol: u8, sender: IpAddr, inner: Side, outer: Side) -> (Ip, Ip) {
    let packet = after(1, segment(protocol, outer.1, outer.0, ACK, b"answer"));
    let kind = if sender.is_ipv6() { (3, 0) } else { (11, 0) };
    let told = if sender == outer.0.0 { inner.0.0 } else { sender };
    (
        error(sender, outer.1.0, kind, &packet.bytes()),
        error(told, inner.1.0, kind, &quoted_as(&packet, inner.1, inner.0).bytes()),
    )
}

#[test]
fn errors_about_a_pods_connections_are_translated_both_ways() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().flat_map(|p| PROTOCOLS.map(|protocol| (p, protocol))) {
            let (client, router) = ((p.pods.a, 40_000), p.client);
            let question = |to| segment(protocol, client, to, SYN, b"x");

            // A Pod of this node.
            let (vip, backend) = ((p.vip, 80), (p.pods.b, 8080));
            scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(1, &[backend]));
            scene.a_sends(&question(vip));
            let (inner, outer) = (Side(client, backend), Side(client, vip));
            let (sent, seen) = about_question(protocol, backend.0, inner, outer);
            delivered(&scene.b_sends(&sent), "local", A_MAC, &after(1, seen));
            let (sent, seen) = about_question(protocol, router, inner, outer);
            delivered(&scene.node_sends(&sent), "local", A_MAC, &after(1, seen));
            let (sent, seen) = about_answer(protocol, client.0, inner, outer);
            delivered(&scene.a_sends(&sent), "local", B_MAC, &after(1, seen));
            let (sent, seen) = about_answer(protocol, router, inner, outer);
            delivered(&scene.node_sends(&sent), "local", B_MAC, &after(1, seen));

            // One of another node.
            let (vip, backend) = ((p.vip, 81), (p.pods.remote, 8080));
            scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(1, &[backend]));
            scene.a_sends(&question(vip));
            let (inner, outer) = (Side(client, backend), Side(client, vip));
            let (sent, seen) = about_question(protocol, backend.0, inner, outer);
            delivered(&scene.tunnel_brings(PEER, &sent), "direct_in", A_MAC, &seen);
            let (sent, seen) = about_answer(protocol, client.0, inner, outer);
            tunnelled(&scene.a_sends(&sent), PEER, &after(1, seen));

            // Itself.
            let (vip, backend) = ((p.vip, 82), (p.pods.a, 8080));
            scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(1, &[backend]));
            scene.a_sends(&question(vip));
            let (inner, outer) = (Side((p.pods.gateway, 40_000), backend), Side(client, vip));
            let (sent, seen) = about_question(protocol, backend.0, inner, outer);
            delivered(&scene.a_sends(&sent), "local", A_MAC, &after(1, seen));
            let (sent, seen) = about_answer(protocol, client.0, inner, outer);
            delivered(&scene.a_sends(&sent), "local", A_MAC, &after(1, seen));

            // A process of another node, which knows this node as its client.
            let (vip, backend) = ((p.vip, 83), (p.other, 8080));
            scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(1, &[backend]));
            let source = ends(&scene.a_sends(&question(vip)).frame[14..]).0;
            let (inner, outer) = (Side(source, backend), Side(client, vip));
            for sender in [backend.0, router] {
                let (sent, seen) = about_question(protocol, sender, inner, outer);
                delivered(&scene.uplink_brings(&sent), "from_outside", A_MAC, &after(1, seen));
            }
            let (sent, seen) = about_answer(protocol, client.0, inner, outer);
            sent_out(&scene.a_sends(&sent), &after(1, seen));
        }
    });
}

#[test]
fn errors_about_connections_from_outside_are_translated_both_ways() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().flat_map(|p| PROTOCOLS.map(|protocol| (p, protocol))) {
            let (client, router) = ((p.client, 40_000), p.other);
            for (port, backend) in [(1, p.pods.b), (2, p.pods.remote), (3, p.own), (4, p.other)] {
                let (front, backend) = ((p.own, 30_000 + port), (backend, 8080));
                scene.maps.serve(SCOPE_NODE_PORT, protocol, front, &Service::new(1, &[backend]));
                scene.maps.serve_port(protocol, front.1);
                let verdict = scene.uplink_brings(&segment(protocol, client, front, SYN, b"x"));
                let packet = if port == 2 { inner(&verdict.frame) } else { &verdict.frame[14..] };
                let (inner, outer) = (Side(ends(packet).0, backend), Side(client, front));
                // The client's: from the client itself, and from a router.
                for sender in [client.0, router] {
                    let (sent, seen) = about_answer(protocol, sender, inner, outer);
                    let verdict = scene.uplink_brings(&sent);
                    match port {
                        1 => delivered(&verdict, "from_outside", B_MAC, &after(1, seen)),
                        2 => tunnelled(&verdict, PEER, &after(1, seen)),
                        3 => passed(&verdict, "from_outside", &seen),
                        _ => sent_out(&verdict, &after(1, seen)),
                    }
                }
                // The backend's.
                let (sent, seen) = about_question(protocol, backend.0, inner, outer);
                match port {
                    1 => sent_out(&scene.b_sends(&sent), &after(1, seen)),
                    2 => sent_out(&scene.tunnel_brings(PEER, &sent), &seen),
                    3 => passed(&scene.node_sends_out(&sent), "", &seen),
                    _ => sent_out(&scene.uplink_brings(&sent), &after(1, seen)),
                }
            }
        }
    });
}

#[test]
fn what_is_no_error_about_a_connection_stays_as_it_is() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (client, vip, backend) = ((p.pods.a, 40_000), (p.vip, 80), (p.pods.b, 8080));
            scene.maps.serve(SCOPE_ADDRESS, UDP, vip, &Service::new(1, &[backend]));
            scene.a_sends(&segment(UDP, client, vip, 0, b"x"));
            let kind = if p.vip.is_ipv6() { (1, 4) } else { (3, 3) };
            let header = if p.vip.is_ipv6() { 40 } else { 20 };
            let about = segment(UDP, client, backend, 0, b"question");
            let whole = about.bytes();
            let mut broken = whole.clone();
            broken[0] = 0x90;
            let options = if p.vip.is_ipv4() {
                Ip { options: vec![1; 8], ..about.clone() }
            } else {
                let payload = [&[UDP, 0, 1, 4, 0, 0, 0, 0][..], &about.payload].concat();
                Ip { protocol: 60, payload, ..about.clone() }
            };
            let other_port = segment(UDP, (p.pods.a, 40_001), backend, 0, b"question");
            for (name, quoted) in [
                ("less than ports", &whole[..header + 7]),
                ("no IP", &broken[..]),
                ("behind options", &options.bytes()[..]),
                ("another connection", &other_port.bytes()[..]),
            ] {
                let packet = error(p.pods.b, p.pods.a, kind, quoted);
                let verdict = scene.b_sends(&packet);
                assert_eq!(verdict.reason, "local", "{name}");
                delivered(&verdict, "local", A_MAC, &after(1, packet));
            }
            // What was sent by one is of no concern to another.
            let packet = error(p.pods.a, p.pods.b, kind, &whole);
            delivered(&scene.a_sends(&packet), "local", B_MAC, &after(1, packet));
            // An echo is none.
            let packet = echo(p.pods.b, p.pods.a, false, &whole);
            delivered(&scene.b_sends(&packet), "local", A_MAC, &after(1, packet));
        }
    });
}

/// The fragments of a packet, the first one first.
fn fragments(packet: &Ip, id: u16) -> Vec<(Ip, u16)> {
    let size = 64;
    let chunks: Vec<_> = packet.payload.chunks(size).collect();
    chunks
        .iter()
        .enumerate()
        .map(|(index, chunk)| {
            let (offset, more) = ((index * size / 8) as u16, index + 1 < chunks.len());
            if packet.source.is_ipv4() {
                let fragment = offset | if more { MORE_FRAGMENTS } else { 0 };
                return (Ip { fragment, payload: chunk.to_vec(), ..packet.clone() }, id);
            }
            let place = (offset << 3 | u16::from(more)).to_be_bytes();
            let id = id.to_be_bytes();
            let header = [packet.protocol, 0, place[0], place[1], 0, 0, id[0], id[1]];
            (Ip { protocol: FRAGMENT, payload: [&header[..], chunk].concat(), ..packet.clone() }, 0)
        })
        .collect()
}

/// A frame of a fragment, with its identification.
fn numbered(frame: Vec<u8>, at: usize, id: u16) -> Vec<u8> {
    let mut frame = frame;
    if id != 0 {
        frame[at + 4..at + 6].copy_from_slice(&id.to_be_bytes());
        frame[at + 10..at + 12].fill(0);
        let sum = checksum(&frame[at..at + 20]);
        frame[at + 10..at + 12].copy_from_slice(&sum);
    }
    frame
}

#[test]
fn fragments_follow_their_first_one() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let data: Vec<u8> = (0..=255).collect();
        for (p, protocol) in parties().iter().flat_map(|p| [TCP, UDP].map(|protocol| (p, protocol))) {
            let (client, vip, backend) = ((p.pods.a, 40_000), (p.vip, 80), (p.pods.b, 8080));
            scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(1, &[backend]));
            let pieces = |from, to, id| fragments(&segment(protocol, from, to, ACK, &data), id);
            let program = scene.node.program("from_endpoint");
            let send = |(ifindex, mac): (u32, [u8; 6]), (packet, id): &(Ip, u16)| {
                let frame = numbered(packet.frame(GATEWAY_MAC, mac), 14, *id);
                scene.node.process(&program, ifindex, 0, &frame)
            };
            let (a, b) = ((scene.node.a, A_MAC), (scene.node.b, B_MAC));
            let id = if protocol == TCP { 7 } else { 9 };
            for id in [id, id + 1] {
                let (sent, seen) = (pieces(client, vip, id), pieces(client, backend, id));
                dropped(&send(a, &sent[2]), "service_address");
                // The others in any order.
                for index in [0, 3, 1, 4, 2] {
                    let verdict = send(a, &sent[index]);
                    assert_eq!(verdict.reason, "local", "fragment {index}");
                    let expected = after(1, seen[index].0.clone());
                    assert_eq!(
                        verdict.frame,
                        numbered(expected.frame(B_MAC, GATEWAY_MAC), 14, seen[index].1)
                    );
                }
                // Answers are fragments of their own.
                let (sent, seen) = (pieces(backend, client, id), pieces(vip, client, id));
                for (sent, seen) in sent.iter().zip(&seen) {
                    let expected = after(1, seen.0.clone());
                    assert_eq!(send(b, sent).frame, numbered(expected.frame(A_MAC, GATEWAY_MAC), 14, seen.1));
                }
            }
            // Another protocol's packet may have the same number.
            let other = if protocol == TCP { UDP } else { TCP };
            let strangers = fragments(&segment(other, client, (p.vip, 81), ACK, &data), id + 1);
            if p.vip.is_ipv4() {
                dropped(&send(a, &strangers[1]), "service_address");
            }
        }
    });
}

#[test]
fn fragments_from_outside_follow_their_first_one() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let data = [7; 250];
        for p in parties() {
            let (client, front) = ((p.client, 40_000), (p.own, 30_080));
            scene.maps.serve_port(UDP, front.1);
            for (backend, port) in [(p.pods.b, 1), (p.pods.remote, 2), (p.other, 3), (p.own, 4)] {
                let backend = (backend, 8080);
                let front = (front.0, front.1 + port);
                scene.maps.serve_port(UDP, front.1);
                scene.maps.serve(SCOPE_NODE_PORT, UDP, front, &Service::new(1, &[backend]));
                let sent = fragments(&segment(UDP, client, front, 0, &data), 0);
                assert_eq!(sent.len(), 5);
                if port == 1 {
                    passed(&scene.uplink_brings(&sent[1].0), "", &sent[1].0);
                }
                let mut source = client;
                for (index, (sent, _)) in sent.iter().enumerate() {
                    let verdict = scene.uplink_brings(sent);
                    let packet = if port == 2 { inner(&verdict.frame) } else { &verdict.frame[14..] };
                    if index == 0 {
                        let ports = if p.client.is_ipv4() { 20 } else { 48 };
                        source.1 = u16::from_be_bytes([packet[ports], packet[ports + 1]]);
                        source.0 = ends(packet).0.0;
                    }
                    let seen = fragments(&segment(UDP, source, backend, 0, &data), 0)[index].0.clone();
                    match port {
                        1 => delivered(&verdict, "from_outside", B_MAC, &after(1, seen)),
                        2 => tunnelled(&verdict, PEER, &after(1, seen)),
                        3 => sent_out(&verdict, &after(1, seen)),
                        _ => passed(&verdict, "from_outside", &seen),
                    }
                }
            }
        }
    });
}
