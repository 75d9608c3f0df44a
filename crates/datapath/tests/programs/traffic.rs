//! Real packets: two Pods and their node, and two nodes with a tunnel between them.

use std::net::IpAddr;

use crate::support::netns::*;
use crate::support::real::*;
use crate::support::*;
use datapath::NodeConfig;
use testkit::packet;

#[test]
fn pods_of_one_node_talk_to_each_other_and_to_the_node() {
    sandbox(|bpffs| {
        let node = RealNode::new(bpffs, 1, 2);
        let [a, b] = &node.pods[..] else { panic!("two pods") };
        for family in [0, 1] {
            let [gateway, host, pod_a, pod_b, missing] = [1, 2, 3, 4, 9].map(|n| node.addresses(n)[family]);
            a.run(|| {
                for size in [0, 56, 1400, 8000] {
                    for address in [gateway, host, pod_b] {
                        assert!(ping(address, size), "{address} with {size} bytes: {:?}", node.fates());
                    }
                }
            });
            node.netns.run(|| {
                for address in [gateway, pod_a, pod_b] {
                    assert!(ping(address, 3000), "node to {address}: {:?}", node.fates());
                }
            });
            transfer(a, b, pod_b, 32 << 20);
            transfer(&node.netns, a, pod_a, 1 << 20);
            transfer(a, &node.netns, host, 1 << 20);
            a.run(|| {
                assert_eq!(udp_error(missing, 64, 100), Some(libc::EHOSTUNREACH));
                assert_eq!(udp_error(pod_b, 1, 100), Some(libc::EHOSTUNREACH));
            });
        }
        let size = node.mean_size("local");
        assert!(size > 4 * u64::from(POD_MTU), "segmentation offload is lost: {size} bytes a packet");
        for name in ["echo_reply", "arp_reply", "ndp_reply", "to_node", "ttl_exceeded", "no_endpoint"] {
            assert!(node.packets(name) > 0, "{name}");
        }
    });
}

/// The kernel runs no frame without a whole IP header in `BPF_PROG_TEST_RUN`.
#[test]
fn a_frame_without_a_header_is_malformed() {
    sandbox(|bpffs| {
        let node = RealNode::new(bpffs, 1, 1);
        for (ethertype, sizes) in [(0x0800u16, [0, 1, 19]), (0x86dd, [0, 1, 39]), (0x0806, [0, 1, 27])] {
            for size in sizes {
                let before = node.packets("malformed");
                let frame = packet::ethernet(GATEWAY_MAC, [2, 0, 0, 0, 1, 0], ethertype, &vec![0x45; size]);
                node.pods[0].run(|| packet::send("eth0", &[frame]));
                assert_eq!(
                    node.packets("malformed"),
                    before + 1,
                    "{ethertype:#x} {size}: {:?}",
                    node.fates()
                );
            }
        }
    });
}

/// Every kind of packet through the tunnel, in both directions.
fn talk([left, right]: &[RealNode; 2], underlay_is_ipv4: bool) {
    let fates = || (left.fates(), right.fates());
    for family in [0, 1] {
        // Both ends learn from the gateway what fits into the tunnel.
        for (here, there) in [(left, right), (right, left)] {
            let pod = there.addresses(3)[family];
            here.pods[0].run(|| {
                assert_eq!(udp_error(pod, 64, 1450), Some(libc::EMSGSIZE), "{:?}", fates());
                assert_eq!(path_mtu(pod), Some(OVERLAY_MTU));
            });
        }
        let [node, pod] = [2, 3].map(|n| right.addresses(n)[family]);
        left.pods[0].run(|| {
            for address in [pod, node] {
                assert!(ping(address, 1300), "{address}: {:?}", fates());
            }
            assert!(ping(pod, 8000), "{:?}", fates());
        });
        if pod.is_ipv4() && underlay_is_ipv4 {
            // What may be fragmented is: the tunnel's own packet, so that the Pod gets it whole.
            assert!(unfragmented(&left.pods[0], &right.pods[0], pod, 1450), "{:?}", fates());
        }
        transfer(&left.pods[0], &right.pods[0], pod, 16 << 20);
        transfer(&left.netns, &right.pods[0], pod, 1 << 20);
        transfer(&right.netns, &left.pods[0], left.addresses(3)[family], 1 << 20);
    }
    assert!(left.packets("too_big") > 0);
}

fn assert_offloaded(node: &RealNode, reason: &str) {
    let size = node.mean_size(reason);
    assert!(size > 4 * u64::from(POD_MTU), "segmentation offload is lost: {size} bytes a packet");
}

#[test]
fn pods_of_two_nodes_talk_through_the_tunnel() {
    for underlay in [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2"]] {
        sandbox(|bpffs| {
            let nodes = connected(bpffs, underlay, [false; 2]);
            talk(&nodes, !underlay[0].contains(':'));
            assert_offloaded(&nodes[0], "overlay_out");
            assert!(nodes[1].packets("overlay_in") > 0);
        });
    }
}

/// Routing would choose another one, which the other node does not know.
#[test]
fn the_tunnels_source_is_the_configured_one() {
    for (underlay, other) in
        [(["192.0.2.1", "192.0.2.2"], "192.0.2.99"), (["2001:db8::1", "2001:db8::2"], "2001:db8::99")]
    {
        sandbox(|bpffs| {
            let mut nodes = connected(bpffs, underlay, [false; 2]);
            let RealNode { netns, datapath, number, .. } = &mut nodes[0];
            netns.run(|| {
                let suffix = if other.contains(':') { "/64 dev underlay nodad" } else { "/24 dev underlay" };
                run("ip", &format!("addr add {other}{suffix}"));
                run("ip", &format!("route add {} dev underlay src {other}", underlay[1]));
                assert!(run("ip", &format!("route get {}", underlay[1])).contains(&format!("src {other}")));
                let config = RealNode::config(*number);
                let config = match underlay[0].parse().unwrap() {
                    IpAddr::V4(address) => NodeConfig { tunnel_address4: Some(address), ..config },
                    IpAddr::V6(address) => NodeConfig { tunnel_address6: Some(address), ..config },
                };
                datapath.set_config(&config).unwrap();
            });
            talk(&nodes, !other.contains(':'));
            assert_eq!(nodes[1].packets("overlay_peer"), 0, "{:?}", nodes[1].fates());
        });
    }
}

#[test]
fn headers_can_be_written_and_removed_without_the_device() {
    sandbox(|bpffs| {
        let nodes = connected(bpffs, ["192.0.2.1", "192.0.2.2"], [true; 2]);
        talk(&nodes, true);
        assert_offloaded(&nodes[0], "direct_out");
        for node in &nodes {
            // Only what had to be fragmented went by the device.
            assert!(
                node.packets("direct_in") > 100 && node.packets("overlay_out") <= 1,
                "{:?}",
                node.fates()
            );
        }
    });
}

#[test]
fn both_ways_understand_each_other() {
    for direct in [[true, false], [false, true]] {
        sandbox(|bpffs| {
            let nodes = connected(bpffs, ["192.0.2.1", "192.0.2.2"], direct);
            talk(&nodes, true);
            let [mut alone, mut device] = [&nodes[0], &nodes[1]];
            if direct[1] {
                (alone, device) = (device, alone);
            }
            assert!(alone.packets("direct_out") > 100 && device.packets("overlay_in") > 100);
            assert!(device.packets("overlay_out") > 100 && alone.packets("direct_in") > 100);
            assert_eq!(device.packets("direct_out") + device.packets("direct_in"), 0);
        });
    }
}

/// An uplink whose driver splits nothing and sums nothing up: the kernel does it, and must do it right.
#[test]
fn an_uplink_without_offloads_gets_whole_packets() {
    sandbox(|bpffs| {
        let nodes = connected(bpffs, ["192.0.2.1", "192.0.2.2"], [true; 2]);
        for node in &nodes {
            let features = "tso off gso off gro off tx off rx off tx-udp_tnl-segmentation off";
            node.netns.run(|| run("ethtool", &format!("-K underlay {features}")));
        }
        talk(&nodes, true);
        assert!(nodes[0].packets("direct_out") > 100);
    });
}

/// When there is no plain route, the device finds a path: here over another router.
#[test]
fn the_next_hop_can_be_a_router() {
    sandbox(|bpffs| {
        let nodes = connected(bpffs, ["192.0.2.1", "198.51.100.1"], [true; 2]);
        let via = [("192.0.2.254", "198.51.100.1"), ("198.51.100.254", "192.0.2.1")];
        for (number, (gateway, peer)) in via.into_iter().enumerate() {
            // Both are on one wire: the other node answers for the router.
            nodes[1 - number].netns.run(|| run("ip", &format!("addr add {gateway}/24 dev underlay")));
            nodes[number].netns.run(|| run("ip", &format!("route add {peer} via {gateway} dev underlay")));
        }
        talk(&nodes, true);
        for node in &nodes {
            assert!(
                node.packets("direct_out") > 100 && node.packets("direct_in") > 100,
                "{:?}",
                node.fates()
            );
        }
    });
}

/// The MTU of the path to an address, as the kernel has learnt it.
fn path_mtu(address: IpAddr) -> Option<u32> {
    let route = run("ip", &format!("route get {address}"));
    let mut words = route.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1).and_then(|mtu| mtu.parse().ok())
}
