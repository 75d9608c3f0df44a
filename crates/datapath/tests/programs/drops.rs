//! The table of drops, on single packets: who, whom, on which port and why, of everything that policy does not let pass,
//! and nothing of what it does.

use std::time::Duration;

use aya::maps::{Array, Map, MapData};

use crate::support::packets::*;
use crate::support::policy::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use datapath::Protocol;
use datapath::drops::Drop;
use datapath::uptime;
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");
const CLIENT: u16 = 40_000;
const SERVER: u16 = 8080;

/// Numbers of protocols; ICMPv6 has that of ICMP, and 0 is none.
const ICMP: u8 = 1;
const UNKNOWN: u8 = 0;

fn nothing(rule: u32) -> Table {
    Table(all(deny(rule)), vec![])
}

fn on_trial(rule: u32) -> Table {
    Table(all(audit(rule)), vec![])
}

/// The Pods of which the draft says nothing are open.
fn apply(scene: &mut Scene, mut draft: Draft) {
    for pod in [scene.node.a, scene.node.b] {
        if draft.0.sets.iter().all(|(ifindex, _)| *ifindex != pod) {
            draft.0.sets.push((pod, datapath::policy::OPEN));
        }
    }
    draft.apply(&mut scene.node.datapath);
}

/// What a row says besides its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    reason: &'static str,
    ingress: bool,
    audit: bool,
    protocol: u8,
    source: End,
    destination: End,
    rule: u32,
    packets: u64,
    bytes: u64,
}

impl Row {
    /// A row of one packet that was dropped.
    fn new(reason: &'static str, rule: u32, protocol: u8, ends: [End; 2], packet: &Ip) -> Self {
        let bytes = packet.frame(GATEWAY_MAC, A_MAC).len() as u64;
        let [source, destination] = ends;
        let ingress = reason == "policy_ingress";
        Self { reason, ingress, audit: false, protocol, source, destination, rule, packets: 1, bytes }
    }

    fn times(self, packets: u64) -> Self {
        Self { packets, bytes: self.bytes * packets, ..self }
    }
}

/// The table, which is empty then.
fn take(scene: &Scene) -> Vec<Row> {
    let rows = scene.node.datapath.drops().all().unwrap();
    let mut map = scene.maps.hash::<48, 56>("drops");
    let keys: Vec<_> = map.keys().map(Result::unwrap).collect();
    keys.iter().for_each(|key| map.remove(key).unwrap());
    let row = |drop: &Drop| {
        assert!(drop.first <= drop.last && drop.last <= uptime(), "{drop:?}");
        assert!(uptime() - drop.first < Duration::from_secs(60), "{drop:?}");
        Row {
            reason: drop.reason,
            ingress: drop.ingress,
            audit: drop.audit,
            protocol: drop.protocol,
            source: (drop.source.unwrap(), drop.source_port),
            destination: (drop.destination.unwrap(), drop.port),
            rule: drop.rule,
            packets: drop.packets,
            bytes: drop.bytes,
        }
    };
    let mut rows: Vec<Row> = rows.iter().map(row).collect();
    rows.sort_by_key(|row| (row.rule, row.protocol, row.destination));
    rows
}

fn forget_connections(scene: &Scene) {
    for name in ["new_connections", "connections"] {
        let mut map = scene.maps.hash::<40, 60>(name);
        let keys: Vec<[u8; 40]> = map.keys().map(Result::unwrap).collect();
        keys.iter().for_each(|key| map.remove(key).unwrap());
    }
}

/// For each family and each protocol with ports; nothing is left of one for the next.
fn each(test: impl Fn(&mut Scene, &Parties, u8) + Send + Sync) {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        for p in parties() {
            for protocol in PROTOCOLS {
                test(&mut scene, &p, protocol);
                scene.node.datapath.policy_off().unwrap();
                forget_connections(&scene);
                take(&scene);
            }
        }
    });
}

#[test]
fn what_a_pod_may_not_send_has_a_row_for_each_destination_and_port() {
    each(|scene, p, protocol| {
        apply(scene, Draft::new().pod(scene.node.a, open(), nothing(3)));
        let packet = |port, to| segment(protocol, (p.pods.a, port), to, SYN, b"question");
        let (b, other) = ((p.pods.b, SERVER), (p.pods.remote, SERVER + 1));
        // The port of the source tells no row from another: the last one stands there.
        for port in [CLIENT, CLIENT + 1, CLIENT + 2] {
            dropped(&scene.a_sends(&packet(port, b)), "policy_egress");
        }
        dropped(&scene.a_sends(&packet(CLIENT, other)), "policy_egress");
        let row =
            |port, to| Row::new("policy_egress", 3, protocol, [(p.pods.a, port), to], &packet(port, to));
        let mut expected = vec![row(CLIENT + 2, b).times(3), row(CLIENT, other)];
        expected.sort_by_key(|row| row.destination);
        assert_eq!(take(scene), expected);
    });
}

#[test]
fn what_may_not_come_to_a_pod_has_the_real_client() {
    each(|scene, p, protocol| {
        apply(scene, Draft::new().pod(scene.node.b, nothing(4), open()));
        let server = (p.pods.b, SERVER);
        scene.maps.serve(SCOPE_NODE_PORT, protocol, (p.own, 30_000), &Service::new(9, &[server]));
        scene.maps.serve_port(protocol, 30_000);
        let packet = |from| segment(protocol, (from, CLIENT), server, SYN, b"question");
        let outside = segment(protocol, (p.client, CLIENT), (p.own, 30_000), SYN, b"question");
        let row = |from| Row::new("policy_ingress", 4, protocol, [(from, CLIENT), server], &packet(from));
        dropped(&scene.a_sends(&packet(p.pods.a)), "policy_ingress");
        assert_eq!(take(scene), [row(p.pods.a)]);
        dropped(&scene.tunnel_brings(PEER, &packet(p.pods.remote)), "policy_ingress");
        assert_eq!(take(scene), [row(p.pods.remote)]);
        dropped(&scene.uplink_brings(&outside), "policy_ingress");
        assert_eq!(take(scene), [row(p.client)]);
    });
}

#[test]
fn behind_a_service_the_endpoint_and_its_port_count() {
    each(|scene, p, protocol| {
        let (client, vip, backend) = ((p.pods.a, CLIENT), (p.vip, 80), (p.pods.b, SERVER));
        scene.maps.serve(SCOPE_ADDRESS, protocol, vip, &Service::new(3, &[backend]));
        let packet = segment(protocol, client, vip, SYN, b"question");
        for (reason, ingress) in [("policy_egress", false), ("policy_ingress", true)] {
            let denied = |scene: &Scene| match ingress {
                true => Draft::new().pod(scene.node.b, nothing(5), open()),
                false => Draft::new().pod(scene.node.a, open(), nothing(5)),
            };
            // As a new connection, and as one that is judged again: from both of its ends.
            apply(scene, denied(scene));
            dropped(&scene.a_sends(&packet), reason);
            let row = Row::new(reason, 5, protocol, [client, backend], &packet);
            assert_eq!(take(scene), [row]);
            apply(scene, Draft::new());
            assert_eq!(scene.a_sends(&packet).reason, "local");
            apply(scene, denied(scene));
            dropped(&scene.a_sends(&packet), reason);
            dropped(&scene.b_sends(&segment(protocol, backend, client, ACK, b"question")), reason);
            assert_eq!(take(scene), [row.times(2)]);
            forget_connections(scene);
        }
        // To itself, in the gateway's name: the client is the Pod.
        scene.maps.serve(SCOPE_ADDRESS, protocol, (p.vip, 81), &Service::new(3, &[(p.pods.a, SERVER)]));
        let packet = segment(protocol, client, (p.vip, 81), SYN, b"question");
        let forbidden = Table(all(by(datapath::policy::Origin::Admin, deny(6))), vec![]);
        apply(scene, Draft::new().pod(scene.node.a, forbidden, open()));
        dropped(&scene.a_sends(&packet), "policy_ingress");
        let ends = [client, (p.pods.a, SERVER)];
        assert_eq!(take(scene), [Row::new("policy_ingress", 6, protocol, ends, &packet)]);
    });
}

#[test]
fn a_connection_that_is_judged_again_has_its_own_ends_whoever_sends() {
    each(|scene, p, protocol| {
        let (client, server) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
        let packet = segment(protocol, client, server, ACK, b"question");
        let reply = segment(protocol, server, client, ACK, b"question");
        for _ in 0..2 {
            assert_eq!((scene.a_sends(&packet).reason, scene.b_sends(&reply).reason), ("local", "local"));
        }
        for (reason, draft) in [
            ("policy_egress", Draft::new().pod(scene.node.a, nothing(8), nothing(7))),
            ("policy_ingress", Draft::new().pod(scene.node.b, nothing(7), nothing(8))),
        ] {
            apply(scene, draft);
            dropped(&scene.a_sends(&packet), reason);
            dropped(&scene.b_sends(&reply), reason);
            let row = Row::new(reason, 7, protocol, [client, server], &packet);
            assert_eq!(take(scene), [row.times(2)]);
        }
    });
}

#[test]
fn what_is_allowed_writes_nothing() {
    each(|scene, p, protocol| {
        let allowed = |rule| Table(all(allow(rule)), vec![]);
        for draft in [
            Draft::new(),
            Draft::new().pod(scene.node.a, nothing(1), allowed(2)).pod(scene.node.b, allowed(3), nothing(4)),
        ] {
            apply(scene, draft);
            let (client, server) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
            for _ in 0..2 {
                assert_eq!(scene.a_sends(&segment(protocol, client, server, SYN, b"x")).reason, "local");
                assert_eq!(scene.b_sends(&segment(protocol, server, client, ACK, b"x")).reason, "local");
            }
            assert_eq!(scene.a_sends(&echo(p.pods.a, p.pods.b, false, b"ping")).reason, "local");
            assert_eq!(take(scene), []);
        }
    });
}

#[test]
fn what_is_on_trial_is_noted_once_for_each_connection_and_passes() {
    each(|scene, p, protocol| {
        let (client, server) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
        let packet = segment(protocol, client, server, ACK, b"question");
        let reply = segment(protocol, server, client, ACK, b"question");
        let trial = |scene: &Scene| {
            Draft::new().pod(scene.node.a, open(), on_trial(1)).pod(scene.node.b, on_trial(2), open())
        };
        let pass = |scene: &Scene| {
            for _ in 0..2 {
                assert_eq!((scene.a_sends(&packet).reason, scene.b_sends(&reply).reason), ("local", "local"));
            }
        };
        let rows = ["policy_egress", "policy_ingress"]
            .map(|reason| Row::new(reason, 0, protocol, [client, server], &packet));
        let rows = [Row { rule: 1, audit: true, ..rows[0] }, Row { rule: 2, audit: true, ..rows[1] }];
        apply(scene, trial(scene));
        pass(scene);
        assert_eq!(take(scene), rows);
        // Judged again, it is the same connection.
        apply(scene, trial(scene));
        pass(scene);
        assert_eq!(take(scene), []);
        // One that was allowed is on trial now.
        apply(scene, Draft::new());
        pass(scene);
        apply(scene, trial(scene));
        pass(scene);
        assert_eq!(take(scene), rows);
    });
}

#[test]
fn what_has_no_port_has_its_protocol() {
    sandbox(|bpffs| {
        let scene = &mut Scene::new(bpffs, OBJECT);
        for p in parties() {
            apply(scene, Draft::new().pod(scene.node.a, open(), nothing(1)));
            let ends = [(p.pods.a, 0), (p.pods.b, 0)];
            let ping = echo(p.pods.a, p.pods.b, false, b"ping");
            for (packet, protocol) in [(ping, ICMP), (Ip::new(p.pods.a, p.pods.b, 47, vec![0; 32]), 47)] {
                dropped(&scene.a_sends(&packet), "policy_egress");
                assert_eq!(take(scene), [Row::new("policy_egress", 1, protocol, ends, &packet)]);
            }
            // An ICMP message without a connection.
            let kind = if p.vip.is_ipv4() { (13, 0) } else { (139, 0) };
            let message = icmp(p.pods.a, p.pods.b, kind.0, kind.1, [0; 4], b"message");
            dropped(&scene.a_sends(&message), "policy_egress");
            assert_eq!(take(scene), [Row::new("policy_egress", 1, ICMP, ends, &message)]);
            // A ping that is judged again.
            apply(scene, Draft::new());
            let ping = echo(p.pods.a, p.pods.b, false, b"ping");
            assert_eq!(scene.a_sends(&ping).reason, "local");
            apply(scene, Draft::new().pod(scene.node.b, nothing(2), open()));
            dropped(&scene.a_sends(&ping), "policy_ingress");
            assert_eq!(take(scene), [Row::new("policy_ingress", 2, ICMP, ends, &ping)]);
        }
    });
}

#[test]
fn a_pod_whose_policy_is_not_known_and_a_port_that_is_not_known() {
    sandbox(|bpffs| {
        let scene = &mut Scene::new(bpffs, OBJECT);
        for p in parties() {
            let (client, server) = ((p.pods.a, CLIENT), (p.pods.b, SERVER));
            // Nobody has a set: each Pod is closed.
            Draft::new().apply(&mut scene.node.datapath);
            let packet = segment(TCP, client, server, SYN, b"question");
            dropped(&scene.a_sends(&packet), "policy_unknown");
            assert_eq!(take(scene), [Row::new("policy_unknown", 0, TCP, [client, server], &packet)]);
            dropped(&scene.tunnel_brings(PEER, &echo(p.pods.remote, p.pods.b, false, b"")), "policy_unknown");
            let found = take(scene);
            assert_eq!((found.len(), found[0].ingress, found[0].reason), (1, true, "policy_unknown"));

            // A later fragment of which the first was not seen: its rule is that of all other ports.
            let by_port = Table(ports(deny(1), &[(Protocol::Udp, 53, 53, allow(2))]), vec![]);
            apply(scene, Draft::new().pod(scene.node.a, open(), by_port));
            let fragment = if p.vip.is_ipv4() {
                Ip { fragment: 6, ..udp(p.pods.a, p.pods.b, b"question") }
            } else {
                Ip::new(p.pods.a, p.pods.b, FRAGMENT, [&[UDP, 0, 0, 48, 0, 0, 0, 7][..], &[0; 16]].concat())
            };
            dropped(&scene.a_sends(&fragment), "policy_no_port");
            let protocol = if p.vip.is_ipv4() { UDP } else { UNKNOWN };
            let ends = [(p.pods.a, 0), (p.pods.b, 0)];
            assert_eq!(take(scene), [Row::new("policy_no_port", 1, protocol, ends, &fragment)]);
        }
    });
}

/// How many rows each interface may still add. The map has no pin.
fn budgets(scene: &Scene) -> Array<MapData, u64> {
    let maps = scene.node.program("from_endpoint").info().unwrap().map_ids().unwrap().unwrap();
    let mut maps = maps.into_iter().map(|id| MapData::from_id(id).unwrap());
    let map = maps.find(|map| map.info().unwrap().name_as_str() == Some("drop_budgets")).unwrap();
    Map::Array(map).try_into().unwrap()
}

#[test]
fn a_full_table_keeps_what_was_seen_last_and_counts_on() {
    sandbox(|bpffs| {
        let scene = &mut Scene::new(bpffs, OBJECT);
        let drops = scene.node.datapath.drops();
        let mut budgets = budgets(scene);
        for p in parties() {
            apply(scene, Draft::new().pod(scene.node.a, open(), nothing(1)));
            let packet = |port| segment(UDP, (p.pods.a, CLIENT), (p.pods.b, port), 0, b"x");
            for port in 1..=2 * drops.size() as u16 {
                // Nobody is kept from adding rows.
                budgets.set(scene.node.a % budgets.len(), 0, 0).unwrap();
                dropped(&scene.a_sends(&packet(port)), "policy_egress");
            }
            for _ in 0..2 {
                dropped(&scene.a_sends(&packet(50_000)), "policy_egress");
            }
            let rows = take(scene);
            assert!(rows.len() > drops.size() as usize / 2 && rows.len() <= drops.size() as usize);
            assert!(rows.iter().any(|row| row.destination.1 == 50_000 && row.packets == 2), "{}", rows.len());
        }
    });
}
