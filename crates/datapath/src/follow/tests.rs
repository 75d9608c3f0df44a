//! What is read of frames.

use testkit::packet::{TCP, UDP, echo};

use super::*;
use crate::support::packets::{SYN, error, segment};
use crate::support::tunnel::{PEER_MAC, UPLINK_MAC, tunnel};
use crate::support::*;

#[test]
fn any_bytes_are_read_or_not() {
    let [v4, v6] = families();
    let mut random = testkit::Random::new(7);
    for family in [v4, v6] {
        for inner in [
            segment(TCP, (family.a, 1), (family.b, 80), SYN, b""),
            segment(UDP, (family.a, 1), (family.b, 2), 0, b"abc"),
            echo(family.a, family.b, true, b"abc"),
            error(family.a, family.b, (3, 1), &segment(TCP, (family.b, 1), (family.a, 80), SYN, b"").bytes()),
        ] {
            let inner = inner.frame(GATEWAY_MAC, A_MAC);
            let outer = tunnel(PEER, VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
            for frame in [inner, outer] {
                for length in 0..frame.len() {
                    let _ = header::read(&frame[..length], TUNNEL_PORT);
                }
                for _ in 0..2_000 {
                    let mut broken = frame.clone();
                    for _ in 0..3 {
                        let at = random.below(broken.len() as u64) as usize;
                        broken[at] = random.below(256) as u8;
                    }
                    let _ = header::read(&broken, TUNNEL_PORT);
                }
            }
        }
    }
}

#[test]
fn a_kernel_that_lets_nobody_watch_says_so() {
    // Elsewhere it works: examples/follow.rs.
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let source = node.datapath.follow_source().unwrap();
        let client = families()[0].a;
        let filter = Filter { client, client_port: None, protocol: TCP, ports: vec![80] };
        let locked = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
        match Follower::open(&source, &filter) {
            Ok(_) => assert!(!locked.contains("[confidentiality]"), "{locked}"),
            Err(error) => assert!(error.to_string().contains("locked down to confidentiality"), "{error}"),
        }
    });
}
