//! Chains of random rules against a naive evaluator.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use midonet::{
    Bridge, Chain, FlowAction, HostInterfacePort, MacPort, NatTarget, Port, PortRange, PortType, Resource,
    Rule, RuleType,
};
use midonet_simulator::{Ending, Origin, Packet, Payload, Reason, State, Topology, Transport};
use naming::Mac;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

type Endpoint = (u8, u16);

/// A rule as the naive evaluator has it. Addresses and ports are of a few.
#[derive(Debug, Clone)]
struct Simple {
    src: Option<u8>,
    dst: Option<Endpoint>,
    does: Does,
}

#[derive(Debug, Clone)]
enum Does {
    Accept,
    Drop,
    Return,
    Jump(usize),
    Nat { source: bool, to: Endpoint, action: FlowAction },
    Back { source: bool, action: FlowAction },
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (1..4u8, 1..4u16)
}

fn does(chains: usize) -> impl Strategy<Value = Does> {
    let action = prop_oneof![Just(FlowAction::Accept), Just(FlowAction::Continue), Just(FlowAction::Return)];
    prop_oneof![
        1 => Just(Does::Accept),
        1 => Just(Does::Drop),
        1 => Just(Does::Return),
        3 => (0..chains).prop_map(Does::Jump),
        3 => (any::<bool>(), endpoint(), action.clone())
            .prop_map(|(source, to, action)| Does::Nat { source, to, action }),
        2 => (any::<bool>(), action).prop_map(|(source, action)| Does::Back { source, action }),
    ]
}

fn chains() -> impl Strategy<Value = Vec<Vec<Simple>>> {
    let rule = (proptest::option::of(1..4u8), proptest::option::of(endpoint()), does(4));
    vec(vec(rule.prop_map(|(src, dst, does)| Simple { src, dst, does }), 0..6), 4)
}

/// What a translated connection is, in the order in which they came to be: kind, source, destination, and what the one
/// or the other became.
#[derive(Default)]
struct Naive(Vec<(bool, Endpoint, Endpoint, Endpoint)>);

#[derive(Debug, PartialEq)]
enum Verdict {
    /// It goes through, from and to there.
    Accept(Endpoint, Endpoint),
    Drop(Uuid),
    Exhausted,
}

enum Flow {
    Accept,
    Return,
    Next,
}

impl Naive {
    fn judge(&mut self, chains: &[Vec<Simple>], mut packet: (Endpoint, Endpoint)) -> Verdict {
        match self.chain(chains, 0, &mut packet, &mut vec![0]) {
            Ok(_) => Verdict::Accept(packet.0, packet.1),
            Err(verdict) => verdict,
        }
    }

    fn chain(
        &mut self,
        chains: &[Vec<Simple>],
        index: usize,
        packet: &mut (Endpoint, Endpoint),
        seen: &mut Vec<usize>,
    ) -> Result<Flow, Verdict> {
        for (place, rule) in chains[index].iter().enumerate() {
            if rule.src.is_some_and(|src| src != packet.0.0) || rule.dst.is_some_and(|dst| dst != packet.1) {
                continue;
            }
            let action = match &rule.does {
                Does::Accept => Some(FlowAction::Accept),
                Does::Drop => return Err(Verdict::Drop(rule_id(index, place))),
                Does::Return => Some(FlowAction::Return),
                Does::Jump(to) if seen.contains(to) => None,
                Does::Jump(to) => {
                    seen.push(*to);
                    match self.chain(chains, *to, packet, seen)? {
                        Flow::Accept => Some(FlowAction::Accept),
                        Flow::Return | Flow::Next => None,
                    }
                }
                Does::Nat { source, to, action } => {
                    self.translate(*source, *to, packet)?;
                    Some(*action)
                }
                Does::Back { source, action } => self.back(*source, packet).then_some(*action),
            };
            match action {
                Some(FlowAction::Accept) => return Ok(Flow::Accept),
                Some(FlowAction::Return) => return Ok(Flow::Return),
                Some(FlowAction::Continue) | None => {}
            }
        }
        Ok(Flow::Next)
    }

    fn translate(
        &mut self,
        source: bool,
        to: Endpoint,
        packet: &mut (Endpoint, Endpoint),
    ) -> Result<(), Verdict> {
        let known = self.0.iter().find(|c| (c.0, c.1, c.2) == (source, packet.0, packet.1));
        let to = match known {
            Some(known) => known.3,
            None if source && self.0.iter().any(|c| c.0 && c.2 == packet.1 && c.3 == to) => {
                return Err(Verdict::Exhausted);
            }
            None => {
                self.0.push((source, packet.0, packet.1, to));
                to
            }
        };
        *(if source { &mut packet.0 } else { &mut packet.1 }) = to;
        Ok(())
    }

    /// The last connection whose replies look like this.
    fn back(&self, source: bool, packet: &mut (Endpoint, Endpoint)) -> bool {
        let found =
            self.0.iter().rev().find(|c| {
                c.0 == source && if source { (c.2, c.3) == *packet } else { (c.3, c.1) == *packet }
            });
        match found {
            Some(c) if source => packet.1 = c.1,
            Some(c) => packet.0 = c.2,
            None => return false,
        }
        true
    }
}

fn address(number: u8) -> Ipv4Addr {
    [10, 0, 0, number].into()
}

fn rule_id(chain: usize, place: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(1000 + chain * 100 + place).unwrap())
}

fn chain_id(chain: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(chain + 1).unwrap())
}

fn rule(id: Uuid, simple: &Simple) -> Rule {
    let nat = |rule_type, action, to: Option<Endpoint>| Rule {
        flow_action: Some(action),
        nat_targets: to.map(|(host, port)| {
            let address = address(host);
            vec![NatTarget { address_from: address, address_to: address, port_from: port, port_to: port }]
        }),
        ..Rule::new(id, rule_type)
    };
    let rule = match simple.does {
        Does::Accept => Rule::new(id, RuleType::Accept),
        Does::Drop => Rule::new(id, RuleType::Drop),
        Does::Return => Rule::new(id, RuleType::Return),
        Does::Jump(to) => Rule::jump(id, chain_id(to)),
        Does::Nat { source, to, action } => {
            nat(if source { RuleType::Snat } else { RuleType::Dnat }, action, Some(to))
        }
        Does::Back { source, action } => {
            nat(if source { RuleType::RevSnat } else { RuleType::RevDnat }, action, None)
        }
    };
    Rule {
        nw_src_address: simple.src.map(address),
        nw_src_length: 32,
        nw_dst_address: simple.dst.map(|dst| address(dst.0)),
        nw_dst_length: 32,
        tp_dst: simple.dst.map(|dst| PortRange { start: dst.1, end: dst.1 }),
        ..rule
    }
}

const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
const BRIDGE: Uuid = Uuid::from_u128(1 << 32);
const HOST: Uuid = Uuid::from_u128(2 << 32);

fn topology(chains: &[Vec<Simple>]) -> Topology {
    let mut all = Vec::new();
    for (index, rules) in chains.iter().enumerate() {
        let id = chain_id(index);
        all.push(Resource::top(Chain { id, tenant_id: String::new(), name: String::new() }));
        let posted = rules.iter().enumerate().rev();
        all.extend(posted.map(|(place, simple)| Resource::of(id, rule(rule_id(index, place), simple))));
    }
    all.push(Resource::top(Bridge {
        id: BRIDGE,
        tenant_id: String::new(),
        name: String::new(),
        inbound_filter_id: Some(chain_id(0)),
        outbound_filter_id: None,
    }));
    for (index, mac) in MACS.into_iter().enumerate() {
        let port_id = Uuid::from_u128(u128::try_from(index + 1).unwrap() << 40);
        let port = Port {
            id: port_id,
            port_type: PortType::Bridge,
            port_subnet: vec![],
            port_mac: None,
            inbound_filter_id: None,
            outbound_filter_id: None,
        };
        let interface_name = format!("eth{index}");
        all.extend([
            Resource::of(BRIDGE, port),
            Resource::of(BRIDGE, MacPort { mac_addr: mac, port_id }),
            Resource::of(HOST, HostInterfacePort { host_id: HOST, port_id, interface_name }),
        ]);
    }
    let (topology, problems) = Topology::posted(&all);
    assert_eq!(problems, []);
    topology
}

fn simulated(topology: &Topology, state: &mut State, packet: (Endpoint, Endpoint)) -> Verdict {
    let ((src, src_port), (dst, dst_port)) = packet;
    let packet = Packet::tcp((MACS[0], MACS[1]), (address(src), src_port), (address(dst), dst_port));
    let trace = topology.simulate(state, Origin::Interface { host: HOST, interface: "eth0" }, packet);
    let end = trace.end().unwrap();
    let Payload::Ipv4(ip) = &end.packet.payload else { panic!("{trace}") };
    let Transport::Tcp { src_port, dst_port } = ip.transport else { panic!("{trace}") };
    match &end.ending {
        Ending::Delivered { .. } => {
            Verdict::Accept((ip.src.octets()[3], src_port), (ip.dst.octets()[3], dst_port))
        }
        Ending::Dropped { reason: Reason::Rule { rule, .. } } => Verdict::Drop(*rule),
        Ending::Dropped { reason: Reason::NatExhausted } => Verdict::Exhausted,
        _ => panic!("{trace}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// One packet after another, so that later ones meet the connections of earlier ones.
    #[test]
    fn chains_do_what_a_naive_evaluator_says(
        chains in chains(),
        packets in vec((endpoint(), endpoint()), 1..12),
    ) {
        let topology = topology(&chains);
        let (mut naive, mut state) = (Naive::default(), State::new(0));
        for packet in packets {
            prop_assert_eq!(simulated(&topology, &mut state, packet), naive.judge(&chains, packet));
        }
    }
}

/// Chains that jump to each other a hundred thousand times are gone through without running out of stack.
#[test]
fn a_long_way_through_chains_ends() {
    let count = 100_000;
    let chains: Vec<_> = (0..count)
        .map(|index| vec![Simple { src: None, dst: None, does: Does::Jump((index + 1) % count) }])
        .collect();
    let topology = topology(&chains);
    let packet = ((1, 1), (2, 2));
    let verdict = simulated(&topology, &mut State::new(0), packet);
    assert_eq!(verdict, Verdict::Accept(packet.0, packet.1));
}
