//! A Pod whose address lies outside this node's podCIDRs, since they changed: it goes on as far as it can, and hides
//! nobody who has the range, or the very address, now.

use crate::support::tunnel::*;
use crate::support::*;
use datapath::policy::OPEN;
use datapath::{Limits, Port, Role, Route};
use testkit::packet::*;

const BROADCAST: [u8; 6] = [0xff; 6];
const C_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xcc];

/// A node with a Pod of each family's former range: the addresses `remote` and `unserved` are another node's and nobody's.
struct Scene {
    node: Node,
    uplink: u32,
    overlay: Overlay,
    stale: u32,
}

impl Scene {
    fn new(bpffs: &std::path::Path, addresses: Vec<std::net::IpAddr>) -> Self {
        let (mut node, uplink) = uplink_node(bpffs);
        run("ip", "link add name stale type veth peer name stale-peer");
        let stale = ifindex("stale");
        let limits = Limits::default();
        node.datapath
            .bind(&Port { ifindex: stale, mac: C_MAC, addresses, role: Role::Outside, limits, set: OPEN })
            .unwrap();
        let overlay = Overlay::new(&node, env!("DATAPATH_TUNNEL_OBJECT"));
        Self { node, uplink, overlay, stale }
    }

    fn from(&self, ifindex: u32, mac: [u8; 6], packet: &Ip) -> Verdict {
        let program = self.node.program("from_endpoint");
        self.node.process(&program, ifindex, 0, &packet.frame(GATEWAY_MAC, mac))
    }

    fn stale_sends(&self, packet: &Ip) -> &'static str {
        self.from(self.stale, C_MAC, packet).reason
    }

    fn node_sends(&self, packet: &Ip) -> &'static str {
        let verdict = self.from(self.node.config.mido_ifindex, NODE_MAC, packet);
        if verdict.reason == "local" {
            assert_eq!(verdict.frame[..6], C_MAC);
        }
        verdict.reason
    }
}

#[test]
fn a_range_that_another_node_has_now_is_that_nodes() {
    for f in families() {
        sandbox(|bpffs| {
            let mut scene = Scene::new(bpffs, vec![f.remote]);
            let a = |packet: &Ip| scene.from(scene.node.a, A_MAC, packet).reason;
            // The very address is another Pod's now, on the other node.
            assert_eq!(a(&udp(f.a, f.remote, b"x")), "direct_out");
            assert_eq!(scene.node_sends(&udp(f.node, f.remote, b"x")), "direct_out");
            let inner = udp(f.remote, f.a, b"from there").frame(OVERLAY_MAC, GATEWAY_MAC);
            let by_device = scene.overlay.process(&scene.node, PEER, VNI, &inner);
            assert_eq!((by_device.reason, &by_device.frame[..6]), ("overlay_in", &A_MAC[..]));
            let outer = tunnel(PEER, VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
            let (_, counted) = scene.node.run(&scene.node.program("from_uplink"), scene.uplink, 0, &outer);
            assert_eq!(counted[0].0, "direct_in");

            // The Pod of before reaches this node's Pods, the node and the outside.
            assert_eq!(scene.stale_sends(&udp(f.remote, f.a, b"x")), "local");
            for (to, reason) in [(f.external, "external"), (f.node, "to_node")] {
                let answer = |port| udp_to(to, f.remote, port, b"answer");
                let mut question = udp_to(f.remote, to, 53, b"question");
                question.payload[..2].copy_from_slice(&4000u16.to_be_bytes());
                let mut back = answer(4000);
                back.payload[..2].copy_from_slice(&53u16.to_be_bytes());
                assert_eq!(scene.node_sends(&back), "direct_out", "nobody has asked yet");
                assert_eq!(scene.stale_sends(&question), reason);
                assert_eq!(scene.node_sends(&back), "local", "the answer is for who asked");
                assert_eq!(
                    scene.node_sends(&answer(4001)),
                    "direct_out",
                    "another flow is for the other node's Pod"
                );
                let quoted = Ip { hops: 63, ..question };
                let (kind, code) = if to.is_ipv6() { (1, 4) } else { (3, 3) };
                let error = icmp(f.external, f.remote, kind, code, [0; 4], &quoted.bytes());
                assert_eq!(scene.node_sends(&error), "local", "an error about what it sent");
            }
            // What others send is not recorded, and its own flows make no packet between Pods take another path.
            assert_eq!(scene.stale_sends(&udp(f.b, f.external, b"forged")), "source_ip");
            let a = |packet: &Ip| scene.from(scene.node.a, A_MAC, packet).reason;
            assert_eq!(a(&udp(f.a, f.b, b"x")), "local");
        });
    }
}

#[test]
fn as_long_as_nobody_has_the_range_the_pod_is_found_there() {
    for f in families() {
        sandbox(|bpffs| {
            let mut scene = Scene::new(bpffs, vec![f.unserved]);
            for (prefix, route) in
                [("", None), ("own", Some(Route::Local)), ("none", Some(Route::Unreachable))]
            {
                let range = ipnet::IpNet::new(f.unserved, if f.a.is_ipv4() { 24 } else { 64 }).unwrap();
                if let Some(route) = route {
                    scene.node.datapath.set_route(range, route).unwrap();
                }
                let verdict = scene.from(scene.node.a, A_MAC, &udp(f.a, f.unserved, b"x"));
                assert_eq!((verdict.reason, &verdict.frame[..6]), ("local", &C_MAC[..]), "{prefix}");
                assert_eq!(scene.node_sends(&udp(f.node, f.unserved, b"x")), "local", "{prefix}");
                assert_eq!(scene.stale_sends(&udp(f.unserved, f.external, b"x")), "external", "{prefix}");
            }
            // It is a Pod like any other once the podCIDR is its own again.
            let (ifindex, limits) = (scene.stale, Limits::default());
            let port =
                Port { ifindex, mac: C_MAC, addresses: vec![f.unserved], role: Role::Pod, limits, set: OPEN };
            scene.node.datapath.bind(&port).unwrap();
            assert_eq!(scene.node.datapath.ports().unwrap().last(), Some(&port));
        });
    }
}

#[test]
fn its_former_gateway_is_still_answered_for() {
    sandbox(|bpffs| {
        let [v4, v6] = families();
        let scene = Scene::new(bpffs, vec![v4.unserved, v6.unserved]);
        let program = scene.node.program("from_endpoint");
        let gateway = "10.1.9.1".parse().unwrap();
        let request =
            |target| ethernet(BROADCAST, C_MAC, 0x0806, &arp(1, C_MAC, v4.unserved, [0; 6], target));
        let verdict = scene.node.process(&program, scene.stale, 0, &request(gateway));
        let reply = arp(2, GATEWAY_MAC, gateway, C_MAC, v4.unserved);
        assert_eq!(verdict.reason, "arp_reply");
        assert_eq!(verdict.frame, ethernet(C_MAC, GATEWAY_MAC, 0x0806, &reply));
        let own = scene.node.process(&program, scene.stale, 0, &request(v4.unserved));
        assert_eq!(own.reason, "arp_other", "its own address is its own");

        let gateway = "fd01:0:0:9::1".parse().unwrap();
        let ask = |target| neighbour(135, 0, v6.unserved, gateway, target, &[]).frame(GATEWAY_MAC, C_MAC);
        let verdict = scene.node.process(&program, scene.stale, 0, &ask(gateway));
        let option = link_layer_option(2, GATEWAY_MAC);
        let answer = neighbour(136, 0xe000_0000, gateway, v6.unserved, gateway, &option);
        assert_eq!((verdict.reason, verdict.frame), ("ndp_reply", answer.frame(C_MAC, GATEWAY_MAC)));
        assert_eq!(scene.node.process(&program, scene.stale, 0, &ask(v6.unserved)).reason, "ndp_other");
    });
}
