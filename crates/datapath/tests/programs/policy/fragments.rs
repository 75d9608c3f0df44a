//! Fragments are judged as the first one of their datagram.

use super::*;

/// The fragments of a datagram: its first, and one more.
fn fragments(protocol: u8, from: End, to: End, id: u8) -> [Ip; 2] {
    let whole = segment(protocol, from, to, SYN, &[7; 64]);
    let (first, rest) = whole.payload.split_at(48);
    if from.0.is_ipv4() {
        // The identification is zero in all of testkit's packets: other ends are other packets.
        [
            Ip { payload: first.to_vec(), fragment: MORE_FRAGMENTS, ..whole.clone() },
            Ip { payload: rest.to_vec(), fragment: 6, ..whole.clone() },
        ]
    } else {
        let with = |more: u8, payload: &[u8]| {
            let header = [protocol, 0, 0, (48 * (1 - more)) | more, 0, 0, 0, id];
            Ip::new(from.0, to.0, FRAGMENT, [&header[..], payload].concat())
        };
        [with(1, first), with(0, rest)]
    }
}

#[test]
fn fragments_follow_the_first_one() {
    sandboxed(|scene| {
        for p in parties() {
            let (a, to) = (scene.node.a, p.pods.b);
            let by_port = Table(ports(deny(1), &[(Protocol::Udp, 53, 53, allow(2))]), vec![]);
            apply(scene, draft().pod(a, open(), by_port.clone()));
            let [first, rest] = fragments(UDP, (p.pods.a, CLIENT), (to, 53), 1);
            dropped(&scene.a_sends(&rest), "policy_no_port");
            assert_eq!(scene.a_sends(&first).reason, "local");
            assert_eq!(scene.a_sends(&rest).reason, "local");
            let [first, rest] = fragments(UDP, (p.pods.a, CLIENT), (p.pods.remote, 54), 2);
            dropped(&scene.a_sends(&first), "policy_egress");
            dropped(&scene.a_sends(&rest), "policy_egress");
            // Where ports make no difference, no port is needed.
            let [_, rest] = fragments(UDP, (p.pods.a, CLIENT), (p.client, 54), 3);
            dropped(&scene.a_sends(&rest), "policy_no_port");
            apply(scene, draft().pod(a, open(), only(OUTSIDE, 3, 4)));
            assert_eq!(scene.a_sends(&rest).reason, "external");
            let [_, rest] = fragments(UDP, (p.pods.a, CLIENT), (p.pods.remote6, 54), 4);
            dropped(&scene.a_sends(&rest), "policy_egress");
            // A first fragment that hides the port hides nothing.
            apply(scene, draft().pod(a, open(), by_port));
            let tiny = if to.is_ipv4() {
                Ip { fragment: MORE_FRAGMENTS, payload: vec![0; 4], ..udp(p.pods.a, p.pods.unserved, b"") }
            } else {
                let header = [UDP, 0, 0, 1, 0, 0, 0, 5];
                Ip::new(p.pods.a, p.pods.unserved, FRAGMENT, [&header[..], &[0; 4]].concat())
            };
            dropped(&scene.a_sends(&tiny), "policy_no_port");
            // With the tests' packets a fragment to a Pod is judged there, too.
            apply(
                scene,
                draft().pod(
                    scene.node.b,
                    Table(ports(deny(1), &[(Protocol::Tcp, 1, 1, allow(2))]), vec![]),
                    open(),
                ),
            );
            let [_, rest] = fragments(TCP, (p.pods.a, CLIENT), (to, 1), 6);
            let rest = Ip { payload: rest.payload, ..rest };
            let other_end = Ip { source: p.pods.remote, ..rest };
            dropped(&scene.tunnel_brings(PEER, &other_end), "policy_no_port");
        }
    });
}
