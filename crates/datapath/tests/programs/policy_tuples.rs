//! Random policy and random packets through the loaded program, against a naive reading of what was to be applied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::support::packets::*;
use crate::support::policy::*;
use crate::support::*;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use datapath::Protocol;
use datapath::policy::{Change, Direction, EntryKey, List, Origin, Verdict};
use ipnet::IpNet;
use testkit::Random;
use testkit::packet::*;

/// How often policy changes, and how many packets there are each time.
const CHANGES: usize = 60;
const PACKETS: usize = 1_700;

/// Of few addresses outside of the cluster, so that blocks contain each other.
fn address(random: &mut Random, v4: bool) -> IpAddr {
    let bits = [0, 1, 2, 3, 15, 16, 255, 256, 257, 4095, 4096][random.index(11)];
    if v4 {
        Ipv4Addr::from(0xac10_0000 + bits).into()
    } else {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) + (u128::from(bits) << 40) + u128::from(bits)).into()
    }
}

fn block(random: &mut Random) -> IpNet {
    let v4 = random.percent(50);
    let lengths: &[u8] =
        if v4 { &[0, 1, 12, 16, 20, 24, 28, 31, 32] } else { &[0, 3, 32, 64, 68, 79, 80, 127, 128] };
    IpNet::new(address(random, v4), lengths[random.index(lengths.len())]).unwrap().trunc()
}

fn verdict(random: &mut Random) -> Verdict {
    let (allow, audit) = [(true, false), (true, true), (false, false)][random.index(3)];
    Verdict { allow, audit, reject: false, origin: Origin::NetworkPolicy, rule: 1 + random.below(5) as u32 }
}

/// Intervals of all protocols, at whose ends packets will be.
fn list(random: &mut Random) -> List {
    let mut intervals = Vec::new();
    for protocol in Protocol::ALL {
        let mut ports: Vec<u16> = (0..random.below(7)).map(|_| port_number(random)).collect();
        ports.sort_unstable();
        ports.dedup();
        intervals.extend(
            ports
                .chunks_exact(2)
                .map(|ends| (protocol, ends[0], ends[1], verdict(random)))
                .collect::<Vec<_>>(),
        );
    }
    ports(verdict(random), &intervals)
}

fn port_number(random: &mut Random) -> u16 {
    match random.below(3) {
        0 => [0, 1, 79, 80, 81, 1023, 1024, 65_534, 65_535][random.index(9)],
        _ => random.below(65_536) as u16,
    }
}

fn table(random: &mut Random) -> Table {
    let classes: Vec<u32> = (0..6).filter(|_| random.percent(50)).collect();
    Table(list(random), classes.into_iter().map(|class| (class, list(random))).collect())
}

fn change(random: &mut Random, pods: [u32; 2]) -> Change {
    let mut draft = Draft::new();
    for _ in 0..random.below(12) {
        let v4 = random.percent(50);
        draft = draft.address(address(random, v4), random.below(6) as u32);
    }
    for _ in 0..random.below(12) {
        draft.0.blocks.push((block(random), Some(random.below(6) as u32)));
    }
    // The Pods' own addresses, too.
    for f in families() {
        draft = draft.address(f.a, random.below(6) as u32).address(f.b, random.below(6) as u32);
    }
    for pod in pods {
        draft = draft.pod(pod, table(random), table(random));
    }
    draft.change()
}

/// The class of an address: the last that was said of it alone, else of the longest block.
fn class(change: &Change, address: IpAddr) -> u32 {
    if let Some((_, class)) = change.classes.iter().rev().find(|(one, _)| *one == address) {
        return class.unwrap();
    }
    let mut found = (None, 0);
    for (block, class) in &change.blocks {
        if block.contains(&address) && found.0.is_none_or(|length| block.prefix_len() >= length) {
            found = (Some(block.prefix_len()), class.unwrap());
        }
    }
    found.1
}

/// Whether policy lets a packet with this destination port pass, at one end.
fn passes(change: &Change, pod: u32, direction: Direction, other: IpAddr, protocol: u8, port: u16) -> bool {
    let set = change.sets.iter().find(|(ifindex, _)| *ifindex == pod).unwrap().1;
    let entry = |class| {
        let key = EntryKey { set, direction, class };
        change.entries.iter().find(|entry| entry.key == key).map(|entry| entry.list)
    };
    let number = entry(Some(class(change, other))).or_else(|| entry(None)).unwrap();
    let list: &Arc<List> = &change.lists.iter().find(|(one, _)| *one == number).unwrap().1;
    let of_port = list.intervals.iter().find(|interval| {
        interval.protocol.number() == protocol && (interval.first..=interval.last).contains(&port)
    });
    of_port.map_or(list.others, |interval| interval.verdict).allow
}

fn is_sent_on(program: &SchedClassifier, ifindex: u32, frame: &[u8]) -> bool {
    let mut context = [0u8; 192]; // struct __sk_buff
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let run = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
    match program.test_run(run).unwrap().return_value {
        TC_ACT_REDIRECT => true,
        TC_ACT_SHOT => false,
        other => panic!("action {other}"),
    }
}

fn packet(random: &mut Random, from: IpAddr, to: IpAddr) -> (Ip, u8, u16) {
    let (source, port) = (1024 + random.below(60_000) as u16, port_number(random));
    match random.below(10) {
        0 => {
            let mut ping = echo(from, to, false, b"ping");
            ping.payload[4..6].copy_from_slice(&source.to_be_bytes());
            (ping, 0, 0)
        }
        1 => (Ip::new(from, to, 47, vec![7; 24]), 0, 0),
        n => {
            let protocol = PROTOCOLS[n as usize % 3];
            (segment(protocol, (from, source), (to, port), SYN, b""), protocol, port)
        }
    }
}

#[test]
fn every_packet_meets_the_verdict_that_was_applied() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        let (pods, mido) = ([node.a, node.b], node.config.mido_ifindex);
        let mut random = Random::new(14);
        let [mut passed, mut stopped] = [0, 0];
        for _ in 0..CHANGES {
            let change = change(&mut random, pods);
            node.datapath.apply_policy(&change).unwrap();
            for _ in 0..PACKETS {
                let f = families()[random.index(2)];
                let other = address(&mut random, f.a.is_ipv4());
                let (from, to, ifindex, mac) = match random.below(3) {
                    0 => (f.a, other, node.a, A_MAC),
                    // Forwarded by the node's stack, for somebody else.
                    1 => (other, f.b, mido, NODE_MAC),
                    _ => (f.a, f.b, node.a, A_MAC),
                };
                let (packet, protocol, port) = packet(&mut random, from, to);
                let ends = |direction, pod, other| passes(&change, pod, direction, other, protocol, port);
                let expected = (from != f.a || ends(Direction::Egress, node.a, to))
                    && (to != f.b || ends(Direction::Ingress, node.b, from));
                let found = is_sent_on(&program, ifindex, &packet.frame(GATEWAY_MAC, mac));
                assert_eq!(found, expected, "{packet:?}\n{change:?}");
                *(if expected { &mut passed } else { &mut stopped }) += 1;
            }
        }
        println!("{passed} packets passed, {stopped} did not");
        assert!(passed > 25_000 && stopped > 25_000, "{passed} {stopped}");
    });
}
