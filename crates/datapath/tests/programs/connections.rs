//! The tracking of connections through Services: what the maps hold, and what becomes of it.

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use datapath::{Limits, Port, Role};
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");
const PLAIN: u32 = 0;
const FORWARD: u32 = 1;
const REPLY: u32 = 2;
const REPLIED: u32 = 8;
const BOTH_FINS: u32 = 16 | 32;
const RESET: u32 = 64;
const FAILED: u32 = 512;

/// Kinds and states of the entries of a map, without the place of the client, in order.
fn states(scene: &Scene, map: &str) -> Vec<(u32, u32)> {
    let map = scene.maps.hash::<40, 60>(map);
    let state = |value: [u8; 60]| u32::from_ne_bytes(value[44..48].try_into().unwrap());
    let mut states: Vec<_> = map
        .iter()
        .map(|entry| state(entry.unwrap().1))
        .map(|state| (state & 3, state & 0xffff & !7))
        .collect();
    states.sort_unstable();
    states
}

fn new_and_established(scene: &Scene) -> [Vec<(u32, u32)>; 2] {
    [states(scene, "new_connections"), states(scene, "connections")]
}

/// Deletes the entries of a kind, as eviction does.
fn evict(scene: &Scene, kind: u32) -> usize {
    ["new_connections", "connections"]
        .map(|name| {
            let mut map = scene.maps.hash::<40, 60>(name);
            let keys: Vec<[u8; 40]> = map
                .iter()
                .map(Result::unwrap)
                .filter(|(_, value)| u32::from(value[44]) & 3 == kind)
                .map(|(key, _)| key)
                .collect();
            keys.iter().for_each(|key| map.remove(key).unwrap());
            keys.len()
        })
        .iter()
        .sum()
}

fn clear(scene: &Scene) {
    for kind in [PLAIN, FORWARD, REPLY] {
        evict(scene, kind);
    }
}

/// A Service with one backend at the Pod B; the client is the Pod A.
struct Pair {
    protocol: u8,
    client: End,
    vip: End,
    backend: End,
}

impl Pair {
    fn new(scene: &mut Scene, p: &Parties, protocol: u8) -> Self {
        let pair = Self { protocol, client: (p.pods.a, 40_000), vip: (p.vip, 80), backend: (p.pods.b, 8080) };
        scene.maps.serve(SCOPE_ADDRESS, protocol, pair.vip, &Service::new(1, &[pair.backend]));
        pair
    }

    fn ask(&self, scene: &Scene, flags: u8) {
        let packet = |to| segment(self.protocol, self.client, to, flags, b"question");
        let verdict = scene.a_sends(&packet(self.vip));
        delivered(&verdict, "local", B_MAC, &after(1, packet(self.backend)));
    }

    fn answer(&self, scene: &Scene, flags: u8) {
        let packet = |from| segment(self.protocol, from, self.client, flags, b"answer");
        let verdict = scene.b_sends(&packet(self.backend));
        delivered(&verdict, "local", A_MAC, &after(1, packet(self.vip)));
    }

    fn open(&self, scene: &Scene) {
        self.ask(scene, SYN);
        self.answer(scene, SYN | ACK);
        self.ask(scene, ACK);
    }
}

#[test]
fn a_connection_is_established_by_the_clients_packet_after_an_answer() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().flat_map(|p| [TCP, UDP, SCTP].map(|protocol| (p, protocol))) {
            let pair = Pair::new(&mut scene, p, protocol);
            for _ in 0..3 {
                pair.ask(&scene, SYN);
                assert_eq!(new_and_established(&scene), [vec![(FORWARD, 0), (REPLY, 0)], vec![]]);
            }
            for _ in 0..2 {
                pair.answer(&scene, SYN | ACK);
                assert_eq!(states(&scene, "new_connections"), [(FORWARD, REPLIED), (REPLY, REPLIED)]);
            }
            for _ in 0..2 {
                pair.ask(&scene, ACK);
                let both = vec![(FORWARD, REPLIED), (REPLY, REPLIED)];
                assert_eq!(new_and_established(&scene), [vec![], both]);
            }
            clear(&scene);
            // And one that goes through no Service.
            let direct = |from, to, flags| segment(protocol, from, to, flags, b"x");
            scene.a_sends(&direct(pair.client, pair.backend, SYN));
            assert_eq!(new_and_established(&scene), [vec![(PLAIN, 0)], vec![]]);
            scene.b_sends(&direct(pair.backend, pair.client, SYN | ACK));
            scene.a_sends(&direct(pair.client, pair.backend, ACK));
            assert_eq!(new_and_established(&scene), [vec![], vec![(PLAIN, REPLIED)]]);
            clear(&scene);
        }
        for p in parties() {
            scene.a_sends(&echo(p.pods.a, p.pods.b, false, b"ping"));
            scene.b_sends(&echo(p.pods.b, p.pods.a, true, b"ping"));
            scene.a_sends(&echo(p.pods.a, p.pods.b, false, b"ping"));
            assert_eq!(new_and_established(&scene), [vec![], vec![(PLAIN, REPLIED)]]);
            clear(&scene);
        }
    });
}

#[test]
fn each_half_makes_the_other_again() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().flat_map(|p| [TCP, UDP, SCTP].map(|protocol| (p, protocol))) {
            let pair = Pair::new(&mut scene, p, protocol);
            for established in [false, true] {
                pair.ask(&scene, SYN);
                if established {
                    pair.answer(&scene, SYN | ACK);
                    pair.ask(&scene, ACK);
                }
                let whole = new_and_established(&scene);
                assert_eq!(evict(&scene, REPLY), 1);
                scene.maps.serve(SCOPE_ADDRESS, protocol, pair.vip, &Service::new(1, &[(p.pods.remote, 1)]));
                let_time_pass(&scene);
                pair.ask(&scene, ACK);
                assert_eq!(new_and_established(&scene), whole, "from the client's packet");
                assert_eq!(evict(&scene, FORWARD), 1);
                let_time_pass(&scene);
                pair.answer(&scene, ACK);
                pair.ask(&scene, ACK);
                assert_eq!(states(&scene, "connections"), [(FORWARD, REPLIED), (REPLY, REPLIED)]);
                scene.maps.serve(SCOPE_ADDRESS, protocol, pair.vip, &Service::new(1, &[pair.backend]));
                clear(&scene);
            }
        }
    });
}

/// Makes every entry one that was not attended to of late, since only then its other half is looked for.
fn let_time_pass(scene: &Scene) {
    for name in ["new_connections", "connections"] {
        let mut map = scene.maps.hash::<40, 60>(name);
        let entries: Vec<_> = map.iter().map(Result::unwrap).collect();
        for (key, mut value) in entries {
            value[46] ^= 1; // the lowest bit of the state's upper half
            map.insert(key, value, 0).unwrap();
        }
    }
}

#[test]
fn a_syn_keeps_the_backend_of_a_live_connection_and_chooses_anew_on_a_closed_one() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let pair = Pair::new(&mut scene, &p, TCP);
            let elsewhere = Service::new(1, &[(p.pods.remote, 8080)]);
            let syn = segment(TCP, pair.client, pair.vip, SYN, b"");
            // Who sends which flags.
            let (client, server) = (true, false);
            for (name, sent, closed) in [
                ("open", &[][..], 0),
                ("one FIN", &[(client, FIN | ACK)], 0),
                ("two FINs", &[(client, FIN | ACK), (server, FIN | ACK)], BOTH_FINS),
                ("a reset", &[(server, RST)], RESET),
            ] {
                pair.open(&scene);
                for (from_client, flags) in sent {
                    if *from_client { pair.ask(&scene, *flags) } else { pair.answer(&scene, *flags) }
                }
                scene.maps.serve(SCOPE_ADDRESS, TCP, pair.vip, &elsewhere);
                let both = states(&scene, "connections");
                assert!(
                    both.len() == 2 && both.iter().all(|(_, state)| state & closed == closed),
                    "{name}: {both:?}"
                );
                if closed == 0 {
                    assert_eq!(scene.a_sends(&syn).reason, "local", "{name}");
                } else {
                    let there = segment(TCP, pair.client, (p.pods.remote, 8080), SYN, b"");
                    tunnelled(&scene.a_sends(&syn), PEER, &after(1, there));
                    assert_eq!(
                        new_and_established(&scene),
                        [vec![(FORWARD, 0), (REPLY, 0)], vec![]],
                        "{name}"
                    );
                    let answer = |from| segment(TCP, from, pair.client, SYN | ACK, b"");
                    let verdict = scene.tunnel_brings(PEER, &answer((p.pods.remote, 8080)));
                    delivered(&verdict, "direct_in", A_MAC, &answer(pair.vip));
                }
                scene.maps.serve(SCOPE_ADDRESS, TCP, pair.vip, &Service::new(1, &[pair.backend]));
                clear(&scene);
            }
        }
    });
}

/// In both orders, and also after the connection through the Service has come to its end.
#[test]
fn a_connection_to_the_backend_itself_with_the_same_ports_works_at_once() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().flat_map(|p| [TCP, UDP, SCTP].map(|protocol| (p, protocol))) {
            let pair = Pair::new(&mut scene, p, protocol);
            let talk = |to: End, flags: [u8; 2], seen: Option<End>| {
                let packet = |from, to| segment(protocol, from, to, flags[0], b"question");
                let verdict = scene.a_sends(&packet(pair.client, to));
                let source = ends(&verdict.frame[14..]).0;
                if let Some(seen) = seen {
                    assert_eq!(source, seen, "the connection has its port for ever");
                }
                delivered(&verdict, "local", B_MAC, &after(1, packet(source, pair.backend)));
                let answer = |from, to| segment(protocol, from, to, flags[1], b"answer");
                let verdict = scene.b_sends(&answer(pair.backend, source));
                delivered(&verdict, "local", A_MAC, &after(1, answer(to, pair.client)));
                source
            };
            for [first, second] in [[pair.vip, pair.backend], [pair.backend, pair.vip]] {
                let one = talk(first, [SYN, SYN | ACK], None);
                let other = talk(second, [SYN, SYN | ACK], None);
                assert_eq!(one, pair.client);
                assert!((20_000..=29_999).contains(&other.1), "{other:?}");
                for _ in 0..3 {
                    talk(first, [ACK, ACK], Some(one));
                    talk(second, [ACK, ACK], Some(other));
                    let_time_pass(&scene);
                }
                // The first one ends, and its entries age away.
                let mut map = scene.maps.hash::<40, 60>("connections");
                let own: Vec<[u8; 40]> = map
                    .keys()
                    .map(Result::unwrap)
                    .filter(|key| {
                        let ports = [32, 34].map(|at| u16::from_be_bytes([key[at], key[at + 1]]));
                        let is_variant = key[37] != 0;
                        ports.contains(&one.1)
                            && !is_variant
                            && (first == pair.vip || !ports.contains(&pair.vip.1))
                    })
                    .collect();
                own.iter().for_each(|key| map.remove(key).unwrap());
                talk(second, [ACK, ACK], Some(other));
                clear(&scene);
            }
        }
    });
}

#[test]
fn a_port_is_found_as_long_as_one_is_free() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        scene.node.config.source_ports = 20_000..=20_003;
        scene.node.datapath.set_config(&scene.node.config).unwrap();
        for p in parties() {
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 80), &Service::new(1, &[(p.client, 80)]));
            let packet = |port, flags| segment(TCP, (p.pods.a, port), (p.vip, 80), flags, b"");
            let mut used = vec![];
            for port in 1..=4 {
                let verdict = scene.a_sends(&packet(port, SYN));
                assert_eq!(verdict.reason, "outside");
                used.push(ends(&verdict.frame[14..]).0.1);
            }
            used.sort_unstable();
            assert_eq!(used, [20_000, 20_001, 20_002, 20_003], "each once");
            dropped(&scene.a_sends(&packet(5, SYN)), "no_port");
            // A port of a connection that is over serves again, and the one that is over does not come back.
            let own = ends(&scene.a_sends(&packet(2, RST)).frame[14..]).0.1;
            let verdict = scene.a_sends(&packet(5, SYN));
            assert_eq!((verdict.reason, ends(&verdict.frame[14..]).0.1), ("outside", own));
            let answer = segment(TCP, (p.client, 80), (p.own, own), SYN | ACK, b"");
            for _ in 0..2 {
                dropped(&scene.a_sends(&packet(2, SYN)), "no_port");
                let expected = segment(TCP, (p.vip, 80), (p.pods.a, 5), SYN | ACK, b"");
                delivered(&scene.uplink_brings(&answer), "from_outside", A_MAC, &after(1, expected));
            }
            clear(&scene);
        }
    });
}

/// The reset that answers a segment, from whom it was for.
fn reset(about: &Ip, hops: u8) -> Ip {
    let ack = about.payload[8..12].to_vec();
    let (from, to) = ends(&about.bytes());
    let mut packet = segment(TCP, to, from, RST, b"");
    packet.payload[4..8].copy_from_slice(&ack);
    packet.payload[8..12].fill(0);
    packet.payload[14..18].fill(0);
    let pseudo = [octets(to.0), octets(from.0), vec![0, 0, 0, 20, 0, 0, 0, TCP]].concat();
    let sum = checksum(&[pseudo, packet.payload.clone()].concat());
    packet.payload[16..18].copy_from_slice(&sum);
    let fragment = if from.0.is_ipv4() { DONT_FRAGMENT } else { 0 };
    Ip { fragment, hops, ..packet }
}

fn bind(scene: &mut Scene, name: &str, mac: [u8; 6], p: &Parties) -> u32 {
    let made = format!("link add name {name} type veth peer name {name}-peer");
    run("ip", &made);
    let ifindex = ifindex(name);
    let port = Port {
        ifindex,
        mac,
        addresses: vec![p.pods.b],
        role: Role::Pod,
        limits: Limits::default(),
        set: datapath::policy::OPEN,
    };
    scene.node.datapath.bind(&port).unwrap();
    ifindex
}

/// The backend's Pod is replaced by one with its address: no packet of an old connection reaches it.
#[test]
fn a_pod_with_a_reused_address_gets_no_old_connection() {
    for (p, index) in parties().into_iter().zip(0..) {
        sandbox(|bpffs| {
            let mut scene = Scene::new(bpffs, OBJECT);
            let pairs = [TCP, UDP].map(|protocol| Pair::new(&mut scene, &p, protocol));
            for pair in &pairs {
                pair.open(&scene);
            }
            let plain = |flags| segment(TCP, (p.pods.a, 50_000), (p.pods.b, 80), flags, b"12");
            let remote =
                |protocol, flags| segment(protocol, (p.pods.remote, 50_000), (p.pods.b, 80), flags, b"12");
            scene.a_sends(&plain(SYN));
            scene.a_sends(&echo(p.pods.a, p.pods.b, false, b"ping"));
            scene.tunnel_brings(PEER, &remote(TCP, SYN));
            scene.tunnel_brings(PEER, &remote(UDP, 0));
            let c_mac = [2, 0, 0, 0, 0, 0xcc];
            scene.node.datapath.release(scene.node.b).unwrap();
            let c = bind(&mut scene, &format!("pod-c{index}"), c_mac, &p);

            let segment_of_old = segment(TCP, pairs[0].client, pairs[0].vip, ACK, b"x");
            let verdict = scene.a_sends(&segment_of_old);
            delivered(&verdict, "connection_reset", A_MAC, &reset(&segment_of_old, 64));
            let verdict = scene.a_sends(&plain(ACK));
            delivered(&verdict, "connection_reset", A_MAC, &reset(&plain(ACK), 64));
            let verdict = scene.tunnel_brings(PEER, &remote(TCP, ACK));
            tunnelled(&verdict, PEER, &reset(&remote(TCP, ACK), 64));
            // What cannot be reset is dropped once, and then belongs to nothing.
            let datagram = |to| segment(UDP, pairs[1].client, to, 0, b"x");
            dropped(&scene.a_sends(&datagram(pairs[1].vip)), "stale_connection");
            delivered(
                &scene.a_sends(&datagram(pairs[1].vip)),
                "local",
                c_mac,
                &after(1, datagram(pairs[1].backend)),
            );
            let ping = echo(p.pods.a, p.pods.b, false, b"ping");
            dropped(&scene.a_sends(&ping), "stale_connection");
            delivered(&scene.a_sends(&ping), "local", c_mac, &after(1, ping));
            dropped(&scene.tunnel_brings(PEER, &remote(UDP, 0)), "stale_connection");
            delivered(&scene.tunnel_brings(PEER, &remote(UDP, 0)), "direct_in", c_mac, &remote(UDP, 0));
            delivered(&scene.tunnel_brings(PEER, &remote(TCP, SYN)), "direct_in", c_mac, &remote(TCP, SYN));
            delivered(&scene.a_sends(&plain(SYN)), "local", c_mac, &after(1, plain(SYN)));

            // As a client it begins connections of its own, and its backend may be anywhere.
            let again = segment(TCP, (p.pods.b, 60_000), (p.vip, 90), SYN, b"");
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 90), &Service::new(1, &[(p.pods.a, 90)]));
            scene.endpoint_sends(c, c_mac, &again);
            scene.node.datapath.release(c).unwrap();
            let d = bind(&mut scene, &format!("pod-d{index}"), c_mac, &p);
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 90), &Service::new(1, &[(p.pods.remote, 90)]));
            assert_eq!(scene.endpoint_sends(d, c_mac, &again).reason, "direct_out");
            let answer = |from| segment(TCP, from, (p.pods.b, 60_000), SYN | ACK, b"");
            let verdict = scene.tunnel_brings(PEER, &answer((p.pods.remote, 90)));
            delivered(&verdict, "direct_in", c_mac, &answer((p.vip, 90)));
        });
    }
}

/// Once a Pod is gone, the other end is told by its next segment, and a new connection finds another backend.
#[test]
fn what_is_left_of_a_connection_is_reset() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let two = parties();
        for p in &two {
            Pair::new(&mut scene, p, TCP).open(&scene);
            let ask = segment(TCP, (p.pods.a, 41_000), (p.vip, 81), SYN, b"");
            scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 81), &Service::new(1, &[(p.pods.remote, 81)]));
            scene.a_sends(&ask);
            let answer = segment(TCP, (p.pods.remote, 81), (p.pods.a, 41_000), SYN | ACK, b"");
            scene.tunnel_brings(PEER, &answer);
        }
        scene.node.datapath.release(scene.node.b).unwrap();
        for p in &two {
            let pair = Pair::new(&mut scene, p, TCP);
            scene.maps.serve(SCOPE_ADDRESS, TCP, pair.vip, &Service::new(1, &[(p.pods.remote, 8080)]));
            let segment = |flags| segment(TCP, pair.client, pair.vip, flags, b"x");
            delivered(&scene.a_sends(&segment(ACK)), "connection_reset", A_MAC, &reset(&segment(ACK), 64));
            assert_eq!(scene.a_sends(&segment(SYN)).reason, "direct_out", "the old backend is gone");
        }
        // The client is gone.
        scene.node.datapath.release(scene.node.a).unwrap();
        for p in &two {
            let answer = segment(TCP, (p.pods.remote, 81), (p.pods.a, 41_000), ACK, b"x");
            tunnelled(&scene.tunnel_brings(PEER, &answer), PEER, &reset(&answer, 64));
        }
    });
}

#[test]
fn a_datagram_that_its_backend_refuses_frees_the_client_for_another() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let pair = Pair::new(&mut scene, &p, UDP);
            pair.ask(&scene, 0);
            let asked = after(1, segment(UDP, pair.client, pair.backend, 0, b"question"));
            let kind = if p.vip.is_ipv6() { (1, 4) } else { (3, 3) };
            let both = |scene: &Scene| states(scene, "new_connections");
            // Only the backend itself can say so.
            scene.node_sends(&error(p.pods.node, p.pods.a, kind, &asked.bytes()));
            let other = if p.vip.is_ipv6() { (1, 3) } else { (3, 1) };
            scene.b_sends(&error(p.pods.b, p.pods.a, other, &asked.bytes()));
            assert_eq!(both(&scene), [(FORWARD, 0), (REPLY, 0)]);
            scene.b_sends(&error(p.pods.b, p.pods.a, kind, &asked.bytes()));
            assert_eq!(both(&scene), [(FORWARD, FAILED), (REPLY, 0)]);
            let affine = Service { affinity: 100, ..Service::new(1, &[(p.pods.remote, 8080)]) };
            scene.maps.serve(SCOPE_ADDRESS, UDP, pair.vip, &affine);
            let verdict = scene.a_sends(&segment(UDP, pair.client, pair.vip, 0, b"again"));
            let there = segment(UDP, pair.client, (p.pods.remote, 8080), 0, b"again");
            tunnelled(&verdict, PEER, &after(1, there));
            assert_eq!(both(&scene), [(FORWARD, 0), (REPLY, 0)]);
            clear(&scene);
        }
    });
}
