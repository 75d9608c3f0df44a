use midonet::{Bridge, Chain, FlowAction, NatTarget, Port, PortRange, PortType, RouteType};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    // Few, so that prefixes matter.
    (0u32..8, 0u32..4).prop_map(|(net, host)| Ipv4Addr::from_bits((10 << 24) | (net << 8) | host))
}

fn prefix() -> impl Strategy<Value = (Option<Ipv4Addr>, u8)> {
    prop_oneof![Just((None, 0)), (address(), 1u8..=32).prop_map(|(address, length)| (Some(address), length))]
}

fn ports() -> impl Strategy<Value = Option<PortRange>> {
    proptest::option::of((1u16..9, 0u16..9).prop_map(|(start, more)| PortRange { start, end: start + more }))
}

fn targets() -> impl Strategy<Value = Vec<NatTarget>> {
    let target = (address(), 1u16..100).prop_map(|(address, port)| NatTarget {
        address_from: address,
        address_to: address,
        port_from: port,
        port_to: port,
    });
    proptest::collection::vec(target, 1..5)
}

/// A rule that MidoNet accepts.
fn rule() -> impl Strategy<Value = Rule> {
    use RuleType::{Accept, Dnat, Drop, Jump, Reject, Return, RevDnat, RevSnat, Snat};
    let types = prop::sample::select(vec![Accept, Drop, Reject, Return, Jump, Dnat, Snat, RevDnat, RevSnat]);
    let action = prop::sample::select(vec![FlowAction::Accept, FlowAction::Continue, FlowAction::Return]);
    let parts = (
        types,
        prefix(),
        prefix(),
        ports(),
        ports(),
        targets(),
        action,
        prop::sample::select(vec![0u8, 6, 17]),
    );
    parts.prop_map(|(rule_type, dst, src, tp_dst, tp_src, targets, action, nw_proto)| Rule {
        dl_type: Some(2048),
        nw_dst_address: dst.0,
        nw_dst_length: dst.1,
        nw_src_address: src.0,
        nw_src_length: src.1,
        nw_proto,
        tp_dst,
        tp_src,
        jump_chain_id: (rule_type == Jump).then(|| id(7)),
        flow_action: matches!(rule_type, Dnat | Snat | RevDnat | RevSnat).then_some(action),
        nat_targets: matches!(rule_type, Dnat | Snat).then_some(targets),
        ..Rule::new(id(1), rule_type)
    })
}

/// A rule as MidoNet gives it: with everything that it has, null where nothing is set, addresses without what is behind
/// the prefix, and the type once more.
fn as_given(rule: &Rule, position: u64) -> String {
    let cut = |address: Option<Ipv4Addr>, length: u8| {
        address.map(|address| Ipv4Net::new(address, length).unwrap().network())
    };
    let fields = json!({
        "type": rule.rule_type, "id": rule.id, "chainId": id(3), "position": position, "condInvert": false,
        "nwDstAddress": cut(rule.nw_dst_address, rule.nw_dst_length), "nwDstLength": rule.nw_dst_length,
        "nwSrcAddress": cut(rule.nw_src_address, rule.nw_src_length), "nwSrcLength": rule.nw_src_length,
        "dlType": rule.dl_type, "nwProto": rule.nw_proto, "tpDst": rule.tp_dst, "tpSrc": rule.tp_src,
        "jumpChainId": rule.jump_chain_id, "jumpChainName": null, "flowAction": rule.flow_action,
        "natTargets": rule.nat_targets.clone().map(|mut targets| { targets.reverse(); targets }),
        "fragmentPolicy": "any", "uri": "http://a/rules/1", "dlSrc": null, "vlan": null,
    });
    format!("{{\"type\":{},{}", json!(rule.rule_type), &fields.to_string()[1..])
}

proptest! {
    #[test]
    fn what_midonet_gives_back_is_what_was_sent(rule in rule(), position in 1u64..100) {
        let found = Found::read(Kind::Rule, as_given(&rule, position).as_bytes()).unwrap();
        prop_assert!(found.is(&Body::Rule(rule)));
        prop_assert_eq!((found.position(), found.id("chainId")), (Some(position), Some(id(3))));
    }

    #[test]
    fn another_rule_is_another_one(rule in rule(), other in rule()) {
        let prefix = |address: Option<Ipv4Addr>, length: u8| {
            address.map(|address| Ipv4Net::new(address, length).unwrap().trunc())
        };
        let targets = |rule: &Rule| {
            let mut targets: Vec<_> = rule.nat_targets.iter().flatten().map(|target| format!("{target:?}")).collect();
            targets.sort();
            targets
        };
        let same = rule.rule_type == other.rule_type
            && prefix(rule.nw_dst_address, rule.nw_dst_length) == prefix(other.nw_dst_address, other.nw_dst_length)
            && prefix(rule.nw_src_address, rule.nw_src_length) == prefix(other.nw_src_address, other.nw_src_length)
            && (rule.tp_dst, rule.tp_src, rule.nw_proto) == (other.tp_dst, other.tp_src, other.nw_proto)
            && rule.flow_action == other.flow_action
            && targets(&rule) == targets(&other);
        let found = Found::read(Kind::Rule, as_given(&rule, 1).as_bytes()).unwrap();
        prop_assert_eq!(found.is(&Body::Rule(other)), same);
    }

    #[test]
    fn no_answer_is_too_absurd(text in "\\PC*", json in "\\{(\"(id|type|position|peerId)\":(null|1|\"x\"|\\[\\]),?){0,4}\\}") {
        for text in [text, json] {
            for kind in Kind::ALL {
                if let Ok(found) = Found::read(kind, text.as_bytes()) {
                    let _ = (found.body(), found.position(), found.id("peerId"), found.addresses());
                }
            }
        }
    }
}

#[test]
fn one_field_that_differs_is_enough() {
    let given = |kind, value: &Value| Found::read(kind, value.to_string().as_bytes()).unwrap();
    let chain = Chain { id: id(1), tenant_id: "t".into(), name: String::new() };
    assert!(
        given(Kind::Chain, &json!({"id": id(1), "tenantId": "t", "name": null})).is(&chain.clone().into())
    );
    assert!(!given(Kind::Chain, &json!({"id": id(1), "tenantId": "u"})).is(&chain.into()));
    let bridge = Bridge {
        id: id(1),
        tenant_id: String::new(),
        name: "n".into(),
        inbound_filter_id: None,
        outbound_filter_id: None,
    };
    // Somebody set a filter that nobody wants.
    let there = json!({"id": id(1), "name": "n", "outboundFilterId": id(2)});
    assert!(!given(Kind::Bridge, &there).is(&bridge.into()));
    let port = Port {
        id: id(1),
        port_type: PortType::Router,
        port_subnet: vec!["10.1.2.1/24".parse().unwrap()],
        port_mac: Some("ac:ca:ba:00:00:01".parse().unwrap()),
        inbound_filter_id: None,
        outbound_filter_id: None,
    };
    let there = json!({"type": "Router", "id": id(1), "deviceId": id(9), "portSubnet": ["10.1.2.1/24"],
        "portMac": "AC:CA:BA:00:00:01", "networkAddress": "10.1.2.0", "networkLength": 24, "peerId": null});
    let found = given(Kind::Port, &there);
    assert!(found.is(&port.clone().into()));
    assert!(
        found.belongs_to(&Resource::of(id(9), port.clone()))
            && !found.belongs_to(&Resource::of(id(8), port.clone()))
    );
    // The address matters, and not only the network.
    let other = Port { port_subnet: vec!["10.1.2.2/24".parse().unwrap()], ..port };
    assert!(!found.is(&other.into()));
}

#[test]
fn what_a_route_has_behind_its_prefix_does_not_matter() {
    let route = |dst: [u8; 4]| Route {
        id: id(1),
        dst_network_addr: dst.into(),
        dst_network_length: 24,
        next_hop_gateway: None,
        next_hop_port: None,
        src_network_addr: [0, 0, 0, 0].into(),
        src_network_length: 0,
        route_type: RouteType::BlackHole,
    };
    let there = serde_json::to_string(&route([10, 1, 2, 3])).unwrap();
    let found = Found::read(Kind::Route, there.as_bytes()).unwrap();
    assert!(found.is(&route([10, 1, 2, 0]).into()));
    assert!(!found.is(&route([10, 1, 3, 0]).into()));
}
