//! Damaged packets: whatever a Pod or another node sends, it ends under one counter, and what is
//! counted is what is done.

use crate::support::random::damage;
use crate::support::*;
use testkit::Random;
use testkit::packet::*;

const MUTATIONS: usize = 3000;
fn frames() -> Vec<Vec<u8>> {
    let mut frames = vec![];
    let pad = [0; 64];
    for f in families() {
        for packet in [
            tcp(f.a, f.b, &pad),
            udp(f.a, f.remote, &[0; 1400]),
            udp(f.a, f.missing, &pad),
            udp(f.a, f.external, &pad),
            echo(f.a, f.gateway, false, &pad),
            icmp(f.a, f.unserved, if f.a.is_ipv6() { 1 } else { 3 }, 0, [0; 4], &pad),
            Ip { hops: 1, ..tcp(f.a, f.b, &pad) },
        ] {
            frames.push(packet.frame(GATEWAY_MAC, A_MAC));
        }
        if f.a.is_ipv4() {
            let request = arp(1, A_MAC, f.a, [0; 6], f.gateway);
            frames.push(ethernet([0xff; 6], A_MAC, 0x0806, &[request, pad.to_vec()].concat()));
            frames.push(Ip { options: vec![1; 16], ..udp(f.a, f.missing, &pad) }.frame(GATEWAY_MAC, A_MAC));
        } else {
            let options = [link_layer_option(1, A_MAC), vec![14, 2], vec![0; 14]].concat();
            frames.push(neighbour(135, 0, f.a, f.gateway, f.gateway, &options).frame(GATEWAY_MAC, A_MAC));
            let headers = [
                vec![60, 1],
                vec![0; 14],
                vec![FRAGMENT, 0, 1, 4, 0, 0, 0, 0],
                vec![UDP, 0, 0, 1, 0, 0, 0, 1],
            ];
            let packet = Ip::new(f.a, f.missing, 0, [headers.concat(), pad.to_vec()].concat());
            frames.push(packet.frame(GATEWAY_MAC, A_MAC));
        }
    }
    frames
}

#[test]
fn every_frame_ends_under_one_counter() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let endpoint = node.program("from_endpoint");
        let overlay = node.program("from_overlay");
        let reasons = datapath::reasons();
        let corpus = frames();
        let mut random = Random::new(0);
        for round in 0..MUTATIONS {
            let mut frame = corpus[random.index(corpus.len())].clone();
            damage(&mut random, &mut frame);
            let (program, ifindex) = match random.index(8) {
                0 => (&overlay, node.config.overlay_ifindex),
                1 => (&endpoint, node.unbound),
                2 => (&endpoint, node.config.mido_ifindex),
                _ => (&endpoint, node.a),
            };
            let verdict = node.process(program, ifindex, 0, &frame);
            let reason = reasons.iter().find(|reason| reason.name == verdict.reason).unwrap();
            let lost = reason.fate != datapath::Fate::Forward;
            // An error is sent about some packets that are lost.
            let answered = ["no_endpoint", "unreachable"].contains(&verdict.reason);
            let expected = if lost && !answered { TC_ACT_SHOT } else { TC_ACT_REDIRECT };
            assert_eq!(verdict.action, expected, "round {round}, {}: {frame:02x?}", verdict.reason);
            if ifindex == node.unbound || ifindex == node.config.overlay_ifindex {
                assert!(lost, "round {round}, {}: {frame:02x?}", verdict.reason);
            }
        }
    });
}
