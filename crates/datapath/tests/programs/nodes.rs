//! Nodes' own addresses: as the source of a tunnel's packets, and of packets inside.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::support::tunnel::*;
use crate::support::*;
use datapath::{Datapath, Options};
use testkit::packet::*;

/// Other addresses of the node at `PEER`, of the one at `PEER6`, and of this node.
const OTHER: [&str; 2] = ["198.51.100.77", "2001:db8:1::77"];
const OTHER6: [&str; 2] = ["203.0.113.66", "2001:db8:6::66"];
const MINE: [&str; 2] = [OWN, "2001:db8:1::1"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

struct Scene {
    node: Node,
    overlay: Overlay,
    uplink: u32,
}

impl Scene {
    fn new(bpffs: &std::path::Path) -> Self {
        let (mut node, uplink) = uplink_node(bpffs);
        for (addresses, end) in [
            ([PEER; 2], Some(PEER)),
            (OTHER, Some(PEER)),
            ([PEER6; 2], Some(PEER6)),
            (OTHER6, Some(PEER6)),
            (MINE, None),
        ] {
            for address in addresses {
                node.datapath.set_node(ip(address), end.map(ip)).unwrap();
            }
        }
        Self { overlay: Overlay::new(&node, env!("DATAPATH_TUNNEL_OBJECT")), node, uplink }
    }

    /// What becomes of a packet that came through a tunnel, by each path that there is for that outer source.
    fn received(&mut self, outer: &str, packet: &Ip) -> (Vec<&'static str>, Vec<u8>) {
        let inner = packet.frame(OVERLAY_MAC, GATEWAY_MAC);
        let verdict = self.overlay.process(&self.node, outer, VNI, &inner);
        let mut reasons = vec![verdict.reason];
        if ip(outer).is_ipv4() {
            let frame = tunnel(outer, VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
            let program = self.node.program("from_uplink");
            let (direct, counted) = self.node.run(&program, self.uplink, 0, &frame);
            assert_eq!(direct.action, verdict.action);
            if verdict.action == TC_ACT_REDIRECT {
                assert_eq!(direct.frame, verdict.frame);
            }
            reasons.extend(counted.iter().map(|(reason, _)| *reason));
        }
        (reasons, verdict.frame)
    }

    fn refused(&mut self, outer: &str, packet: &Ip, reason: &str) {
        let (reasons, _) = self.received(outer, packet);
        assert!(reasons.iter().all(|found| *found == reason), "{outer} {}: {reasons:?}", packet.source);
    }

    fn accepted(&mut self, outer: &str, packet: &Ip, mac: [u8; 6]) {
        let (reasons, frame) = self.received(outer, packet);
        let expected = &["overlay_in", "direct_in"][..reasons.len()];
        assert_eq!(reasons, expected, "{outer} {}", packet.source);
        assert_eq!(frame, packet.frame(mac, GATEWAY_MAC), "as it was sent");
    }

    fn sent(&self, packet: &Ip) -> &'static str {
        let frame = packet.frame(GATEWAY_MAC, A_MAC);
        self.node.process(&self.node.program("from_endpoint"), self.node.a, 0, &frame).reason
    }
}

#[test]
fn any_address_of_a_node_is_its_tunnels_source() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for f in families() {
            for (source, own, others) in [
                (f.remote, [PEER, OTHER[0], OTHER[1]], OTHER6),
                (f.remote6, [PEER6, OTHER6[0], OTHER6[1]], OTHER),
            ] {
                let packet = tcp(source, f.a, b"hello");
                for outer in own {
                    scene.accepted(outer, &packet, A_MAC);
                }
                for outer in others.into_iter().chain(MINE).chain(["203.0.113.5", "2001:db8:5::5"]) {
                    scene.refused(outer, &packet, "overlay_peer");
                }
            }
        }
        scene.node.datapath.remove_node(ip(OTHER[0])).unwrap();
        scene.refused(OTHER[0], &udp(families()[0].remote, families()[0].a, b"x"), "overlay_peer");
    });
}

#[test]
fn a_process_with_its_nodes_address_talks_to_a_pod_and_gets_its_answer() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for (f, which) in families().into_iter().zip([0, 1]) {
            for (process, outer, sent) in
                [(OTHER[which], PEER, ["direct_out"; 2]), (OTHER6[which], PEER6, ["overlay_out"; 2])]
            {
                let process = ip(process);
                let answer = tcp(f.a, process, b"answer");
                let reversed = |packet: &Ip| {
                    let mut packet = packet.clone();
                    (packet.source, packet.destination) = (packet.destination, packet.source);
                    packet.payload.swap(0, 2);
                    packet.payload.swap(1, 3);
                    packet
                };
                assert_eq!(scene.sent(&answer), "external", "nobody asked");
                scene.accepted(outer, &reversed(&answer), A_MAC);
                assert_eq!(scene.sent(&answer), sent[0]);
                assert_eq!(scene.sent(&udp(f.a, process, b"x")), "external", "another connection");
                assert_eq!(scene.sent(&tcp(f.b, process, b"x")), "source_ip");
                // An error about what was asked, and what fits into no packet.
                let quoted = reversed(&answer).bytes();
                let kind = if f.a.is_ipv6() { 1 } else { 3 };
                assert_eq!(scene.sent(&icmp(f.a, process, kind, 3, [0; 4], &quoted)), sent[0]);
                if f.a.is_ipv4() {
                    assert_eq!(scene.sent(&Ip { fragment: 100, ..answer.clone() }), sent[1]);
                    let too_big = Ip { fragment: DONT_FRAGMENT, ..tcp(f.a, process, &[0; 1400]) };
                    assert_eq!(scene.sent(&too_big), "too_big");
                }
                // Pods' connections take no notice.
                assert_eq!(scene.sent(&udp(f.a, f.remote, b"x")), "direct_out");
                assert_eq!(scene.sent(&udp(f.a, f.b, b"x")), "local");
                assert_eq!(scene.sent(&tcp(f.a, f.external, b"x")), "external");
            }
        }
    });
}

#[test]
fn what_a_pod_answers_another_node_arrives_at_that_nodes_address() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for (f, mine) in families().into_iter().zip(MINE) {
            scene.accepted(PEER, &tcp(f.remote, ip(mine), b"answer"), NODE_MAC);
            scene.accepted(PEER6, &udp(f.remote6, ip(mine), b"answer"), NODE_MAC);
        }
    });
}

#[test]
fn only_a_nodes_own_addresses_are_accepted_from_it() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        // Whatever the table says, an address of the cluster belongs to who has its podCIDR.
        for f in families() {
            for address in [f.unserved, f.a, f.missing, f.gateway, f.node] {
                scene.node.datapath.set_node(address, Some(ip(PEER))).unwrap();
            }
        }
        for (f, which) in families().into_iter().zip([0, 1]) {
            let from = |source: IpAddr| udp(source, f.b, b"x");
            for outer in [PEER6, OTHER6[0], OTHER6[1], "203.0.113.5"] {
                scene.refused(outer, &from(ip(OTHER[which])), "overlay_peer");
            }
            for source in [ip(MINE[which]), f.a, f.missing, f.gateway, f.node, f.unserved, f.external] {
                scene.refused(PEER, &from(source), "overlay_source");
            }
            let to = |destination: IpAddr| udp(f.remote, destination, b"x");
            for destination in [ip(OTHER[which]), ip(OTHER6[which]), f.external, f.missing] {
                scene.refused(PEER, &to(destination), "overlay_unknown");
            }
        }
    });
}

#[test]
fn nodes_addresses_are_kept_replaced_and_bounded() {
    sandbox(|bpffs| {
        let options = Options { max_routes: 2, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let wanted = BTreeMap::from([
            (ip(PEER), Some(ip(PEER))),
            (ip(PEER6), Some(ip(PEER))),
            (ip(OWN), None),
            (ip(OTHER[0]), Some(ip(PEER6))),
        ]);
        datapath.set_node(ip(OTHER[0]), None).unwrap();
        for (address, end) in &wanted {
            datapath.set_node(*address, *end).unwrap();
            assert!(datapath.has_node(*address, *end).unwrap());
        }
        assert!(!datapath.has_node(ip(OWN), Some(ip(PEER))).unwrap());
        assert!(!datapath.has_node(ip(OTHER[1]), None).unwrap());
        drop(datapath);
        let mut datapath = Datapath::open(&options).unwrap();
        assert_eq!(datapath.nodes().unwrap(), wanted);
        let error = datapath.set_node(ip(OTHER[1]), None).unwrap_err().to_string();
        assert!(error.contains(OTHER[1]) && error.contains("--max-nodes"), "{error}");
        for (address, end) in [("0.0.0.0", None), ("ff02::1", None), (PEER, Some("127.0.0.1"))] {
            let error = datapath.set_node(ip(address), end.map(ip)).unwrap_err().to_string();
            assert!(error.contains("not a unicast address"), "{error}");
        }
        for _ in 0..2 {
            datapath.remove_node(ip(OWN)).unwrap();
        }
        assert_eq!(datapath.nodes().unwrap().len(), 3);
    });
}
