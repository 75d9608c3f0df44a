//! What provokes each reason.

use std::os::fd::AsRawFd;

use datapath::drops::Drop;
use datapath::{Datapath, Limit, Limits, NodeConfig, Options, Port};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use testkit::packet::*;

use super::{Before, OBJECT, Row};
use crate::support::packets::*;
use crate::support::policy::*;
use crate::support::real::RealNode;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::tunnel::{Overlay, PEER_MAC, UPLINK_MAC, tunnel};
use crate::support::*;

/// The rows that came, and the one that has to be.
type Found = (Vec<Drop>, Row);
type Case = fn(&mut Scene, &Parties, &Before) -> Found;

/// By reason.
pub(super) fn cases() -> Vec<(&'static str, Case)> {
    vec![
        ("no_endpoint", |s, p, b| a_sends_to(s, p, b, p.pods.missing)),
        ("unreachable", |s, p, b| a_sends_to(s, p, b, p.pods.unserved)),
        ("not_configured", not_configured),
        ("port_not_bound", |s, p, b| {
            s.endpoint_sends(s.node.unbound, A_MAC, &udp(p.pods.a, p.pods.b, b"x"));
            let row = Row::sent(s.node.unbound, p.pods.a, p.pods.b).to(UDP, 53).as_if(p.pods.a, A_MAC);
            found(s, b, Row { source: None, ..row })
        }),
        ("source_mac", |s, p, b| {
            s.endpoint_sends(s.node.a, B_MAC, &udp(p.pods.b, p.pods.a, b"x"));
            found(s, b, Row::sent(s.node.a, p.pods.a, p.pods.a).to(UDP, 53).as_if(p.pods.b, B_MAC))
        }),
        ("source_ip", |s, p, b| {
            s.a_sends(&udp(p.client, p.pods.b, b"x"));
            found(s, b, Row::sent(s.node.a, p.pods.a, p.pods.b).to(UDP, 53).as_if(p.client, A_MAC))
        }),
        ("destination_mac", |s, p, b| {
            enters(s, s.node.a, &udp(p.pods.a, p.pods.b, b"x").frame(B_MAC, A_MAC));
            found(s, b, Row::sent(s.node.a, p.pods.a, p.pods.b).to(UDP, 53).as_if(p.pods.a, A_MAC))
        }),
        ("not_routable", |s, p, b| {
            let loopback = if p.vip.is_ipv4() { "127.0.0.1" } else { "::1" };
            a_sends_to(s, p, b, loopback.parse().unwrap())
        }),
        ("ethertype", |s, p, b| {
            let packet = udp(p.pods.a, p.pods.b, b"x").bytes();
            enters(s, s.node.a, &ethernet(GATEWAY_MAC, A_MAC, 0x8847, &packet));
            of_frame(s, b, "ethertype")
        }),
        ("malformed", |s, p, b| {
            let frame = udp(p.pods.a, p.pods.b, b"x").frame(GATEWAY_MAC, A_MAC);
            enters(s, s.node.a, &frame[..frame.len() - 1]);
            of_frame(s, b, "malformed")
        }),
        ("arp_forged", |s, _, b| {
            let [f, _] = families();
            let message = arp(1, A_MAC, f.b, [0; 6], f.gateway);
            enters(s, s.node.a, &ethernet([0xff; 6], A_MAC, 0x0806, &message));
            again(s, b, "arp_forged", Row::sent(s.node.a, f.a, f.gateway).as_if(f.b, A_MAC))
        }),
        ("arp_other", |s, _, b| {
            let [f, _] = families();
            let message = arp(1, A_MAC, f.a, [0; 6], f.b);
            enters(s, s.node.a, &ethernet([0xff; 6], A_MAC, 0x0806, &message));
            again(s, b, "arp_other", Row::sent(s.node.a, f.a, f.b).as_if(f.a, A_MAC))
        }),
        ("ndp_forged", |s, _, b| {
            let [_, f] = families();
            s.a_sends(&neighbour(135, 0, f.b, f.gateway, f.gateway, &link_layer_option(1, A_MAC)));
            again(s, b, "ndp_forged", Row::sent(s.node.a, f.a, f.gateway).to(ICMP, 0).as_if(f.b, A_MAC))
        }),
        ("ndp_other", |s, _, b| {
            let [_, f] = families();
            s.a_sends(&neighbour(136, 0, f.a, f.gateway, f.a, &link_layer_option(2, A_MAC)));
            again(s, b, "ndp_other", Row::sent(s.node.a, f.a, f.gateway).to(ICMP, 0).as_if(f.a, A_MAC))
        }),
        ("gateway_other", |s, p, b| a_sends_to(s, p, b, p.pods.gateway)),
        ("node_loop", |s, p, b| {
            s.node_sends(&udp(p.pods.node, p.pods.node, b"x"));
            found(s, b, Row::sent(s.node.config.mido_ifindex, p.pods.node, p.pods.node).to(UDP, 53))
        }),
        ("no_route", |s, p, b| {
            s.node_sends(&udp(p.pods.node, p.client, b"x"));
            found(s, b, Row::sent(s.node.config.mido_ifindex, p.pods.node, p.client).to(UDP, 53))
        }),
        ("icmp_suppressed", |s, p, b| {
            let kind = if p.vip.is_ipv4() { (3, 1) } else { (1, 3) };
            s.a_sends(&error(p.pods.a, p.pods.missing, kind, &[0; 48]));
            found(s, b, Row::sent(s.node.a, p.pods.a, p.pods.missing).to(ICMP, 0))
        }),
        ("answer_failed", answer_failed),
        // Less than an IPv6 header.
        ("tunnel_failed", |s, _, b| {
            let inner = ethernet(OVERLAY_MAC, GATEWAY_MAC, 0x86dd, &[0; 20]);
            let frame = tunnel(PEER, VNI, &inner).frame(UPLINK_MAC, PEER_MAC);
            s.node.run(&s.node.program("from_uplink"), s.uplink, 0, &frame);
            let peer = PEER.parse().unwrap();
            again(s, b, "tunnel_failed", Row { destination: None, ..Row::came(s.uplink, peer, peer) })
        }),
        ("overlay_source", |s, p, b| {
            s.tunnel_brings(PEER, &udp(p.pods.b, p.pods.a, b"x"));
            let row = Row::came(s.uplink, PEER.parse().unwrap(), p.pods.a).to(UDP, 53);
            found(s, b, Row { claimed: Some(p.pods.b), ..row })
        }),
        ("overlay_peer", |s, p, b| {
            s.tunnel_brings("198.51.100.8", &udp(p.pods.remote, p.pods.a, b"x"));
            let row = Row::came(s.uplink, "198.51.100.8".parse().unwrap(), p.pods.a).to(UDP, 53);
            found(s, b, Row { claimed: Some(p.pods.remote), ..row })
        }),
        ("overlay_vni", |s, p, b| {
            // The device's, whatever the family of the tunnel.
            let (peer, source) =
                if p.vip.is_ipv4() { (PEER6, p.pods.remote6) } else { (PEER, p.pods.remote) };
            let frame = udp(source, p.pods.a, b"x").frame(OVERLAY_MAC, GATEWAY_MAC);
            Overlay::new(&s.node, OBJECT).process(&s.node, peer, VNI + 1, &frame);
            let row = Row::came(s.node.config.overlay_ifindex, peer.parse().unwrap(), p.pods.a).to(UDP, 53);
            found(s, b, Row { claimed: Some(source), ..row })
        }),
        ("overlay_unknown", |s, p, b| {
            s.tunnel_brings(PEER, &udp(p.pods.remote, p.pods.missing, b"x"));
            found(s, b, Row::came(s.uplink, p.pods.remote, p.pods.missing).to(UDP, 53))
        }),
        ("tunnel_from_pod", |s, p, b| {
            s.a_sends(&udp_to(p.pods.a, p.client, TUNNEL_PORT, b"x"));
            found(s, b, Row::sent(s.node.a, p.pods.a, p.client).to(UDP, TUNNEL_PORT))
        }),
        ("no_shaper", no_shaper),
        ("icmp_limited", icmp_limited),
        ("service_port", |s, p, b| {
            s.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 80), &Service::new(1, &[(p.pods.b, 80)]));
            a_connects(s, p, b, 81)
        }),
        ("service_address", |s, p, b| a_sends_to(s, p, b, p.unallocated)),
        ("service_source", |s, p, b| {
            let nobody = Service { ranges: 7, ..Service::new(2, &[(p.pods.b, 80)]) };
            s.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 82), &nobody);
            a_connects(s, p, b, 82)
        }),
        ("no_backend", |s, p, b| {
            let empty = Service { flags: REFUSE, ..Service::new(3, &[]) };
            s.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 83), &empty);
            a_connects(s, p, b, 83)
        }),
        ("no_local_backend", |s, p, b| {
            s.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 84), &Service::new(4, &[]));
            a_connects(s, p, b, 84)
        }),
        ("no_port", |s, p, b| {
            s.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 85), &Service::new(5, &[(p.client, 80)]));
            let one = NodeConfig { source_ports: 20_000..=20_000, ..s.node.config.clone() };
            s.node.datapath.set_config(&one).unwrap();
            let to = (p.vip, 85);
            assert_eq!(s.a_sends(&segment(TCP, (p.pods.a, 1), to, SYN, b"")).reason, "outside");
            s.a_sends(&segment(TCP, (p.pods.a, 2), to, SYN, b""));
            s.node.datapath.set_config(&s.node.config).unwrap();
            found(s, b, Row::sent(s.node.a, p.pods.a, p.client).to(TCP, 80))
        }),
        ("outside_unreachable", |s, p, b| {
            s.maps.serve(SCOPE_ADDRESS, TCP, (p.vip, 86), &Service::new(6, &[(p.client, 81)]));
            let none = NodeConfig { node_address4: None, node_address6: None, ..s.node.config.clone() };
            s.node.datapath.set_config(&none).unwrap();
            s.a_sends(&segment(TCP, (p.pods.a, 3), (p.vip, 86), SYN, b""));
            s.node.datapath.set_config(&s.node.config).unwrap();
            found(s, b, Row::sent(s.node.a, p.pods.a, p.client).to(TCP, 81))
        }),
        ("stale_connection", stale_connection),
        ("policy_ingress", |s, p, b| {
            by_policy(s, p, b, |a, b| Draft::new().pod(a, open(), open()).pod(b, nothing(), open()))
        }),
        ("policy_egress", |s, p, b| {
            by_policy(s, p, b, |a, b| Draft::new().pod(a, open(), nothing()).pod(b, open(), open()))
        }),
        ("policy_unknown", |s, p, b| by_policy(s, p, b, |_, _| Draft::new())),
        ("policy_no_port", policy_no_port),
    ]
}

fn nothing() -> Table {
    Table(all(deny(0)), vec![])
}

fn found(scene: &Scene, before: &Before, row: Row) -> Found {
    (before.new_rows(&scene.node.datapath.drops()), row)
}

/// The row of a case that is the same for both families: the second time it was there before.
fn again(scene: &Scene, before: &Before, reason: &str, row: Row) -> Found {
    let drops = scene.node.datapath.drops();
    let new = before.new_rows(&drops);
    if !new.is_empty() {
        return (new, row);
    }
    let known =
        drops.all().unwrap().into_iter().filter(|drop| drop.reason == reason && Row::from(drop) == row);
    let once = known.map(|drop| Drop { packets: drop.packets / 2, last: drop.first, ..drop });
    (once.collect(), row)
}

fn enters(scene: &Scene, ifindex: u32, frame: &[u8]) {
    scene.node.process(&scene.node.program("from_endpoint"), ifindex, 0, frame);
}

/// A frame from Pod a without an address that can be read.
fn of_frame(scene: &Scene, before: &Before, reason: &str) -> Found {
    let row = Row::sent(scene.node.a, families()[0].a, families()[0].a);
    again(scene, before, reason, Row { destination: None, claimed_mac: Some(A_MAC), ..row })
}

fn a_sends_to(scene: &Scene, p: &Parties, before: &Before, to: std::net::IpAddr) -> Found {
    scene.a_sends(&udp(p.pods.a, to, b"x"));
    found(scene, before, Row::sent(scene.node.a, p.pods.a, to).to(UDP, 53))
}

fn a_connects(scene: &Scene, p: &Parties, before: &Before, port: u16) -> Found {
    scene.a_sends(&segment(TCP, (p.pods.a, 40_000), (p.vip, port), SYN, b""));
    found(scene, before, Row::sent(scene.node.a, p.pods.a, p.vip).to(TCP, port))
}

/// A second datapath, since an array cannot lose its element.
fn not_configured(scene: &mut Scene, p: &Parties, _: &Before) -> Found {
    let which = if p.vip.is_ipv4() { "other4" } else { "other6" };
    let base = scene.node.programs.parent().unwrap().parent().unwrap();
    let options = Options { pin_dir: base.join(which), ..options(base) };
    let datapath = Datapath::open(&options).unwrap();
    let programs = options.pin_dir.join("programs");
    let (config, NodeIndexes(a, b, unbound)) = (scene.node.config.clone(), indexes(&scene.node));
    let empty = Node { datapath, programs, config, a, b, unbound };
    let frame = udp(p.pods.a, p.pods.b, b"x").frame(GATEWAY_MAC, A_MAC);
    empty.process(&empty.program("from_endpoint"), a, 0, &frame);
    let row = Row::sent(a, p.pods.a, p.pods.b);
    let row = Row { source: None, destination: None, claimed_mac: Some(A_MAC), ..row };
    (empty.datapath.drops().all().unwrap(), row)
}

struct NodeIndexes(u32, u32, u32);

fn indexes(node: &Node) -> NodeIndexes {
    NodeIndexes(node.a, node.b, node.unbound)
}

/// No error can be made of a packet whose checksum is yet to be computed behind what would be quoted of it. Such packets
/// come from an interface alone.
fn answer_failed(scene: &mut Scene, p: &Parties, _: &Before) -> Found {
    let which = if p.vip.is_ipv4() { "real4" } else { "real6" };
    let base = scene.node.programs.parent().unwrap().parent().unwrap().join(which);
    let node = RealNode::new(&base, 1, 1);
    let family = usize::from(p.vip.is_ipv6());
    let (source, destination) = (node.addresses(3)[family], node.addresses(9)[family]);
    let frame = udp(source, destination, &[0; 1400]).frame(GATEWAY_MAC, [2, 0, 0, 0, 1, 0]);
    node.pods[0].run(|| send_unfinished("eth0", &frame, 1350));
    let rows = || -> Vec<Drop> {
        let all = node.datapath.drops().all().unwrap();
        all.into_iter().filter(|drop| drop.destination == Some(destination)).collect()
    };
    testkit::wait_until(std::time::Duration::from_secs(10), "the packet is dropped", || !rows().is_empty());
    let interface = node.netns.run(|| ifindex("outer0"));
    (rows(), Row::sent(interface, source, destination).to(UDP, 53))
}

/// Sends a frame whose receiver is to compute a checksum from `start` on.
fn send_unfinished(interface: &str, frame: &[u8], start: u16) {
    const PACKET_VNET_HDR: libc::c_int = 15;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).unwrap();
    let on: libc::c_int = 1;
    // SAFETY: pointer and length are those of the number.
    let set = unsafe {
        let length = size_of_val(&on) as u32;
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_VNET_HDR,
            (&raw const on).cast(),
            length,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(ifindex(interface)).unwrap(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    // struct virtio_net_hdr: VIRTIO_NET_HDR_F_NEEDS_CSUM; where it begins, and where it goes from there.
    let [low, high] = start.to_ne_bytes();
    let bytes = [&[1, 0, 0, 0, 0, 0, low, high, 6, 0][..], frame].concat();
    // SAFETY: pointers and lengths are those of the bytes and of the address.
    let sent = unsafe {
        let length = size_of_val(&to) as u32;
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const to).cast(),
            length,
        )
    };
    assert_eq!(usize::try_from(sent), Ok(bytes.len()), "{}", std::io::Error::last_os_error());
}

/// The Pod's port gets other limits, and its former ones again.
fn no_shaper(scene: &mut Scene, p: &Parties, before: &Before) -> Found {
    let ports = scene.node.datapath.ports().unwrap();
    let port = ports.into_iter().find(|port| port.ifindex == scene.node.a).unwrap();
    let egress = Some(Limit { rate: 8_000_000, burst: 800_000 });
    let limits = Limits { egress, class: 0x6d69_0007, ..Limits::default() };
    scene.node.datapath.bind(&Port { limits, ..port.clone() }).unwrap();
    scene.a_sends(&udp(p.pods.a, p.pods.b, b"x"));
    scene.node.datapath.bind(&port).unwrap();
    found(scene, before, Row::sent(scene.node.a, p.pods.a, p.pods.b).to(UDP, 53))
}

/// As many pings as are answered, and one more.
fn icmp_limited(scene: &mut Scene, p: &Parties, before: &Before) -> Found {
    let ping = echo(p.pods.a, p.pods.gateway, false, b"x");
    while scene.a_sends(&ping).reason != "icmp_limited" {}
    let mut answers = scene.maps.hash::<4, 16>("answers");
    answers.remove(&scene.node.a.to_ne_bytes()).unwrap();
    found(scene, before, Row::sent(scene.node.a, p.pods.a, p.pods.gateway).to(ICMP, 0))
}

/// Another Pod gets the addresses, and gives them back.
fn stale_connection(scene: &mut Scene, p: &Parties, before: &Before) -> Found {
    let packet = segment(UDP, (p.pods.a, 50_000), (p.pods.b, 81), 0, b"x");
    assert_eq!(scene.a_sends(&packet).reason, "local");
    let ports = scene.node.datapath.ports().unwrap();
    let port = ports.into_iter().find(|port| port.ifindex == scene.node.b).unwrap();
    let unbound = scene.node.unbound;
    scene.node.datapath.release(scene.node.b).unwrap();
    scene.node.datapath.bind(&Port { ifindex: unbound, ..port.clone() }).unwrap();
    scene.a_sends(&packet);
    scene.node.datapath.release(unbound).unwrap();
    scene.node.datapath.bind(&port).unwrap();
    found(scene, before, Row::sent(scene.node.a, p.pods.a, p.pods.b).to(UDP, 81))
}

/// A packet to the other Pod under this policy.
fn by_policy(scene: &mut Scene, p: &Parties, before: &Before, draft: fn(u32, u32) -> Draft) -> Found {
    draft(scene.node.a, scene.node.b).apply(&mut scene.node.datapath);
    let reason = scene.a_sends(&udp(p.pods.a, p.pods.b, b"x")).reason;
    scene.node.datapath.policy_off().unwrap();
    let row = Row::sent(0, p.pods.a, p.pods.b).to(UDP, 53);
    found(scene, before, Row { ingress: reason == "policy_ingress", ..row })
}

/// A later fragment whose first was not seen.
fn policy_no_port(scene: &mut Scene, p: &Parties, before: &Before) -> Found {
    let by_port = Table(ports(deny(0), &[(datapath::Protocol::Udp, 53, 53, allow(0))]), vec![]);
    let draft = Draft::new().pod(scene.node.a, open(), by_port).pod(scene.node.b, open(), open());
    draft.apply(&mut scene.node.datapath);
    let (fragment, protocol) = if p.vip.is_ipv4() {
        (Ip { fragment: 6, ..udp(p.pods.a, p.pods.b, b"question") }, UDP)
    } else {
        let payload = [&[UDP, 0, 0, 48, 0, 0, 0, 7][..], &[0; 16]].concat();
        (Ip::new(p.pods.a, p.pods.b, FRAGMENT, payload), 0)
    };
    scene.a_sends(&fragment);
    scene.node.datapath.policy_off().unwrap();
    found(scene, before, Row::sent(0, p.pods.a, p.pods.b).to(protocol, 0))
}
