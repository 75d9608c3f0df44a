//! What is followed of packets at work, beside what the programs did with them. `tests/kernels/run` runs it under the kernels of
//! Debian: a kernel that is locked down lets nobody watch programs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::IpAddr;

use datapath::follow::{Filter, Follower, Hook, Left, Seen};
use testkit::packet::{Ip, TCP, UDP, echo};

use support::packets::{ACK, SYN, error, segment};
use support::scene::*;
use support::services::*;
use support::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");
const CLIENT: u16 = 40_000;
const SERVER: u16 = 8080;

fn main() {
    // Loading the programs takes longest, without acceleration: once for all.
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let backends = [(p.pods.remote, SERVER)];
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 80), &Service::new(7, &backends));
        }
        what_a_hook_does_is_seen(&scene);
        packets_are_followed_in_tunnels_and_in_errors_and_both_ways(&scene);
        others_are_not_followed(&scene);
        a_flood_is_counted_and_two_may_follow(&scene);
    });
    println!("follow: packets are followed");
}

fn follow(scene: &Scene, filter: &Filter) -> Follower {
    Follower::open(&scene.node.datapath.follow_source().unwrap(), filter).unwrap()
}

fn tcp_of(client: IpAddr) -> Filter {
    Filter { client, client_port: None, protocol: TCP, ports: vec![SERVER, 80] }
}

fn all(follower: &mut Follower) -> Vec<Seen> {
    std::iter::from_fn(|| follower.read().unwrap()).collect()
}

fn syn(from: IpAddr, to: IpAddr, port: u16) -> Ip {
    segment(TCP, (from, CLIENT), (to, port), SYN, b"")
}

/// What one packet became, and what the test's own reading of the counters says of it.
fn seen(scene: &Scene, follower: &mut Follower, ifindex: u32, mac: [u8; 6], packet: &Ip) -> Seen {
    let frame = packet.frame(GATEWAY_MAC, mac);
    let (_, counted) = scene.node.run(&scene.node.program("from_endpoint"), ifindex, 0, &frame);
    let mut all = all(follower);
    let seen = all.pop().unwrap_or_else(|| panic!("{packet:?} was not seen: {counted:?}"));
    assert!(all.is_empty(), "{all:?}");
    assert_eq!(seen.reason.map(|reason| reason.name), counted.first().map(|(reason, _)| *reason));
    assert_eq!((seen.hook, seen.ifindex), (Hook::FromEndpoint, ifindex));
    assert_eq!(seen.before.length as usize, frame.len());
    seen
}

fn what_a_hook_does_is_seen(scene: &Scene) {
    let a = scene.node.a;
    for p in parties() {
        let mut follower = follow(scene, &tcp_of(p.pods.a));
        let mut sends = |to, port| seen(scene, &mut follower, a, A_MAC, &syn(p.pods.a, to, port));
        assert_eq!(sends(p.pods.b, SERVER).left, Left::Delivered { to_node: false });
        assert_eq!(sends(p.pods.node, SERVER).left, Left::Node);
        assert_eq!(sends(p.pods.external, SERVER).left, Left::Node);
        assert_eq!(sends(p.pods.missing, SERVER).left, Left::Dropped { answered: true });
        assert_eq!(sends(p.unallocated, SERVER).left, Left::Dropped { answered: false });
        let peer: IpAddr = PEER.parse().unwrap();
        for (to, port, server) in [(p.pods.remote, 80, 80), (p.vip, 80, SERVER)] {
            let Seen { before, after, left, .. } = sends(to, port);
            assert_eq!((left, before.tunnel), (Left::Tunnel(Some(peer)), None));
            assert_eq!(after.tunnel.map(|(_, end)| end), Some(peer));
            let (before, after) = (before.header.unwrap(), after.header.unwrap());
            assert_eq!((before.destination, before.ports), (to, Some((CLIENT, port))));
            assert_eq!((after.destination, after.ports), (p.pods.remote, Some((CLIENT, server))));
            assert_eq!(before.tcp.unwrap().flags, SYN);
            assert_eq!(before.digest, after.digest, "translation changes nothing of what it carries");
        }
        // In a tunnel over IPv6 the device writes the header.
        assert_eq!(sends(p.pods.remote6, SERVER).left, Left::Tunnel(None));
        assert_eq!(follower.lost().unwrap(), 0);
    }
}

fn packets_are_followed_in_tunnels_and_in_errors_and_both_ways(scene: &Scene) {
    let b = scene.node.b;
    for p in parties() {
        let client = p.pods.remote;
        let mut follower = follow(scene, &tcp_of(client));
        let sent = syn(client, p.pods.b, SERVER);
        scene.tunnel_brings(PEER, &sent);
        let [seen] = &all(&mut follower)[..] else { panic!("one packet") };
        assert_eq!(seen.hook, Hook::FromUplink);
        assert_eq!(seen.left, Left::Delivered { to_node: false });
        assert_eq!(seen.before.tunnel.unwrap().0, PEER.parse::<IpAddr>().unwrap());
        assert_eq!(seen.after.tunnel, None);
        let digest = seen.before.header.as_ref().unwrap().digest;
        assert_eq!(digest, seen.after.header.as_ref().unwrap().digest);

        let answer = segment(TCP, (p.pods.b, SERVER), (client, CLIENT), SYN | ACK, b"");
        let back = self::seen(scene, &mut follower, b, B_MAC, &answer);
        assert_eq!(back.left, Left::Tunnel(Some(PEER.parse().unwrap())));

        // An error that the client gets about it, from a router somewhere.
        let quoted = answer.bytes();
        let kind = if client.is_ipv4() { 11 } else { 3 };
        let error = error(p.pods.b, client, (kind, 0), &quoted);
        let frame = error.frame(GATEWAY_MAC, B_MAC);
        scene.node.run(&scene.node.program("from_endpoint"), b, 0, &frame);
        let [seen] = &all(&mut follower)[..] else { panic!("one packet") };
        let icmp = seen.before.header.as_ref().unwrap().icmp.as_ref().unwrap();
        let about = icmp.quoted.as_ref().unwrap();
        assert_eq!((about.source, about.destination), (p.pods.b, client));
    }
}

fn others_are_not_followed(scene: &Scene) {
    let (a, b) = (scene.node.a, scene.node.b);
    for p in parties() {
        let exact = Filter { client_port: Some(CLIENT), ports: vec![SERVER], ..tcp_of(p.pods.a) };
        let mut follower = follow(scene, &exact);
        let send = |ifindex, mac, packet: &Ip| {
            scene.node.run(&scene.node.program("from_endpoint"), ifindex, 0, &packet.frame(GATEWAY_MAC, mac));
        };
        send(b, B_MAC, &syn(p.pods.b, p.pods.remote, SERVER));
        send(a, A_MAC, &syn(p.pods.a, p.pods.remote, SERVER + 1));
        send(a, A_MAC, &segment(TCP, (p.pods.a, CLIENT + 1), (p.pods.remote, SERVER), SYN, b""));
        send(a, A_MAC, &segment(UDP, (p.pods.a, CLIENT), (p.pods.remote, SERVER), 0, b"x"));
        send(a, A_MAC, &echo(p.pods.a, p.pods.remote, false, b"x"));
        scene.tunnel_brings(PEER, &syn(p.pods.remote, p.pods.b, SERVER));
        assert_eq!(all(&mut follower), []);
        send(a, A_MAC, &syn(p.pods.a, p.pods.remote, SERVER));
        assert_eq!(all(&mut follower).len(), 1);
        drop(follower);

        for (protocol, sent) in [
            (UDP, segment(UDP, (p.pods.a, CLIENT), (p.pods.b, SERVER), 0, b"x")),
            (1, echo(p.pods.a, p.pods.b, false, b"x")),
        ] {
            let any = Filter { client_port: None, protocol, ports: vec![], ..exact.clone() };
            let mut follower = follow(scene, &any);
            send(a, A_MAC, &syn(p.pods.a, p.pods.b, SERVER));
            let header = seen(scene, &mut follower, a, A_MAC, &sent).before.header.unwrap();
            assert_eq!((header.protocol, header.payload), (protocol, 1));
        }
    }
}

fn a_flood_is_counted_and_two_may_follow(scene: &Scene) {
    let p = parties()[0];
    let (mut one, mut other) = (follow(scene, &tcp_of(p.pods.a)), follow(scene, &tcp_of(p.pods.a)));
    let count = 2_000;
    for _ in 0..count {
        scene.a_sends(&syn(p.pods.a, p.pods.b, SERVER));
    }
    let seen = all(&mut one).len() as u64;
    assert!((500..count).contains(&seen), "{seen}");
    assert_eq!(one.lost().unwrap() + seen, count);
    assert!(all(&mut other).len() >= 500);
    drop(one);
    scene.a_sends(&syn(p.pods.a, p.pods.b, SERVER));
    let too_many = Filter { ports: (1..10).collect(), ..tcp_of(p.pods.a) };
    let source = scene.node.datapath.follow_source().unwrap();
    assert!(Follower::open(&source, &too_many).is_err());
}
