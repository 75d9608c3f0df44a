//! ARP and neighbour discovery: the gateway is answered for, and nobody speaks in another's name.

use std::net::IpAddr;

use crate::support::*;
use testkit::packet::{self, *};

const BROADCAST: [u8; 6] = [0xff; 6];
const NONE: [u8; 6] = [0; 6];

#[test]
fn arp() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        let f = families()[0];
        let mido = node.config.mido_ifindex;
        let none: IpAddr = "0.0.0.0".parse().unwrap();
        let request = |mac, sender, target| packet::arp(1, mac, sender, NONE, target);
        let frame = |destination, mac, arp: Vec<u8>| ethernet(destination, mac, 0x0806, &arp);

        for (ifindex, mac, sender) in [(node.a, A_MAC, f.a), (node.b, B_MAC, f.b), (mido, NODE_MAC, f.node)] {
            for destination in [BROADCAST, GATEWAY_MAC] {
                for padding in [0, 18] {
                    let pad = |frame: Vec<u8>| [frame, vec![0; padding]].concat();
                    let question = pad(frame(destination, mac, request(mac, sender, f.gateway)));
                    let reply = packet::arp(2, GATEWAY_MAC, f.gateway, mac, sender);
                    let verdict = node.process(&program, ifindex, 0, &question);
                    assert_eq!((verdict.action, verdict.reason), (TC_ACT_REDIRECT, "arp_reply"));
                    assert_eq!(verdict.frame, pad(frame(mac, GATEWAY_MAC, reply)));
                }
            }
        }

        let good = request(A_MAC, f.a, f.gateway);
        let changed = |at: usize| {
            let mut arp = good.clone();
            arp[at] ^= 0x10;
            frame(BROADCAST, A_MAC, arp)
        };
        for (name, ifindex, question, reason) in [
            (
                "another's address",
                node.a,
                frame(BROADCAST, A_MAC, request(A_MAC, f.b, f.gateway)),
                "arp_forged",
            ),
            ("the gateway's", node.a, frame(BROADCAST, A_MAC, request(A_MAC, f.gateway, f.b)), "arp_forged"),
            ("nobody's", node.a, frame(BROADCAST, A_MAC, request(A_MAC, f.missing, f.gateway)), "arp_forged"),
            (
                "another MAC inside",
                node.a,
                frame(BROADCAST, A_MAC, request(B_MAC, f.a, f.gateway)),
                "arp_forged",
            ),
            (
                "another MAC outside",
                node.a,
                frame(BROADCAST, B_MAC, request(A_MAC, f.a, f.gateway)),
                "arp_forged",
            ),
            ("another's port", node.b, frame(BROADCAST, A_MAC, good.clone()), "arp_forged"),
            ("no port", node.unbound, frame(BROADCAST, A_MAC, good.clone()), "port_not_bound"),
            ("another pod", node.a, frame(BROADCAST, A_MAC, request(A_MAC, f.a, f.b)), "arp_other"),
            ("the node", node.a, frame(BROADCAST, A_MAC, request(A_MAC, f.a, f.node)), "arp_other"),
            ("gratuitous", node.a, frame(BROADCAST, A_MAC, request(A_MAC, f.a, f.a)), "arp_other"),
            ("probe", node.a, frame(BROADCAST, A_MAC, request(A_MAC, none, f.gateway)), "arp_other"),
            (
                "reply",
                node.a,
                frame(GATEWAY_MAC, A_MAC, packet::arp(2, A_MAC, f.a, NONE, f.gateway)),
                "arp_other",
            ),
            (
                "node, another pod",
                mido,
                frame(BROADCAST, NODE_MAC, request(NODE_MAC, f.node, f.b)),
                "arp_other",
            ),
            (
                "node, as gateway",
                mido,
                frame(BROADCAST, NODE_MAC, request(NODE_MAC, f.gateway, f.gateway)),
                "arp_other",
            ),
            ("short", node.a, changed(0)[..41].to_vec(), "malformed"),
            ("hardware", node.a, changed(1), "malformed"),
            ("protocol", node.a, changed(2), "malformed"),
            ("hardware size", node.a, changed(4), "malformed"),
            ("protocol size", node.a, changed(5), "malformed"),
        ] {
            let verdict = node.process(&program, ifindex, 0, &question);
            assert_eq!((verdict.action, verdict.reason), (TC_ACT_SHOT, reason), "{name}");
        }
    });
}

fn multicast_of(target: IpAddr) -> (IpAddr, [u8; 6]) {
    let octets = octets(target);
    let group = format!("ff02::1:ff{:02x}:{:02x}{:02x}", octets[13], octets[14], octets[15]).parse().unwrap();
    (group, [0x33, 0x33, 0xff, octets[13], octets[14], octets[15]])
}

#[test]
fn neighbour_discovery() {
    sandbox(|bpffs| {
        let node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        let f = families()[1];
        let mido = node.config.mido_ifindex;
        let link_local: IpAddr = "fe80::a".parse().unwrap();
        let (group, group_mac) = multicast_of(f.gateway);
        let nonce = [vec![14, 1], vec![5; 6]].concat();

        for (ifindex, mac, own) in [(node.a, A_MAC, f.a), (mido, NODE_MAC, f.node)] {
            for source in [own, link_local] {
                for (destination, destination_mac) in [(group, group_mac), (f.gateway, GATEWAY_MAC)] {
                    let lla = link_layer_option(1, mac);
                    for options in [
                        vec![],
                        lla.clone(),
                        [nonce.clone(), lla.clone()].concat(),
                        [lla, nonce.clone()].concat(),
                    ] {
                        let question = neighbour(135, 0, source, destination, f.gateway, &options);
                        let answer = neighbour(
                            136,
                            0xe000_0000,
                            f.gateway,
                            source,
                            f.gateway,
                            &link_layer_option(2, GATEWAY_MAC),
                        );
                        let verdict =
                            node.process(&program, ifindex, 0, &question.frame(destination_mac, mac));
                        assert_eq!((verdict.action, verdict.reason), (TC_ACT_REDIRECT, "ndp_reply"));
                        assert_eq!(verdict.frame, answer.frame(mac, GATEWAY_MAC), "{:02x?}", verdict.frame);
                    }
                }
            }
        }

        let none: IpAddr = "::".parse().unwrap();
        let routers: IpAddr = "ff02::2".parse().unwrap();
        let routers_mac = [0x33, 0x33, 0, 0, 0, 2];
        let ask = |source, target, options: &[u8]| neighbour(135, 0, source, group, target, options);
        let good = ask(f.a, f.gateway, &[]);
        let mut code = good.clone();
        code.payload[1] = 1;
        let mut short = good.clone();
        short.payload.truncate(23);
        let own = link_layer_option(1, A_MAC);
        let other = link_layer_option(1, B_MAC);
        let from_a = |name, packet: Ip, reason| (name, node.a, packet.frame(group_mac, A_MAC), reason);
        let (other_group, other_group_mac) = multicast_of(f.b);
        for (name, ifindex, question, reason) in [
            from_a("another's address", ask(f.b, f.gateway, &[]), "ndp_forged"),
            from_a("the gateway's address", ask(f.gateway, f.gateway, &[]), "ndp_forged"),
            from_a("a group's address", ask(group, f.gateway, &[]), "ndp_forged"),
            from_a("another MAC inside", ask(f.a, f.gateway, &other), "ndp_forged"),
            from_a(
                "another MAC in a second option",
                ask(f.a, f.gateway, &[own, other].concat()),
                "ndp_forged",
            ),
            ("another MAC outside", node.a, good.frame(group_mac, B_MAC), "ndp_forged"),
            ("another's port", node.b, good.frame(group_mac, A_MAC), "ndp_forged"),
            ("no port", node.unbound, good.frame(group_mac, A_MAC), "port_not_bound"),
            from_a("duplicate address detection", ask(none, f.a, &[]), "multicast"),
            from_a("duplicate address detection of the gateway", ask(none, f.gateway, &[]), "multicast"),
            (
                "another pod",
                node.a,
                neighbour(135, 0, f.a, other_group, f.b, &[]).frame(other_group_mac, A_MAC),
                "ndp_other",
            ),
            (
                "router solicitation",
                node.a,
                Ip { hops: 255, ..icmp(link_local, routers, 133, 0, [0; 4], &[]) }.frame(routers_mac, A_MAC),
                "multicast",
            ),
            (
                "router advertisement",
                node.a,
                Ip { hops: 255, ..icmp(link_local, f.b, 134, 0, [0; 4], &[0; 8]) }.frame(B_MAC, A_MAC),
                "ndp_other",
            ),
            (
                "advertisement",
                node.a,
                neighbour(136, 0x6000_0000, f.a, f.gateway, f.a, &[]).frame(GATEWAY_MAC, A_MAC),
                "ndp_other",
            ),
            (
                "redirect",
                node.a,
                Ip { hops: 255, ..icmp(f.a, f.b, 137, 0, [0; 4], &[0; 32]) }.frame(GATEWAY_MAC, A_MAC),
                "ndp_other",
            ),
            (
                "MLD report",
                node.a,
                Ip::new(
                    link_local,
                    "ff02::16".parse().unwrap(),
                    0,
                    [vec![ICMPV6, 0, 5, 2, 0, 0, 1, 0, 143], vec![0; 7]].concat(),
                )
                .frame([0x33, 0x33, 0, 0, 0, 0x16], A_MAC),
                "multicast",
            ),
            from_a("hop limit 254", Ip { hops: 254, ..good.clone() }, "malformed"),
            from_a("code", code, "malformed"),
            from_a("short", short, "malformed"),
            from_a("empty option", ask(f.a, f.gateway, &[1, 0, 0, 0, 0, 0, 0, 0]), "malformed"),
            from_a("half an option", ask(f.a, f.gateway, &[1, 1, 0, 0]), "malformed"),
            from_a("option beyond the end", ask(f.a, f.gateway, &[1, 2, 2, 0, 0, 0, 0, 0xaa]), "malformed"),
            from_a("too many options", ask(f.a, f.gateway, &nonce.repeat(9)), "malformed"),
        ] {
            let verdict = node.process(&program, ifindex, 0, &question);
            assert_eq!((verdict.action, verdict.reason), (TC_ACT_SHOT, reason), "{name}");
        }
    });
}
