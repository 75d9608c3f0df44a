//! Which backend a connection gets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::support::packets::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use testkit::Random;
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");

/// Backends that another node has: what is chosen stands in a packet for its tunnel.
fn backends(p: &Parties, count: u16) -> Vec<End> {
    let address = |last: u16| match p.pods.remote {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4) & !0xff | u32::from(last)).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !0xffff | u128::from(last)).to_be_bytes()),
    };
    (0..count).map(|number| (address(number % 250 + 1), 8000 + number / 250)).collect()
}

/// The backend that a client's first packet is sent to, without all the checks of the others.
fn chosen(scene: &Scene, program: &SchedClassifier, from_node: bool, packet: &Ip) -> End {
    let (ifindex, mac) =
        if from_node { (scene.node.config.mido_ifindex, NODE_MAC) } else { (scene.node.a, A_MAC) };
    let mut context = [0u8; 192]; // struct __sk_buff
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let mut out = vec![0; 512];
    let frame = packet.frame(GATEWAY_MAC, mac);
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        })
        .unwrap();
    assert_eq!(result.return_value, TC_ACT_REDIRECT);
    ends(inner(&out)).1
}

#[test]
fn the_choice_depends_on_the_tuple_and_the_backends_alone() {
    let mut random = Random::new(3);
    let clients: Vec<End> = (0..500)
        .map(|_| {
            (
                IpAddr::from((random.below(1 << 24) as u32 | 0xac00_0000).to_be_bytes()),
                random.below(65_536) as u16,
            )
        })
        .collect();
    let choices: Vec<Vec<End>> = (0..2)
        .map(|round| {
            sandbox(|bpffs| {
                let mut scene = Scene::new(bpffs, OBJECT);
                let p = &parties()[0];
                let program = scene.node.program("from_endpoint");
                let mut found = vec![];
                for (count, size) in [(1u16, 0usize), (10, 0), (32, 0), (40, 1009)] {
                    let list = backends(p, count);
                    // Other slots on each node.
                    scene.maps.serve(
                        SCOPE_ADDRESS,
                        UDP,
                        (p.unallocated, 1),
                        &Service::new(9, &list[..list.len().min(1 + round)]),
                    );
                    let table: Vec<u16> =
                        (0..size as u32).map(|at| (at * 7 % u32::from(count)) as u16).collect();
                    let service = Service { table: table.clone(), ..Service::new(1, &list) };
                    let vip = (p.vip, count);
                    scene.maps.serve(SCOPE_ADDRESS, UDP, vip, &service);
                    scene.maps.serve(SCOPE_NODE_PORT, UDP, (p.own, count), &service);
                    scene.maps.serve_port(UDP, count);
                    for client in &clients {
                        for (scope, front) in [
                            (SCOPE_ADDRESS, vip),
                            (SCOPE_NODE_PORT, (p.own, count)),
                            (SCOPE_NODE_PORT, (p.other, count)),
                        ] {
                            let hash = choice(UDP, *client, front, scope);
                            let expected = if size == 0 {
                                rendezvous(&list, hash)
                            } else {
                                list[usize::from(table[hash as usize % size])]
                            };
                            let packet = segment(UDP, *client, front, 0, b"");
                            let backend = chosen(&scene, &program, true, &packet);
                            assert_eq!(backend, expected, "{client:?} {front:?}");
                            found.push(backend);
                        }
                    }
                }
                found
            })
        })
        .collect();
    assert!(choices[0] == choices[1]);
}

#[test]
fn backends_get_an_equal_share() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for (p, protocol) in parties().iter().zip([UDP, TCP]) {
            let list = backends(p, 10);
            scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, 80), &Service::new(1, &list));
            let program = scene.node.program("from_endpoint");
            let (mut programs, mut all) = (BTreeMap::<End, u32>::new(), BTreeMap::<End, u32>::new());
            // One client with every port, then clients side by side.
            for number in 0..100_000u32 {
                let client = if number < 60_000 {
                    (p.pods.a, number as u16)
                } else {
                    (backends(p, 250)[(number % 250) as usize].0, (number / 250) as u16 + 32_768)
                };
                let expected = rendezvous(&list, choice(protocol, client, (p.vip, 80), SCOPE_ADDRESS));
                *all.entry(expected).or_default() += 1;
                if number % 4 == 0 {
                    let packet = segment(protocol, client, (p.vip, 80), SYN, b"");
                    let backend = chosen(&scene, &program, client.0 != p.pods.a, &packet);
                    assert_eq!(backend, expected);
                    *programs.entry(backend).or_default() += 1;
                }
            }
            assert_eq!((programs.len(), all.len()), (10, 10));
            assert!(all.values().all(|share| (9_500..=10_500).contains(share)), "{all:?}");
        }
    });
}

#[test]
fn a_backend_takes_only_its_own_connections_with_it() {
    let p = &parties()[1];
    for count in [10usize, 32] {
        let list = backends(p, count as u16);
        for gone in 0..count {
            let mut rest = list.clone();
            let gone = rest.remove(gone);
            for port in 0..5_000 {
                let hash = choice(TCP, (p.pods.a, port), (p.vip, 80), SCOPE_ADDRESS);
                let before = rendezvous(&list, hash);
                assert!(before == gone || before == rendezvous(&rest, hash));
            }
        }
    }
}

#[test]
fn a_client_keeps_its_backend_for_as_long_as_it_should() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            let list = backends(&p, 300);
            let serve = |scene: &mut Scene, list: &[End], affinity| {
                let table =
                    (0..if list.len() > 32 { 1009 } else { 0 }).map(|at| at % list.len() as u16).collect();
                let service = Service { affinity, table, ..Service::new(1, list) };
                for port in [80, 81] {
                    scene.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, port), &service);
                }
            };
            let program = scene.node.program("from_endpoint");
            let mut port = 0;
            let mut ask = |scene: &Scene| {
                port += 1;
                let packet = segment(TCP, (p.pods.a, port), (p.vip, 80 + port % 2), SYN, b"");
                chosen(scene, &program, false, &packet)
            };
            serve(&mut scene, &list, 1000);
            let first = ask(&scene);
            assert!((0..20).all(|_| ask(&scene) == first), "whatever the client's port and the frontend");
            // Another list with it, the last of many.
            let mut others: Vec<_> = list.iter().copied().filter(|backend| *backend != first).collect();
            others.push(first);
            serve(&mut scene, &others, 1000);
            assert_eq!(ask(&scene), first);
            others.pop();
            serve(&mut scene, &others, 1000);
            let second = ask(&scene);
            assert_ne!(second, first, "it is gone");
            assert_eq!(ask(&scene), second);

            // Within the time, and beyond it; the clock's unit is a bit more than a second.
            serve(&mut scene, &list[..32], 5);
            let set = |scene: &Scene, age: u32, backend: End| {
                let mut map = scene.maps.hash::<20, 24>("affinities");
                let key = [&address(p.pods.a)[..], &1u32.to_ne_bytes()].concat().try_into().unwrap();
                let now = u32::from_ne_bytes(map.get(&key, 0).unwrap()[20..].try_into().unwrap());
                let port = backend.1.to_be_bytes();
                let seen = now.wrapping_sub(age).to_ne_bytes();
                let value = [&address(backend.0)[..], &port, &[0; 2], &seen].concat();
                map.insert(key, <[u8; 24]>::try_from(value).unwrap(), 0).unwrap();
            };
            for (age, kept) in [(0, 32), (4, 32), (5, 32)] {
                let same = (0..32)
                    .filter(|index| {
                        ask(&scene);
                        set(&scene, age, list[*index]);
                        ask(&scene) == list[*index]
                    })
                    .count();
                // The clock may go on in between.
                assert!(same + 1 >= kept, "{age} units ago: {same}");
            }
            for age in [7, 100, 1 << 30] {
                let same = (0..32)
                    .filter(|index| {
                        ask(&scene);
                        set(&scene, age, list[*index]);
                        ask(&scene) == list[*index]
                    })
                    .count();
                assert!(same <= 2, "{age} units ago: a new choice, which may by chance be the same");
            }
        }
    });
}
