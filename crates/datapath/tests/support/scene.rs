//! A node that serves Services, and everybody who sends packets to it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use datapath::Route;
use testkit::packet::Ip;

use super::services::{End, Maps, NODE_PORTS, OWN_ADDRESS};
use super::tunnel::{OWN, Overlay, PEER_MAC, UPLINK_MAC, tunnel, uplink_node};
use super::{
    A_MAC, B_MAC, Family, GATEWAY_MAC, NODE_ADDRESSES, NODE_MAC, Node, OVERLAY_MAC, PEER, PEER6, VNI,
    Verdict, families, run,
};

pub const TCX_NEXT: u32 = u32::MAX;
/// What a tunnel puts in front of an inner frame: Ethernet, IPv4, UDP, VXLAN.
const OUTER: usize = 14 + 20 + 8 + 8;

/// Whom a Service's packets meet, in one family.
#[derive(Clone, Copy)]
pub struct Parties {
    pub pods: Family,
    /// A ClusterIP, and an address of the same range that no Service has.
    pub vip: IpAddr,
    pub unallocated: IpAddr,
    /// Of this node, on the underlay.
    pub own: IpAddr,
    /// Of the node whose Pod is `pods.remote`.
    pub other: IpAddr,
    /// Outside of the cluster.
    pub client: IpAddr,
}

pub fn parties() -> [Parties; 2] {
    let [v4, v6] = families();
    let party = |pods: Family, own: &str, [vip, unallocated, other]: [&str; 3]| Parties {
        pods,
        vip: vip.parse().unwrap(),
        unallocated: unallocated.parse().unwrap(),
        own: own.parse().unwrap(),
        other: other.parse().unwrap(),
        client: pods.external,
    };
    [
        party(v4, NODE_ADDRESSES[0], ["10.96.0.10", "10.96.0.99", PEER]),
        party(v6, NODE_ADDRESSES[1], ["fd96::10", "fd96::99", "2001:db8:1::77"]),
    ]
}

pub struct Scene {
    pub node: Node,
    pub maps: Maps,
    pub overlay: Overlay,
    pub uplink: u32,
}

impl Scene {
    /// `object`: `env!("DATAPATH_TUNNEL_OBJECT")`.
    pub fn new(bpffs: &Path, object: &str) -> Self {
        let (mut node, uplink) = uplink_node(bpffs);
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        run("ip", &format!("addr add {}/64 dev uplink nodad", NODE_ADDRESSES[1]));
        run("ip", "route add default via 198.51.100.254");
        run("ip", "-6 route add default via 2001:db8:1::fe dev uplink");
        node.config.services = true;
        node.datapath.set_config(&node.config).unwrap();
        for prefix in ["10.96.0.0/16", "fd96::/112"] {
            node.datapath.set_route(prefix.parse().unwrap(), Route::Services).unwrap();
        }
        for (address, end) in [
            (PEER, Some(PEER)),
            ("2001:db8:1::77", Some(PEER)),
            (PEER6, Some(PEER6)),
            ("203.0.113.66", Some(PEER6)),
            (OWN, None),
            (NODE_ADDRESSES[1], None),
        ] {
            let end = end.map(|end| end.parse().unwrap());
            node.datapath.set_node(address.parse().unwrap(), end).unwrap();
        }
        let maps = Maps::new(&node.programs);
        for own in NODE_ADDRESSES {
            maps.own(own.parse().unwrap(), OWN_ADDRESS | NODE_PORTS);
        }
        Self { overlay: Overlay::new(&node, object), node, maps, uplink }
    }

    pub fn a_sends(&self, packet: &Ip) -> Verdict {
        self.endpoint_sends(self.node.a, A_MAC, packet)
    }

    pub fn b_sends(&self, packet: &Ip) -> Verdict {
        self.endpoint_sends(self.node.b, B_MAC, packet)
    }

    pub fn node_sends(&self, packet: &Ip) -> Verdict {
        self.endpoint_sends(self.node.config.mido_ifindex, NODE_MAC, packet)
    }

    pub fn endpoint_sends(&self, ifindex: u32, mac: [u8; 6], packet: &Ip) -> Verdict {
        self.node.process(&self.node.program("from_endpoint"), ifindex, 0, &packet.frame(GATEWAY_MAC, mac))
    }

    /// The node at `peer` sends a packet through the tunnel.
    pub fn tunnel_brings(&self, peer: &str, packet: &Ip) -> Verdict {
        let outer = tunnel(peer, VNI, &packet.frame(OVERLAY_MAC, GATEWAY_MAC)).frame(UPLINK_MAC, PEER_MAC);
        let (verdict, counted) = self.node.run(&self.node.program("from_uplink"), self.uplink, 0, &outer);
        let [(reason, _)] = counted[..] else { panic!("one counter, not {counted:?}") };
        Verdict { reason, ..verdict }
    }

    /// A packet at the uplink that is no tunnel's. Without a reason, it passed as it was.
    pub fn uplink_brings(&self, packet: &Ip) -> Verdict {
        self.wire("from_uplink", &packet.frame(UPLINK_MAC, PEER_MAC))
    }

    /// What the node's stack sends out of the uplink.
    pub fn node_sends_out(&self, packet: &Ip) -> Verdict {
        self.wire("to_uplink", &packet.frame(PEER_MAC, UPLINK_MAC))
    }

    fn wire(&self, program: &str, frame: &[u8]) -> Verdict {
        let (verdict, counted) = self.node.run(&self.node.program(program), self.uplink, 0, frame);
        assert!(counted.len() <= 1, "{counted:?}");
        Verdict { reason: counted.first().map_or("", |(reason, _)| reason), ..verdict }
    }
}

/// The same packet `hops` routers later.
pub fn after(hops: u8, packet: Ip) -> Ip {
    Ip { hops: packet.hops - hops, ..packet }
}

fn same(found: &[u8], expected: &[u8]) {
    assert!(found == expected, "\nfound  {found:02x?}\nwanted {expected:02x?}");
}

/// The packet goes to whoever has this MAC, under this reason.
#[track_caller]
pub fn delivered(verdict: &Verdict, reason: &str, mac: [u8; 6], packet: &Ip) {
    assert_eq!((verdict.action, verdict.reason), (super::TC_ACT_REDIRECT, reason));
    same(&verdict.frame, &packet.frame(mac, GATEWAY_MAC));
}

/// The packet goes through the tunnel to the node at `peer`.
#[track_caller]
pub fn tunnelled(verdict: &Verdict, peer: &str, packet: &Ip) {
    assert_eq!(verdict.reason, "direct_out");
    let peer: std::net::Ipv4Addr = peer.parse().unwrap();
    assert_eq!(verdict.frame[30..34], peer.octets());
    same(&verdict.frame[OUTER..], &packet.frame(OVERLAY_MAC, GATEWAY_MAC));
}

/// The packet goes out of the cluster past the node's stack; the neighbour's MAC is set later.
#[track_caller]
pub fn sent_out(verdict: &Verdict, packet: &Ip) {
    assert_eq!((verdict.action, verdict.reason), (super::TC_ACT_REDIRECT, "outside"));
    same(&verdict.frame[14..], &packet.bytes());
}

/// The packet passes to the node's stack, rewritten.
#[track_caller]
pub fn passed(verdict: &Verdict, reason: &str, packet: &Ip) {
    assert_eq!((verdict.action, verdict.reason), (TCX_NEXT, reason));
    same(&verdict.frame[14..], &packet.bytes());
}

/// The packet was dropped.
#[track_caller]
pub fn dropped(verdict: &Verdict, reason: &str) {
    assert_eq!((verdict.action, verdict.reason), (super::TC_ACT_SHOT, reason));
}

/// The two ends of an IPv4 or IPv6 packet with ports.
pub fn ends(packet: &[u8]) -> (End, End) {
    let (addresses, ports) = if packet[0] >> 4 == 4 { (12..20, 20) } else { (8..40, 40) };
    let half = addresses.len() / 2;
    let at = |place: usize| -> IpAddr {
        let bytes = &packet[place..place + half];
        <[u8; 4]>::try_from(bytes)
            .map(IpAddr::from)
            .unwrap_or_else(|_| IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()))
    };
    let port = |place: usize| u16::from_be_bytes([packet[place], packet[place + 1]]);
    ((at(addresses.start), port(ports)), (at(addresses.start + half), port(ports + 2)))
}

/// The inner packet of a frame that is in the tunnel.
pub fn inner(frame: &[u8]) -> &[u8] {
    &frame[OUTER + 14..]
}
