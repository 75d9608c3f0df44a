//! Traces in real kernels, compared with what the programs at work do with the same packets.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use aya::maps::MapData;
use testkit::packet::{TCP, UDP};

use super::packet::TUNNEL;
use super::*;
use crate::support::policy::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::tunnel::{OWN, PEER_MAC, UPLINK_MAC, tunnel};
use crate::support::*;
use crate::sys::RawMap;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");
const CLIENT: u16 = 40_000;
const SERVER: u16 = 8080;

/// The entries of a map: keys and values.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Every entry of every map at work, by the name of its pin.
fn contents(bpffs: &Path) -> BTreeMap<String, Entries> {
    let pins = fs::read_dir(options(bpffs).pin_dir.join("maps")).unwrap().map(|pin| pin.unwrap().path());
    pins.map(|pin| {
        let mut entries = RawMap::new(MapData::from_pin(&pin).unwrap()).unwrap().entries().unwrap();
        entries.sort();
        (pin.file_name().unwrap().to_str().unwrap().to_owned(), entries)
    })
    .collect()
}

fn tracer(scene: &Scene) -> Tracer {
    Tracer::open(scene.node.datapath.trace_source().unwrap()).unwrap()
}

fn packet(transport: Transport, from: (IpAddr, u16), to: (IpAddr, u16)) -> Packet {
    let (source, destination) = (SocketAddr::from(from), SocketAddr::from(to));
    Packet { transport, source, destination, reply: false }
}

/// What the programs at work do with a packet: the reasons that they count.
fn real(scene: &mut Scene, entrance: Entrance, packet: &Packet) -> (Vec<&'static str>, Vec<u8>) {
    let endpoint = |ifindex, mac| {
        let frame = packet.frame(GATEWAY_MAC, mac).unwrap();
        scene.node.run(&scene.node.program("from_endpoint"), ifindex, 0, &frame)
    };
    let (verdict, counted) = match entrance {
        Entrance::Node => endpoint(scene.node.config.mido_ifindex, NODE_MAC),
        Entrance::Port(ifindex) => {
            let mac = if ifindex == scene.node.a {
                A_MAC
            } else if ifindex == scene.node.b {
                B_MAC
            } else {
                NODE_MAC
            };
            endpoint(ifindex, mac)
        }
        Entrance::Tunnel(peer @ IpAddr::V4(_)) => {
            let inner = packet.frame(OVERLAY_MAC, GATEWAY_MAC).unwrap();
            let outer = tunnel(&peer.to_string(), VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
            scene.node.run(&scene.node.program("from_uplink"), scene.uplink, 0, &outer)
        }
        Entrance::Tunnel(peer) => {
            let inner = packet.frame(OVERLAY_MAC, GATEWAY_MAC).unwrap();
            let verdict = scene.overlay.process(&scene.node, &peer.to_string(), VNI, &inner);
            (Verdict { reason: "", ..verdict }, vec![(verdict.reason, 0)])
        }
    };
    (counted.into_iter().map(|(reason, _)| reason).collect(), verdict.frame)
}

/// Services of both families: of two Pods, and of nobody.
fn serve(scene: &mut Scene) {
    for p in parties() {
        for protocol in [TCP, UDP] {
            let backends = [(p.pods.b, SERVER), (p.pods.remote, SERVER)];
            scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, 80), &Service::new(7, &backends));
            let nobody = Service { flags: REFUSE, ..Service::new(8, &[]) };
            scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, 81), &nobody);
        }
    }
}

#[test]
fn a_trace_tells_what_the_programs_do_and_changes_nothing() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        serve(&mut scene);
        let mut tracer = tracer(&scene);
        let a = scene.node.a;
        for p in parties() {
            let Family { gateway, missing, remote, remote6, unserved, external, node, .. } = p.pods;
            let peer: IpAddr = PEER.parse().unwrap();
            let peer6: IpAddr = PEER6.parse().unwrap();
            let unbound = scene.node.unbound;
            let from_a = |to: IpAddr, port| (Entrance::Port(a), (p.pods.a, CLIENT), (to, port));
            let mut seen = 0;
            for (entrance, from, to) in [
                from_a(p.pods.b, SERVER),
                from_a(remote, SERVER),
                from_a(remote6, SERVER),
                from_a(missing, SERVER),
                from_a(unserved, SERVER),
                from_a(external, SERVER),
                from_a(node, SERVER),
                from_a(gateway, SERVER),
                from_a(p.vip, 80),
                from_a(p.vip, 81),
                from_a(p.vip, 82),
                from_a(p.unallocated, 80),
                (Entrance::Port(a), (p.pods.b, CLIENT), (remote, SERVER)),
                (Entrance::Port(unbound), (p.pods.a, CLIENT), (remote, SERVER)),
                (Entrance::Node, (node, CLIENT), (p.pods.b, SERVER)),
                (Entrance::Node, (node, CLIENT), (p.vip, 80)),
                (Entrance::Tunnel(peer), (remote, CLIENT), (p.pods.a, SERVER)),
                (Entrance::Tunnel(peer6), (remote6, CLIENT), (p.pods.a, SERVER)),
                (Entrance::Tunnel(peer), (remote6, CLIENT), (p.pods.a, SERVER)),
                (Entrance::Tunnel(peer6), (remote, CLIENT), (p.pods.a, SERVER)),
                (Entrance::Tunnel(peer), (remote, CLIENT), (missing, SERVER)),
            ] {
                for transport in [Transport::Tcp, Transport::Udp, Transport::Icmp] {
                    let (from, to) = match transport {
                        Transport::Icmp => ((from.0, from.1 + seen), (to.0, from.1 + seen)),
                        _ => ((from.0, from.1 + seen), to),
                    };
                    let packet = packet(transport, from, to);
                    let before = contents(bpffs);
                    let traced = tracer.trace(entrance, &packet, &State::default()).unwrap();
                    assert!(before == contents(bpffs), "{packet:?}");
                    let (reasons, frame) = real(&mut scene, entrance, &packet);
                    assert_eq!(vec![traced.reason.name], reasons, "{entrance:?} {packet:?}: {traced:?}");
                    let frame = &frame[if reasons == ["direct_out"] { TUNNEL } else { 0 }..];
                    if !matches!(traced.exit, Exit::Dropped { .. } | Exit::Answered) {
                        assert_eq!(Packet::read(frame), Some(traced.packet), "{traced:?}");
                    }
                    seen += 1;
                }
            }
        }
    });
}

#[test]
fn a_trace_says_where_a_packet_leaves_and_its_reply_finds_the_way_back() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        serve(&mut scene);
        let mut tracer = tracer(&scene);
        let (a, b) = (scene.node.a, scene.node.b);
        let own: IpAddr = OWN.parse().unwrap();
        let peer: IpAddr = PEER.parse().unwrap();
        let before = contents(bpffs);
        for p in parties() {
            for transport in [Transport::Tcp, Transport::Udp] {
                let mut exits = std::collections::BTreeSet::new();
                for port in CLIENT..CLIENT + 32 {
                    let sent = packet(transport, (p.pods.a, port), (p.vip, 80));
                    let there = tracer.trace(Entrance::Port(a), &sent, &State::default()).unwrap();
                    let record = there.record.unwrap();
                    assert_eq!((record.service, record.frontend), (7, sent.destination));
                    assert_eq!(record.backend, there.packet.destination);
                    let entrance = match there.exit {
                        Exit::Port(to) => {
                            assert_eq!((to, there.packet.destination.ip()), (b, p.pods.b));
                            Entrance::Port(b)
                        }
                        Exit::Tunnel { end, own: from } => {
                            assert_eq!(
                                (end, from, there.packet.destination.ip()),
                                (peer, own, p.pods.remote)
                            );
                            Entrance::Tunnel(peer)
                        }
                        other => panic!("{other:?}"),
                    };
                    exits.insert(format!("{entrance:?}"));
                    let reply = there.packet.answer();
                    let back = tracer.trace(entrance, &reply, &there.state).unwrap();
                    assert_eq!((back.exit, back.packet), (Exit::Port(a), sent.answer()), "{back:?}");
                    // Without the state, nobody knows the connection.
                    let lost = tracer.trace(entrance, &reply, &State::default()).unwrap();
                    assert_eq!(lost.packet.source, reply.source);
                }
                assert_eq!(exits.len(), 2, "both backends are chosen: {exits:?}");
            }
            let ping = packet(Transport::Icmp, (p.pods.a, 9), (p.pods.gateway, 9));
            let traced = tracer.trace(Entrance::Port(a), &ping, &State::default()).unwrap();
            assert_eq!((traced.reason.name, traced.exit), ("echo_reply", Exit::Answered));
            let refused = packet(Transport::Tcp, (p.pods.a, 9), (p.vip, 81));
            let traced = tracer.trace(Entrance::Port(a), &refused, &State::default()).unwrap();
            assert_eq!((traced.reason.name, traced.exit), ("no_backend", Exit::Dropped { answered: true }));
        }
        assert!(before == contents(bpffs), "traces changed something");
    });
}

#[test]
fn a_live_connection_is_traced_as_it_goes_on() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        serve(&mut scene);
        let mut tracer = tracer(&scene);
        let (a, b) = (scene.node.a, scene.node.b);
        for p in parties() {
            let to_b = |port: &u16| {
                let sent = packet(Transport::Tcp, (p.pods.a, *port), (p.vip, 80));
                let traced = tracer.trace(Entrance::Port(a), &sent, &State::default()).unwrap();
                traced.exit == Exit::Port(b)
            };
            let port = (CLIENT..).find(to_b).unwrap();
            let sent = packet(Transport::Tcp, (p.pods.a, port), (p.vip, 80));
            real(&mut scene, Entrance::Port(a), &sent);
            let before = contents(bpffs);
            let reply = packet(Transport::Tcp, (p.pods.b, SERVER), (p.pods.a, port));
            let reply = Packet { reply: true, ..reply };
            let traced = tracer.trace(Entrance::Port(b), &reply, &State::default()).unwrap();
            assert_eq!((traced.exit, traced.packet), (Exit::Port(a), sent.answer()));
            assert!(before == contents(bpffs));
        }
    });
}

#[test]
fn policy_is_told_by_its_rules_and_as_it_is_now() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let mut tracer = tracer(&scene);
        let (a, b) = (scene.node.a, scene.node.b);
        for p in parties() {
            let sent = packet(Transport::Tcp, (p.pods.a, CLIENT), (p.pods.b, SERVER));
            let mut trace = || tracer.trace(Entrance::Port(a), &sent, &State::default()).unwrap();
            let (nothing, everything) = (Table(all(deny(5)), vec![]), Table(all(allow(4)), vec![]));
            Draft::new()
                .pod(b, everything.clone(), open())
                .pod(a, open(), Table(all(allow(3)), vec![]))
                .apply(&mut scene.node.datapath);
            let before = contents(bpffs);
            let traced = trace();
            let record = traced.record.unwrap();
            assert_eq!((traced.exit, record.egress.rule, record.ingress.rule), (Exit::Port(b), 3, 4));
            assert!(before == contents(bpffs));

            Draft::new()
                .pod(b, nothing.clone(), open())
                .pod(a, open(), everything.clone())
                .apply(&mut scene.node.datapath);
            let before = contents(bpffs);
            let traced = trace();
            assert_eq!(
                (traced.reason.name, traced.exit),
                ("policy_ingress", Exit::Dropped { answered: false })
            );
            let [drop] = traced.drops[..] else { panic!("{:?}", traced.drops) };
            assert_eq!((drop.rule, drop.ingress, drop.audit), (5, true, false));
            assert!(before == contents(bpffs));

            Draft::new()
                .pod(b, everything.clone(), open())
                .pod(a, open(), Table(all(reject(6)), vec![]))
                .apply(&mut scene.node.datapath);
            let traced = trace();
            assert_eq!(
                (traced.reason.name, traced.exit),
                ("policy_egress", Exit::Dropped { answered: true })
            );
            assert_eq!((traced.drops[0].rule, traced.drops[0].ingress), (6, false));

            Draft::new()
                .pod(b, Table(all(audit(7)), vec![]), open())
                .pod(a, open(), open())
                .apply(&mut scene.node.datapath);
            let traced = trace();
            assert_eq!(traced.exit, Exit::Port(b));
            assert!(traced.record.unwrap().ingress.audited && traced.drops[0].audit);
        }
    });
}

#[test]
fn bad_states_are_refused_and_a_replaced_datapath_is_noticed() {
    sandbox(|bpffs| {
        let scene = Scene::new(bpffs, OBJECT);
        let mut tracer = tracer(&scene);
        assert!(tracer.is_of(&scene.node.datapath.trace_source().unwrap()));
        let p = parties()[0];
        let sent = packet(Transport::Tcp, (p.pods.a, CLIENT), (p.pods.b, SERVER));
        let entry = |map: &str, key: usize, value: usize| Entry {
            map: map.to_owned(),
            key: vec![1; key],
            value: vec![1; value],
        };
        for bad in [
            vec![entry("endpoints", 16, 24)],
            vec![entry("connections", 3, 60)],
            vec![entry("connections", 40, 3)],
            vec![entry("connections", 40, 60); 65],
        ] {
            assert!(tracer.trace(Entrance::Node, &sent, &State(bad)).is_err());
        }
        // Nonsense of the right size is nobody's connection.
        let nonsense = State(vec![entry("connections", 40, 60)]);
        let traced = tracer.trace(Entrance::Port(scene.node.a), &sent, &nonsense).unwrap();
        assert_eq!(traced.exit, Exit::Port(scene.node.b));
        let larger = crate::Options { max_connections: Some(8192), ..options(bpffs) };
        let datapath = Datapath::open(&larger).unwrap();
        assert!(!tracer.is_of(&datapath.trace_source().unwrap()));
    });
}
