//! The machine against a plain reading of the same rules; and less knowledge of a packet never makes it more certain.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::family::Family;
use crate::nft::ruleset::{Element, Set};
use crate::nft::step::Comparison;
use crate::probe::packet::UDP;

/// What a rule asks of a packet.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Any,
    Port(u16),
    NotPort(u16),
    Source(u8),
    Ports(u16, u16),
}

/// What a rule says; chains by number.
#[derive(Debug, Clone, Copy)]
enum Says {
    Nothing,
    Accept,
    Drop,
    Return,
    Jump(u8),
    Goto(u8),
}

type Rules = Vec<Vec<(Condition, Says)>>;

const CHAINS: u8 = 4;

fn table() -> Table {
    ("ip", "t".to_owned())
}

fn ruleset(rules: &Rules, drops: bool) -> (Ruleset, Base) {
    let mut ruleset = Ruleset::default();
    for (number, chain) in rules.iter().enumerate() {
        let chain = chain.iter().enumerate().map(|(at, (condition, says))| {
            let mut steps = Vec::new();
            let port = Step::Payload { to: 0, base: 2, offset: 2, length: 2 };
            let compare = |how, value: Vec<u8>| Step::Compare { from: 0, how, value };
            match *condition {
                Condition::Any => {}
                Condition::Port(is) => {
                    steps.extend([port, compare(Comparison::Equal, is.to_be_bytes().into())]);
                }
                Condition::NotPort(is) => {
                    steps.extend([port, compare(Comparison::NotEqual, is.to_be_bytes().into())]);
                }
                Condition::Source(last) => {
                    let load = Step::Payload { to: 0, base: 1, offset: 15, length: 1 };
                    steps.extend([load, compare(Comparison::Equal, vec![last])]);
                }
                Condition::Ports(a, b) => {
                    let set = format!("{number}-{at}");
                    let elements = [a, b].map(|port| (port.to_be_bytes().to_vec(), Element::default()));
                    let elements = elements.into_iter().collect();
                    ruleset.sets.insert((table(), set.clone()), Set { elements, ..Set::default() });
                    steps.extend([port, Step::Lookup { set, from: 0, to: None, inverted: false }]);
                }
            }
            let verdict = match *says {
                Says::Nothing => Verdict::Continue,
                Says::Accept => Verdict::Accept,
                Says::Drop => Verdict::Drop,
                Says::Return => Verdict::Return,
                Says::Jump(to) => Verdict::Jump(to.to_string()),
                Says::Goto(to) => Verdict::Goto(to.to_string()),
            };
            steps.push(Step::Verdict(verdict));
            steps
        });
        let chain = chain.collect();
        ruleset.chains.insert((table(), number.to_string()), chain);
    }
    (ruleset, Base { table: table(), chain: "0".into(), hook: 1, drops })
}

fn packet(source: Option<u8>, port: Option<u16>) -> Packet {
    Packet {
        family: Family::V4,
        input: None,
        output: None,
        source: source.map(|last| IpAddr::from([10, 0, 0, last])),
        destination: IpAddr::from([10, 0, 0, 99]),
        protocol: UDP,
        port,
        established: false,
        translated: false,
    }
}

/// Reads rules as a person does.
fn plainly(rules: &Rules, chain: u8, source: u8, port: u16) -> Walk {
    for (condition, says) in &rules[usize::from(chain)] {
        let matches = match *condition {
            Condition::Any => true,
            Condition::Port(is) => port == is,
            Condition::NotPort(is) => port != is,
            Condition::Source(last) => source == last,
            Condition::Ports(a, b) => port == a || port == b,
        };
        match *says {
            _ if !matches => {}
            Says::Nothing => {}
            Says::Accept => return Walk::Accept,
            Says::Drop => return Walk::Drop,
            Says::Return => return Walk::Return,
            Says::Jump(to) => match plainly(rules, to, source, port) {
                Walk::Return => {}
                end => return end,
            },
            Says::Goto(to) => return plainly(rules, to, source, port),
        }
    }
    Walk::Return
}

/// Rules that lead into later chains alone: no loops, as in the kernel.
fn any_rules() -> impl Strategy<Value = Rules> {
    let condition = prop_oneof![
        Just(Condition::Any),
        (0u16..3).prop_map(Condition::Port),
        (0u16..3).prop_map(Condition::NotPort),
        (0u8..3).prop_map(Condition::Source),
        (0u16..3, 0u16..3).prop_map(|(a, b)| Condition::Ports(a, b)),
    ];
    let rule = (condition, 0u8..6, 1u8..CHAINS);
    let chain = prop::collection::vec(rule, 0..5);
    prop::collection::vec(chain, usize::from(CHAINS)).prop_map(|chains| {
        let numbered = chains.into_iter().enumerate();
        numbered
            .map(|(number, chain)| {
                let rules = chain.into_iter().map(|(condition, says, to)| {
                    let later = usize::from(to) > number;
                    let says = match says {
                        0 => Says::Accept,
                        1 => Says::Drop,
                        2 => Says::Return,
                        3 if later => Says::Jump(to),
                        4 if later => Says::Goto(to),
                        _ => Says::Nothing,
                    };
                    (condition, says)
                });
                rules.collect()
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_known_wholly_is_read_as_a_person_reads_it(
        rules in any_rules(), drops: bool, source in 0u8..4, port in 0u16..4,
    ) {
        let (ruleset, base) = ruleset(&rules, drops);
        let outcome = run(&ruleset, &base, &packet(Some(source), Some(port))).unwrap();
        let want = match plainly(&rules, 0, source, port) {
            Walk::Drop => End::Dropped,
            Walk::Return if drops => End::Policy,
            _ => End::Accepted,
        };
        prop_assert_eq!(outcome, Outcome { end: want, may_pass: false });
    }

    #[test]
    fn what_is_dropped_for_certain_is_dropped_whatever_was_not_known(
        rules in any_rules(), drops: bool, source in prop::option::of(0u8..4), port in prop::option::of(0u16..4),
    ) {
        let (ruleset, base) = ruleset(&rules, drops);
        if run(&ruleset, &base, &packet(source, port)).unwrap().is_dropped() {
            for (source, port) in (0..4).flat_map(|source| (0..4).map(move |port| (source, port))).filter(|known| {
                source.is_none_or(|source| source == known.0) && port.is_none_or(|port| port == known.1)
            }) {
                prop_assert!(run(&ruleset, &base, &packet(Some(source), Some(port))).unwrap().is_dropped());
            }
        }
    }
}

#[test]
fn what_is_not_known_may_accept() {
    let rule = |steps: &[Step]| vec![steps.to_vec(), vec![Step::Verdict(Verdict::Drop)]];
    let accept = Step::Verdict(Verdict::Accept);
    for (rules, dropped) in [
        (rule(&[]), true),
        (rule(&[Step::Unknown, accept.clone()]), false),
        (rule(&[Step::Target("NFQUEUE".into())]), false),
        (rule(&[Step::Target("REJECT".into())]), true),
        (rule(&[Step::Elsewhere]), false),
        (rule(&[Step::Verdict(Verdict::Jump("not there".into()))]), false),
        (
            rule(&[
                Step::Lookup { set: "not there".into(), from: 0, to: None, inverted: true },
                accept.clone(),
            ]),
            false,
        ),
        (rule(&[Step::Lookup { set: "not there".into(), from: 0, to: Some(0), inverted: false }]), false),
        (
            rule(&[Step::Match { name: "recent".into(), revision: 0, info: Vec::new() }, accept.clone()]),
            false,
        ),
        (rule(&[Step::Match { name: "mark".into(), revision: 1, info: Vec::new() }, accept]), false),
    ] {
        let (mut ruleset, base) = ruleset(&vec![Vec::new()], false);
        ruleset.chains.insert((table(), "0".into()), rules.clone());
        assert_eq!(run(&ruleset, &base, &packet(None, None)).unwrap().is_dropped(), dropped, "{rules:?}");
    }
    // Chains that lead into each other for ever end.
    let (mut ruleset, base) = ruleset(&vec![Vec::new()], true);
    let round = vec![vec![Step::Verdict(Verdict::Jump("0".into()))]; 3];
    ruleset.chains.insert((table(), "0".into()), round);
    assert!(!run(&ruleset, &base, &packet(None, None)).unwrap().is_dropped());
}
