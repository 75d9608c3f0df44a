//! Connections between Pods that the node's network stack forwards, as it does for kube-proxy: what is recorded,
//! and which packets go to the node because of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::support::hook::Hook;
use crate::support::tunnel::*;
use crate::support::*;
use datapath::{Datapath, Limit, Limits, NodeConfig, Options, Port, Shaper};
use testkit::Random;
use testkit::packet::*;

const SCTP: u8 = 132;
/// IPv6's destination options.
const OPTIONS: u8 = 60;

/// A packet with ports, whatever its protocol has: only its first eight bytes are looked at.
fn with_ports(protocol: u8, from: (IpAddr, u16), to: (IpAddr, u16)) -> Ip {
    let payload = [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &[0x50; 60]].concat();
    Ip::new(from.0, to.0, protocol, payload)
}

/// An echo request or reply with that identifier.
fn ping(source: IpAddr, destination: IpAddr, reply: bool, id: u16) -> Ip {
    let mut packet = echo(source, destination, reply, &[7; 56]);
    packet.payload[4..6].copy_from_slice(&id.to_be_bytes());
    packet
}

/// "Port unreachable" from `from`, about a packet that `packet`'s source sent.
fn unreachable(from: IpAddr, packet: &Ip) -> Ip {
    let (kind, code) = if from.is_ipv6() { (1, 4) } else { (3, 3) };
    icmp(from, packet.source, kind, code, [0; 4], &packet.bytes())
}

/// The fragment of a packet at an offset of 8 bytes each.
fn fragment(packet: &Ip, offset: u16, more: bool) -> Ip {
    if packet.source.is_ipv4() {
        return Ip { fragment: offset | if more { MORE_FRAGMENTS } else { 0 }, ..packet.clone() };
    }
    let place = (offset << 3 | u16::from(more)).to_be_bytes();
    let header = [packet.protocol, 0, place[0], place[1], 0, 0, 0, 9];
    Ip { protocol: FRAGMENT, payload: [&header[..], &packet.payload].concat(), ..packet.clone() }
}

/// The same behind a header of options.
fn behind_options(packet: &Ip) -> Ip {
    if packet.source.is_ipv4() {
        return Ip { options: vec![1; 8], ..packet.clone() };
    }
    let header = [packet.protocol, 0, 1, 4, 0, 0, 0, 0];
    Ip { protocol: OPTIONS, payload: [&header[..], &packet.payload].concat(), ..packet.clone() }
}

/// A node and what of its programs the tests run.
struct Scene {
    node: Node,
    overlay: Overlay,
    uplink: u32,
}

impl Scene {
    fn new(bpffs: &std::path::Path) -> Self {
        let (node, uplink) = uplink_node(bpffs);
        Self { overlay: Overlay::new(&node, env!("DATAPATH_TUNNEL_OBJECT")), node, uplink }
    }

    fn endpoint(&self, ifindex: u32, mac: [u8; 6], packet: &Ip) -> Verdict {
        self.node.process(&self.node.program("from_endpoint"), ifindex, 0, &packet.frame(GATEWAY_MAC, mac))
    }

    /// What becomes of a packet that the node's stack forwards.
    fn sent_from_node(&self, packet: &Ip) -> &'static str {
        self.endpoint(self.node.config.mido_ifindex, NODE_MAC, packet).reason
    }

    fn sent_from_a(&self, packet: &Ip) -> &'static str {
        self.sent_from_pod(self.node.a, A_MAC, packet)
    }

    fn sent_from_b(&self, packet: &Ip) -> &'static str {
        self.sent_from_pod(self.node.b, B_MAC, packet)
    }

    /// What becomes of a packet of a Pod; one for the node is addressed to it.
    fn sent_from_pod(&self, ifindex: u32, mac: [u8; 6], packet: &Ip) -> &'static str {
        let verdict = self.endpoint(ifindex, mac, packet);
        if verdict.reason == "via_node" {
            let expected = Ip { hops: packet.hops - 1, ..packet.clone() }.frame(NODE_MAC, GATEWAY_MAC);
            assert_eq!((verdict.action, verdict.frame), (TC_ACT_REDIRECT, expected));
        }
        verdict.reason
    }

    /// The same of one that another node sent, as both paths out of the tunnel have it.
    fn sent_from_remote(&mut self, packet: &Ip) -> bool {
        let inner = packet.frame(OVERLAY_MAC, GATEWAY_MAC);
        let by_device = self.overlay.process(&self.node, PEER, VNI, &inner);
        let outer = tunnel(PEER, VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
        let (direct, counted) = self.node.run(&self.node.program("from_uplink"), self.uplink, 0, &outer);
        assert_eq!(by_device.frame, direct.frame);
        let via_node = by_device.reason == "via_node";
        let expected = if via_node { ["via_node", "via_node"] } else { ["overlay_in", "direct_in"] };
        assert_eq!([by_device.reason, counted[0].0], expected);
        // The other node has already routed it: it has as many hops left as before.
        let mac = if via_node { NODE_MAC } else { A_MAC };
        assert_eq!(by_device.frame, packet.frame(mac, GATEWAY_MAC));
        via_node
    }
}

#[test]
fn answers_go_where_the_requests_came_from() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for f in families() {
            for protocol in [TCP, UDP, SCTP] {
                let request = |to| with_ports(protocol, (f.a, 40_000), (to, 8080));
                let answer = |from| with_ports(protocol, (from, 8080), (f.a, 40_000));
                assert_eq!(scene.sent_from_b(&answer(f.b)), "local", "{protocol}: nothing is recorded yet");
                assert!(!scene.sent_from_remote(&answer(f.remote)));
                assert_eq!(scene.sent_from_node(&request(f.b)), "local");
                assert_eq!(scene.sent_from_node(&request(f.remote)), "direct_out");
                assert_eq!(scene.sent_from_b(&answer(f.b)), "via_node", "{protocol}");
                assert!(scene.sent_from_remote(&answer(f.remote)));
                // The same addresses and ports without the node: it may know them as a translated connection's.
                assert_eq!(scene.sent_from_a(&request(f.b)), "via_node");
                assert_eq!(scene.sent_from_a(&request(f.remote)), "via_node");
                assert_eq!(scene.sent_from_b(&behind_options(&answer(f.b))), "via_node");
                for other in [
                    with_ports(protocol, (f.b, 8080), (f.a, 40_001)),
                    with_ports(protocol, (f.b, 8081), (f.a, 40_000)),
                    with_ports(protocol, (f.b, 40_000), (f.a, 8080)),
                    with_ports(99, (f.b, 8080), (f.a, 40_000)),
                    ping(f.b, f.a, true, 40_000),
                ] {
                    assert_eq!(scene.sent_from_b(&other), "local", "{protocol}");
                }
            }
            assert_eq!(scene.sent_from_b(&with_ports(99, (f.b, 0), (f.a, 0))), "local");
            scene.sent_from_node(&with_ports(99, (f.a, 1), (f.b, 2)));
            assert_eq!(scene.sent_from_b(&with_ports(99, (f.b, 3), (f.a, 4))), "via_node", "without ports");
            scene.sent_from_node(&ping(f.a, f.b, false, 77));
            assert_eq!(scene.sent_from_b(&ping(f.b, f.a, true, 77)), "via_node");
            assert_eq!(scene.sent_from_b(&ping(f.b, f.a, true, 78)), "local");
            assert_eq!(scene.sent_from_b(&icmp(f.b, f.a, 42, 0, [0, 77, 0, 0], &[0; 40])), "local");
        }
    });
}

#[test]
fn only_what_the_node_forwards_for_pods_is_recorded() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for f in families() {
            for source in [f.node, f.external, f.missing, f.unserved, f.gateway] {
                assert_eq!(scene.sent_from_node(&with_ports(TCP, (source, 1), (f.b, 2))), "local");
                assert_eq!(scene.sent_from_node(&with_ports(TCP, (source, 1), (f.remote, 2))), "direct_out");
            }
            for (source, destination, reason) in [
                (f.a, f.missing, "no_endpoint"),
                (f.a, f.unserved, "unreachable"),
                (f.a, f.node, "node_loop"),
                (f.a, f.external, "no_route"),
            ] {
                assert_eq!(scene.sent_from_node(&with_ports(TCP, (source, 1), (destination, 2))), reason);
            }
            // What Pods and other nodes send.
            scene.sent_from_a(&with_ports(TCP, (f.a, 1), (f.b, 2)));
            scene.sent_from_remote(&with_ports(TCP, (f.remote, 1), (f.a, 2)));
        }
        let maps = scene.node.programs.with_file_name("maps");
        let used = aya::maps::MapData::from_pin(maps.join("flows_used-v1")).unwrap();
        let used: aya::maps::Array<_, u32> = aya::maps::Map::Array(used).try_into().unwrap();
        assert_eq!(used.get(&0, 0).unwrap(), 0);
        for f in families() {
            for (from, destination) in [(f.b, f.external), (f.b, f.node), (f.b, f.gateway)] {
                let (there, back) = ((from, 5), (destination, 6));
                let before = scene.sent_from_b(&with_ports(UDP, there, back));
                scene.sent_from_node(&with_ports(UDP, back, there));
                assert_eq!(scene.sent_from_b(&with_ports(UDP, there, back)), before);
            }
        }
        assert_eq!(used.get(&0, 0).unwrap(), 0);
        // From another node, whose Pod asked for this node's own address.
        let f = families()[0];
        scene.sent_from_node(&with_ports(TCP, (f.remote, 1), (f.b, 2)));
        assert_eq!(used.get(&0, 0).unwrap(), 1);
        assert_eq!(scene.sent_from_b(&with_ports(TCP, (f.b, 2), (f.remote, 1))), "via_node");
    });
}

#[test]
fn errors_follow_what_they_are_about() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for f in families() {
            let request = |to| with_ports(UDP, (f.a, 40_000), (to, 53));
            scene.sent_from_node(&request(f.b));
            scene.sent_from_node(&request(f.remote));
            assert_eq!(scene.sent_from_b(&unreachable(f.b, &request(f.b))), "via_node");
            assert_eq!(scene.sent_from_b(&unreachable(f.b, &behind_options(&request(f.b)))), "via_node");
            assert!(scene.sent_from_remote(&unreachable(f.remote, &request(f.remote))));
            let gateway = Ip { source: f.remote, ..unreachable(f.gateway, &request(f.remote)) };
            assert!(scene.sent_from_remote(&gateway), "from somebody on the path");
            let other = with_ports(UDP, (f.a, 40_000), (f.b, 54));
            assert_eq!(scene.sent_from_b(&unreachable(f.b, &other)), "local");
            // What quotes less than a header, or no IP packet. One without ports goes with the fragments.
            let header = if f.a.is_ipv6() { 40 } else { 20 };
            for (size, reason) in [(0, "local"), (4, "local"), (header - 1, "local"), (header, "via_node")] {
                let error = unreachable(f.b, &request(f.b));
                let payload = error.payload[..8 + size].to_vec();
                assert_eq!(scene.sent_from_b(&Ip { payload, ..error }), reason, "{size}");
            }
            let mut error = unreachable(f.b, &request(f.b));
            error.payload[8] = 0x90;
            assert_eq!(scene.sent_from_b(&error), "local");
            // One that the node forwards without translating it belongs to the same flow.
            let request = with_ports(UDP, (f.a, 50_000), (f.b, 53));
            scene.sent_from_node(&unreachable(f.b, &request));
            assert_eq!(scene.sent_from_a(&request), "via_node");
        }
    });
}

#[test]
fn fragments_go_together() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        for f in families() {
            let request = |to| with_ports(UDP, (f.a, 40_000), (to, 53));
            let answer = |from| with_ports(UDP, (from, 53), (f.a, 40_000));
            let other = with_ports(UDP, (f.b, 54), (f.a, 40_000));
            assert_eq!(scene.sent_from_b(&fragment(&answer(f.b), 100, true)), "local");
            for to in [f.b, f.remote] {
                scene.sent_from_node(&fragment(&request(to), 0, true));
                scene.sent_from_node(&fragment(&request(to), 181, false));
            }
            // The answer's: all of them, and a whole one.
            for packet in [
                fragment(&answer(f.b), 0, true),
                fragment(&answer(f.b), 181, true),
                fragment(&answer(f.b), 362, false),
                answer(f.b),
            ] {
                assert_eq!(scene.sent_from_b(&packet), "via_node");
                assert!(scene.sent_from_remote(&Ip { source: f.remote, ..packet }));
            }
            // Another flow's between the two: a first one never without its later ones.
            assert_eq!(scene.sent_from_b(&fragment(&other, 0, true)), "via_node");
            assert_eq!(scene.sent_from_b(&fragment(&other, 181, false)), "via_node");
            assert_eq!(scene.sent_from_b(&other), "local");
            if f.a.is_ipv6() {
                let atomic = fragment(&other, 0, false);
                assert_eq!(scene.sent_from_b(&atomic), "local", "a whole packet with a fragment header");
            }
            let nested = [[0u8, 0, 1, 4, 0, 0, 0, 0]; 9].concat();
            if f.a.is_ipv6() {
                let many = Ip::new(f.b, f.a, 60, nested);
                assert_eq!(scene.sent_from_b(&many), "via_node", "who knows what is behind so many headers");
            }
        }
    });
}

#[test]
fn limited_pods_answer_through_the_shaper_and_the_node() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        run("ip", "link add name entry type veth peer name exit");
        let shaper = Shaper { entry: ifindex("entry"), exit: ifindex("exit") };
        let limit = Some(Limit { rate: 8_000_000, burst: 800_000 });
        let limits = Limits { egress: limit, ingress: limit, class: 0x6d69_0007 };
        let ports = scene.node.datapath.ports().unwrap();
        let b = ports.into_iter().find(|port| port.ifindex == scene.node.b).unwrap();
        scene.node.datapath.bind(&Port { limits, ..b }).unwrap();
        let config = NodeConfig { shaper: Some(shaper), ..scene.node.config.clone() };
        scene.node.datapath.set_config(&config).unwrap();
        for f in families() {
            scene.sent_from_node(&with_ports(TCP, (f.a, 40_000), (f.b, 80)));
            let answer = with_ports(TCP, (f.b, 80), (f.a, 40_000));
            let frame = answer.frame(GATEWAY_MAC, B_MAC);
            let (_, counted) = scene.node.run(&scene.node.program("from_endpoint"), scene.node.b, 0, &frame);
            assert_eq!(counted, [], "queues first");
            assert_eq!(scene.sent_from_pod(shaper.exit, B_MAC, &answer), "via_node");
        }
    });
}

#[test]
fn flows_outlive_the_agent_and_a_change_of_other_maps() {
    sandbox(|bpffs| {
        run("ip", "link add name over type veth peer name other");
        let mut scene = Scene::new(bpffs);
        let f = families()[1];
        let request = |port| with_ports(TCP, (f.a, port), (f.b, 80));
        let answer = |port| with_ports(TCP, (f.b, 80), (f.a, port));
        Hook::all()[0].attach_overlay(bpffs, &mut scene.node.datapath, "over").unwrap();
        scene.sent_from_node(&request(1));
        scene.node.datapath = Datapath::open(&options(bpffs)).unwrap();
        assert_eq!(scene.sent_from_b(&answer(1)), "via_node");

        let other = Options { max_endpoints: 17, ..options(bpffs) };
        scene.node.datapath = Datapath::open(&other).unwrap();
        scene.sent_from_node(&request(2));
        for port in [1, 2] {
            assert_eq!(scene.sent_from_b(&answer(port)), "via_node", "{port}");
        }
        Hook::all()[0].attach_overlay(bpffs, &mut scene.node.datapath, "over").unwrap();
        scene.node.datapath.retire_old_maps().unwrap();
        assert_eq!(scene.sent_from_b(&answer(2)), "via_node");
    });
}

/// What a packet is to the model, which knows nothing of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Whole,
    First,
    Later,
}

/// Both directions of every flow, written out; and who has exchanged fragments or could.
#[derive(Default)]
struct Model {
    flows: BTreeSet<(IpAddr, IpAddr, u8, u16, u16)>,
    pairs: BTreeSet<(IpAddr, IpAddr)>,
}

/// Any packets between any two, in any order, against the model.
#[test]
fn programs_and_model_agree() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs);
        let mut random = Random::new(0);
        let mut model = Model::default();
        let mut via_node = 0;
        for round in 0..4000 {
            let f = families()[random.index(2)];
            let inside = [f.a, f.b, f.remote];
            let (from, to) = (inside[random.index(3)], inside[random.index(3)]);
            if from == to {
                continue;
            }
            let ports = [random.index(3) as u16, random.index(3) as u16];
            let part = [Part::Whole, Part::Whole, Part::First, Part::Later][random.index(4)];
            let protocol = [TCP, UDP, SCTP, ICMP][random.index(4)];
            let (packet, [source, destination]) = if protocol == ICMP {
                (ping(from, to, random.index(2) == 0, ports[0]), [ports[0]; 2])
            } else {
                (with_ports(protocol, (from, ports[0]), (to, ports[1])), ports)
            };
            let mut packet = match part {
                Part::Whole => packet,
                Part::First => fragment(&packet, 0, true),
                Part::Later => fragment(&packet, 181, random.index(2) == 0),
            };
            if random.index(4) == 0 && from.is_ipv6() {
                packet = behind_options(&packet);
            }
            // An error about it goes in the other direction.
            let error = random.index(4) == 0 && part != Part::Later;
            let (sender, receiver) = if error { (to, from) } else { (from, to) };
            let sent = if error { unreachable(sender, &packet) } else { packet };
            let key = (from, to, protocol, source, destination);
            if random.index(8) == 0 {
                scene.sent_from_node(&sent);
                if part != Part::Later {
                    model.flows.extend([key, (to, from, protocol, destination, source)]);
                }
                model.pairs.extend([(from, to), (to, from)]);
                continue;
            }
            let expected = if part == Part::Whole {
                model.flows.contains(&key)
            } else {
                model.pairs.contains(&(from, to))
            };
            let found = match sender {
                sender if sender == f.a => scene.sent_from_a(&sent) == "via_node",
                sender if sender == f.b => scene.sent_from_b(&sent) == "via_node",
                _ if receiver == f.a => scene.sent_from_remote(&sent),
                _ => continue,
            };
            assert_eq!(found, expected, "round {round}: {key:?}, {part:?}, error {error}");
            via_node += u32::from(found);
        }
        assert!((1000..3000).contains(&via_node), "{via_node}: nothing to compare");
    });
}
