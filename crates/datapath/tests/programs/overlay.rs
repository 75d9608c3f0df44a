//! What comes through the tunnel: from the right node only, and only to who lives here.

use crate::support::tunnel::Overlay;
use crate::support::*;
use testkit::packet::*;

#[test]
fn packets_of_other_nodes_are_delivered_as_they_are() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let mut overlay = Overlay::new(&node, env!("DATAPATH_TUNNEL_OBJECT"));
        for f in families() {
            for (source, peer) in [(f.remote, PEER), (f.remote6, PEER6)] {
                for (destination, mac) in [(f.a, A_MAC), (f.b, B_MAC), (f.node, NODE_MAC)] {
                    // The other node has already routed it: even the last hop's packet is delivered.
                    for hops in [64, 1] {
                        let packet = Ip { hops, ..tcp(source, destination, b"hello") };
                        let frame = packet.frame(OVERLAY_MAC, GATEWAY_MAC);
                        let verdict = overlay.process(&node, peer, VNI, &frame);
                        assert_eq!((verdict.action, verdict.reason), (TC_ACT_REDIRECT, "overlay_in"));
                        assert_eq!(verdict.frame, packet.frame(mac, GATEWAY_MAC));
                    }
                }
            }
        }
    });
}

#[test]
fn everything_else_is_dropped() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        // A Pod that has moved here with an address of another node's podCIDR.
        let (moved4, moved6) = ("10.1.1.77".parse().unwrap(), "fd01:0:0:1::77".parse().unwrap());
        let moved = datapath::Port {
            ifindex: node.unbound,
            mac: [2, 0, 0, 0, 0, 0x99],
            addresses: vec![moved4, moved6],
            role: datapath::Role::Pod,
            limits: datapath::Limits::default(),
            set: datapath::policy::OPEN,
        };
        node.datapath.bind(&moved).unwrap();
        let mut overlay = Overlay::new(&node, env!("DATAPATH_TUNNEL_OBJECT"));
        for f in families() {
            let moved = if f.a.is_ipv6() { moved6 } else { moved4 };
            let frame = |packet: &Ip| packet.frame(OVERLAY_MAC, GATEWAY_MAC);
            let good = udp(f.remote, f.a, &[0; 32]);
            let from = |source| frame(&udp(source, f.a, b"x"));
            let to = |destination| frame(&udp(f.remote, destination, b"x"));
            let mut version = frame(&good);
            version[14] = 0;
            let mapped = udp("::ffff:10.1.1.5".parse().unwrap(), "::ffff:10.1.0.3".parse().unwrap(), b"");
            let disguised = mapped.frame(OVERLAY_MAC, GATEWAY_MAC);
            for (name, peer, vni, frame, reason) in [
                ("another node's packet", "198.51.100.8", VNI, frame(&good), "overlay_peer"),
                ("from a node of the other family", PEER6, VNI, frame(&good), "overlay_peer"),
                ("and the other family", PEER, VNI, from(f.remote6), "overlay_peer"),
                ("another IPv6 node's packet", "2001:db8:1::8", VNI, from(f.remote6), "overlay_peer"),
                ("another network", PEER, VNI + 1, frame(&good), "overlay_vni"),
                ("no network", PEER, 0, frame(&good), "overlay_vni"),
                ("a local pod's address", PEER, VNI, from(f.b), "overlay_source"),
                ("the local gateway's", PEER, VNI, from(f.gateway), "overlay_source"),
                ("an unused local address", PEER, VNI, from(f.missing), "overlay_source"),
                ("a moved pod's address", PEER, VNI, from(moved), "overlay_source"),
                ("an unserved address", PEER, VNI, from(f.unserved), "overlay_source"),
                ("a foreign address", PEER, VNI, from(f.external), "overlay_source"),
                ("to an unused address", PEER, VNI, to(f.missing), "overlay_unknown"),
                ("to the gateway", PEER, VNI, to(f.gateway), "overlay_unknown"),
                ("back out", PEER, VNI, to(f.remote6), "overlay_unknown"),
                ("out of the cluster", PEER, VNI, to(f.external), "overlay_unknown"),
                ("for another MAC", PEER, VNI, good.frame(A_MAC, GATEWAY_MAC), "destination_mac"),
                ("for all", PEER, VNI, good.frame([0xff; 6], GATEWAY_MAC), "destination_mac"),
                ("IPv4 in disguise", PEER, VNI, disguised, "not_routable"),
                ("broken", PEER, VNI, version, "malformed"),
                ("ARP", PEER, VNI, ethernet([0xff; 6], OVERLAY_MAC, 0x0806, &[0; 28]), "ethertype"),
            ] {
                let verdict = overlay.process(&node, peer, vni, &frame);
                assert_eq!((verdict.action, verdict.reason), (TC_ACT_SHOT, reason), "{name}");
            }
            // Not out of a tunnel at all.
            let verdict =
                node.process(&node.program("from_overlay"), node.config.overlay_ifindex, 0, &frame(&good));
            assert_eq!((verdict.action, verdict.reason), (TC_ACT_SHOT, "overlay_peer"));
        }
    });
}
