//! The object's own type information against this file's types.

use std::collections::{BTreeMap, HashMap};
use std::mem::offset_of;

use super::connections::*;
use super::drops::*;
use super::follow::*;
use super::policy::*;
use super::records::*;
use super::services::*;
use super::*;

/// A structure's size and its members' offsets, in bytes.
type Struct = (usize, BTreeMap<String, usize>);

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn text(bytes: &[u8], at: usize) -> String {
    let end = bytes[at..].iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(bytes[at..at + end].to_vec()).unwrap()
}

/// A section of a 64-bit little-endian ELF object.
fn section<'a>(elf: &'a [u8], name: &str) -> &'a [u8] {
    assert_eq!(elf[..6], [0x7f, b'E', b'L', b'F', 2, 1], "another machine's object: teach this test");
    let (table, size, count) = (number(elf, 40, 8), number(elf, 58, 2), number(elf, 60, 2));
    let header = |index: usize| &elf[table + index * size..][..size];
    let data = |header: &[u8]| {
        let (offset, length) = (number(header, 24, 8), number(header, 32, 8));
        &elf[offset..offset + length]
    };
    let names = data(header(number(elf, 62, 2)));
    let found = (0..count).map(header).find(|header| text(names, number(header, 0, 4)) == name);
    data(found.unwrap_or_else(|| panic!("the object has no section {name}")))
}

/// The structures of an object (Documentation/bpf/btf.rst).
fn structures(object: &[u8]) -> HashMap<String, Struct> {
    let btf = section(object, ".BTF");
    let field = |at| number(btf, at, 4);
    let (types, strings) = (&btf[field(4) + field(8)..][..field(12)], &btf[field(4) + field(16)..]);
    let mut found = HashMap::new();
    let mut at = 0;
    while at < types.len() {
        let info = number(types, at + 4, 4);
        let (count, kind) = (info & 0xffff, info >> 24 & 0x1f);
        let entry = match kind {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 | 15 | 19 => 12 * count,
            6 | 13 => 8 * count,
            _ => 0,
        };
        if kind == 4 {
            let members = (0..count).map(|index| at + 12 + 12 * index).map(|member| {
                (text(strings, number(types, member, 4)), (number(types, member + 8, 4) & 0xff_ffff) / 8)
            });
            let name = text(strings, number(types, at, 4));
            found.insert(name, (number(types, at + 8, 4), members.collect()));
        }
        at += 12 + entry;
    }
    found
}

macro_rules! rust {
    ($type:ident { $($member:ident),+ }) => {
        (size_of::<$type>(), BTreeMap::from([$((stringify!($member).to_owned(), offset_of!($type, $member))),+]))
    };
}

#[test]
fn both_languages_see_the_same_bytes() {
    let c = structures(crate::programs::OBJECT);
    for (name, rust) in [
        ("address", rust!(Address { word })),
        (
            "config",
            rust!(Config {
                gateway4,
                gateway6,
                gateway_mac,
                overlay_mac,
                node_mac,
                pad,
                node_ifindex,
                mido_ifindex,
                overlay_ifindex,
                vni,
                overlay_mtu,
                tunnel_address4,
                tunnel_port,
                direct,
                pad2,
                shaper_ifindex,
                shaped_ifindex,
                tunnel_address6,
                node_address4,
                node_address6,
                first_port,
                last_port,
                services,
                policy_generation,
                policy_last
            }),
        ),
        ("endpoint", rust!(Endpoint { ifindex, role, mac, limited, sets })),
        ("port", rust!(Port { role, count, mac, pad, addresses })),
        ("limit", rust!(Limit { ingress_rate, ingress_burst, egress_rate, egress_burst, class, pad })),
        ("route", rust!(Route { kind, tunnel })),
        ("route_key", rust!(RouteKey { prefix_length, address })),
        ("flow", rust!(Flow { lower, upper, lower_port, upper_port, protocol, pad })),
        ("answers", rust!(Answers { due, due_too_big })),
        ("counter", rust!(Counter { packets, bytes })),
        ("tuple", rust!(Tuple { lower, upper, lower_port, upper_port, protocol, variant, pad })),
        (
            "connection",
            rust!(Connection {
                source,
                destination,
                source_port,
                destination_port,
                service,
                seen,
                state,
                client_ifindex,
                server_ifindex,
                judged
            }),
        ),
        ("fragment_key", rust!(FragmentKey { source, destination, id, protocol })),
        ("fragment", rust!(Fragment { source_port, destination_port, protocol })),
        ("service_key", rust!(ServiceKey { address, port, protocol, scope })),
        ("list", rust!(List { first, count, table, size })),
        ("service", rust!(Service { number, flags, affinity, ranges, inside, outside })),
        ("backend", rust!(Backend { address, port, pad, seed })),
        ("choices", rust!(Choices { slots })),
        ("affinity_key", rust!(AffinityKey { client, service })),
        ("affinity", rust!(Affinity { address, port, pad, seen })),
        ("range_key", rust!(RangeKey { prefix_length, ranges, address })),
        ("service_counter", rust!(ServiceCounter { connections, refused })),
        ("class", rust!(Class { column })),
        ("verdict", rust!(Verdict { rule, flags })),
        ("set_key", rust!(SetKey { set, class, direction })),
        ("set_entry", rust!(SetEntry { list, others })),
        ("ports_key", rust!(PortsKey { prefix_length, list, pad, protocol, port })),
        ("rule_counter", rust!(RuleCounter { allowed, denied, audited })),
        (
            "drop_key",
            rust!(DropKey { source, destination, rule, ifindex, port, protocol, reason, flags, pad }),
        ),
        (
            "record",
            rust!(Record {
                client,
                frontend,
                client_port,
                frontend_port,
                service,
                client_ifindex,
                server_ifindex,
                rules,
                state,
                round_trip,
                began,
                last,
                told,
                sent
            }),
        ),
        ("record_event", rust!(RecordEvent { key, record, what, pad })),
        ("record_budget", rust!(RecordBudget { window, made, over, full })),
        ("drop_counter", rust!(DropCounter { packets, bytes, first, last, claimed, source_port, mac })),
    ] {
        assert_eq!(c.get(name), Some(&rust), "struct {name}");
    }
}

#[test]
fn what_is_followed_has_the_same_bytes_in_both_languages() {
    let c = structures(crate::follow::OBJECT);
    for (name, rust) in [
        ("followed", rust!(Followed { client, client_port, tunnel_port, ports, protocol, pad, due, lost })),
        ("followed_frame", rust!(FollowedFrame { length, captured, bytes })),
        ("followed_event", rust!(FollowedEvent { time, hook, ifindex, action, counted, pad, before, after })),
    ] {
        assert_eq!(c.get(name), Some(&rust), "struct {name}");
    }
}

/// A number, or a product and quotient of numbers in parentheses.
fn product(text: &str) -> u32 {
    let words = text.trim_matches(['(', ')']).split(' ').collect::<Vec<_>>();
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let first = number(words[0]).unwrap_or_else(|| panic!("no number: {text}"));
    words[1..].chunks(2).fold(first, |value, pair| match (pair[0], pair[1].parse::<u32>().unwrap()) {
        ("*", factor) => value * factor,
        ("/", divisor) => value / divisor,
        (other, _) => panic!("an operator that this test does not know: {other}"),
    })
}

#[test]
fn both_languages_use_the_same_numbers() {
    let header = include_str!("../../bpf/layout.h");
    let defined: HashMap<_, u32> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
        .map(|(name, value)| (name, value.split(" /*").next().unwrap()))
        .map(|(name, value)| (name, product(value.trim())))
        .collect();
    let rust = HashMap::from([
        ("ROLE_POD", ROLE_POD),
        ("ROLE_NODE", ROLE_NODE),
        ("ROLE_OUTSIDE", ROLE_OUTSIDE),
        ("LIMITED_INGRESS", LIMITED_INGRESS.into()),
        ("LIMITED_EGRESS", LIMITED_EGRESS.into()),
        ("RECORDED", RECORDED.into()),
        ("PORT_ADDRESSES", PORT_ADDRESSES.try_into().unwrap()),
        ("ROUTE_TUNNEL", ROUTE_TUNNEL),
        ("ROUTE_LOCAL", ROUTE_LOCAL),
        ("ROUTE_UNREACHABLE", ROUTE_UNREACHABLE),
        ("FLOWS_MAX", FLOWS_MAX),
        ("FLOW_VIA_NODE", FLOW_VIA_NODE),
        ("FLOW_FROM_NODE", FLOW_FROM_NODE),
        ("FLOW_OUTSIDE", FLOW_OUTSIDE),
        ("FLOW_HOST_BACKEND", FLOW_HOST_BACKEND),
        ("FLOW_DIRECT", FLOW_DIRECT),
        ("ANSWERS_MAX", ANSWERS_MAX),
        ("REASONS_MAX", REASONS_MAX),
        ("ROUTE_SERVICES", ROUTE_SERVICES),
        ("ROUTE_PROXIED", ROUTE_PROXIED),
        ("CLASS_OTHER", CLASS_OTHER),
        ("CLASS_NONE", CLASS_NONE),
        ("SET_OPEN", SET_OPEN),
        ("SET_CLOSED", SET_CLOSED),
        ("INGRESS", INGRESS),
        ("EGRESS", EGRESS),
        ("VERDICT_DENY", VERDICT_DENY),
        ("VERDICT_AUDIT", VERDICT_AUDIT),
        ("VERDICT_REJECT", VERDICT_REJECT),
        ("VERDICT_ORIGIN", VERDICT_ORIGIN),
        ("ORIGIN_ADMIN", ORIGIN_ADMIN),
        ("ORIGIN_NETWORK_POLICY", ORIGIN_NETWORK_POLICY),
        ("ORIGIN_BASELINE", ORIGIN_BASELINE),
        ("ORIGIN_NOTHING", ORIGIN_NOTHING),
        ("DROP_INGRESS", DROP_INGRESS.into()),
        ("DROP_AUDIT", DROP_AUDIT.into()),
        ("DROP_OTHERS", DROP_OTHERS.into()),
        ("CONNECTION_TICK_SHIFT", CONNECTION_TICK_SHIFT),
        ("RECORD_LATE", RECORD_LATE),
        ("RECORD_ENDED", RECORD_ENDED),
        ("RECORD_NEW", RECORD_NEW),
        ("RECORD_GOES_ON", RECORD_GOES_ON),
        ("RECORD_END", RECORD_END),
        ("VARIANT_DIRECT", VARIANT_DIRECT.into()),
        ("CONNECTION_KIND", CONNECTION_KIND),
        ("CONNECTION_PLAIN", CONNECTION_PLAIN),
        ("CONNECTION_FORWARD", CONNECTION_FORWARD),
        ("CONNECTION_REPLY", CONNECTION_REPLY),
        ("CONNECTION_CLIENT_UPPER", CONNECTION_CLIENT_UPPER),
        ("CONNECTION_REPLIED", CONNECTION_REPLIED),
        ("CONNECTION_FIN_CLIENT", CONNECTION_FIN_CLIENT),
        ("CONNECTION_FIN_SERVER", CONNECTION_FIN_SERVER),
        ("CONNECTION_RESET", CONNECTION_RESET),
        ("CONNECTION_TUNNEL", CONNECTION_TUNNEL),
        ("CONNECTION_HOST", CONNECTION_HOST),
        ("CONNECTION_FAILED", CONNECTION_FAILED),
        ("CONNECTION_AUDITED_EGRESS", CONNECTION_AUDITED_EGRESS),
        ("CONNECTION_AUDITED_INGRESS", CONNECTION_AUDITED_INGRESS),
        ("NEW_CONNECTIONS_MAX", NEW_CONNECTIONS_MAX),
        ("FRAGMENTS_MAX", FRAGMENTS_MAX),
        ("SCOPE_ADDRESS", SCOPE_ADDRESS.into()),
        ("SCOPE_NODE_PORT", SCOPE_NODE_PORT.into()),
        ("SCOPE_HOST_PORT", SCOPE_HOST_PORT.into()),
        ("RENDEZVOUS_MAX", RENDEZVOUS_MAX),
        ("SERVICE_REFUSE", SERVICE_REFUSE),
        ("SERVICE_ADDRESS", SERVICE_ADDRESS),
        ("SERVICE_LOCAL", SERVICE_LOCAL),
        ("CHOICES_BLOCK", CHOICES_BLOCK.try_into().unwrap()),
        ("AFFINITY_MAX", AFFINITY_MAX),
        ("ADDRESS_OWN", ADDRESS_OWN),
        ("ADDRESS_NODE_PORTS", ADDRESS_NODE_PORTS),
        ("SERVED_PORTS_WORDS", SERVED_PORTS_WORDS),
    ]);
    assert_eq!(defined, rust);
}

#[test]
fn keys_are_whole_words() {
    for spec in crate::maps::specs(&crate::maps::ANY_SIZES) {
        assert_eq!(spec.shape.key % 4, 0, "{}", spec.name);
    }
}

#[test]
fn addresses_come_back() {
    for text in ["10.1.2.3", "0.0.0.0", "255.255.255.255", "fd00::1", "::", "::1"] {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(IpAddr::from(Address::from(address)), address);
    }
    let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
    assert_eq!(IpAddr::from(Address::from(mapped)), "10.1.2.3".parse::<IpAddr>().unwrap());
}

#[test]
fn prefixes_come_back_without_host_bits() {
    for (text, network) in [
        ("10.1.2.3/24", "10.1.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.1.2.3/32", "10.1.2.3/32"),
        ("fd00::1/64", "fd00::/64"),
        ("2000::/3", "2000::/3"),
    ] {
        let key = route_key(text.parse().unwrap());
        assert_eq!(route_prefix(&key), Some(network.parse().unwrap()), "{text}");
    }
    assert_eq!(route_key("10.0.0.0/8".parse().unwrap()).prefix_length, 104);
    assert_eq!(
        route_prefix(&RouteKey { prefix_length: 8, address: IpAddr::from([10, 0, 0, 0]).into() }),
        None
    );
    assert_eq!(route_prefix(&RouteKey { prefix_length: 129, address: Address::default() }), None);
}
