//! What MidoNet does with chains and rules, as small as it can be: rules are posted in front, conditions see the packet
//! as it is translated so far, and translations are undone by what was remembered of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use midonet::{Body, FlowAction, Resource, Rule, RuleType};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) protocol: u8,
}

impl Packet {
    pub(crate) fn answer(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }
}

/// A chain's verdict: None to go on.
type Verdict = Option<RuleType>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Chains {
    chains: BTreeMap<Uuid, Vec<Rule>>,
}

/// A connection's translations, as MidoNet remembers them: the answer's addresses, and what they become.
#[derive(Debug, Default)]
pub(crate) struct Translations {
    /// Answers' source and destination to the source that they get.
    destinations: BTreeMap<Packet, (Ipv4Addr, u16)>,
    /// Answers' source and destination to the destination that they get.
    sources: BTreeMap<Packet, (Ipv4Addr, u16)>,
    /// How often a destination was translated.
    pub(crate) dnats: usize,
}

impl Chains {
    /// Posts it; false if what it needs does not exist. One that exists stays as it is.
    pub(crate) fn post(&mut self, resource: &Resource) -> bool {
        match &resource.body {
            Body::Chain(chain) => {
                self.chains.entry(chain.id).or_default();
            }
            Body::Rule(rule) => {
                let there = |id: &Uuid| self.chains.contains_key(id);
                if rule.jump_chain_id.is_some_and(|to| !there(&to)) {
                    return false;
                }
                if self.chains.values().flatten().any(|other| other.id == rule.id) {
                    return true;
                }
                let Some(rules) = resource.parent.and_then(|chain| self.chains.get_mut(&chain)) else {
                    return false;
                };
                rules.insert(0, rule.clone());
            }
            _ => {}
        }
        true
    }

    /// Deletes it, and with a chain its rules and the jumps to it.
    pub(crate) fn delete(&mut self, resource: &Resource) {
        match &resource.body {
            Body::Chain(chain) => {
                self.chains.remove(&chain.id);
                for rules in self.chains.values_mut() {
                    rules.retain(|rule| rule.jump_chain_id != Some(chain.id));
                }
            }
            Body::Rule(rule) => {
                self.chains.values_mut().for_each(|rules| rules.retain(|other| other.id != rule.id));
            }
            _ => {}
        }
    }

    /// The packet after this chain; of a rule's targets the one at this place is taken.
    pub(crate) fn pass(&self, chain: Uuid, mut packet: Packet, pick: usize, of: &mut Translations) -> Packet {
        self.enter(chain, &mut packet, pick, of, &mut Vec::new());
        packet
    }

    fn enter(
        &self,
        chain: Uuid,
        packet: &mut Packet,
        pick: usize,
        of: &mut Translations,
        visited: &mut Vec<Uuid>,
    ) -> Verdict {
        // MidoNet enters no chain twice.
        if visited.contains(&chain) {
            return None;
        }
        visited.push(chain);
        for rule in self.chains.get(&chain).into_iter().flatten() {
            if !matches(rule, packet) {
                continue;
            }
            let verdict = match rule.rule_type {
                RuleType::Jump => {
                    let verdict = self.enter(rule.jump_chain_id.unwrap(), packet, pick, of, visited);
                    verdict.filter(|verdict| *verdict != RuleType::Return)
                }
                RuleType::Dnat | RuleType::Snat => {
                    let targets = rule.nat_targets.as_ref().unwrap();
                    let target = &targets[pick % targets.len()];
                    of.translate(packet, rule.rule_type, (target.address_from, target.port_from));
                    action(rule)
                }
                RuleType::RevDnat | RuleType::RevSnat if !of.undo(packet, rule.rule_type) => None,
                RuleType::RevDnat | RuleType::RevSnat => action(rule),
                other => Some(other),
            };
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }
}

impl Translations {
    fn translate(&mut self, packet: &mut Packet, how: RuleType, to: (Ipv4Addr, u16)) {
        if how == RuleType::Dnat {
            let old = packet.destination;
            packet.destination = to;
            self.destinations.insert(packet.answer(), old);
            self.dnats += 1;
        } else {
            let old = packet.source;
            packet.source = to;
            self.sources.insert(packet.answer(), old);
        }
    }

    fn undo(&self, packet: &mut Packet, how: RuleType) -> bool {
        let (known, end) = match how {
            RuleType::RevDnat => (self.destinations.get(packet), &mut packet.source),
            _ => (self.sources.get(packet), &mut packet.destination),
        };
        known.map(|old| *end = *old).is_some()
    }
}

fn action(rule: &Rule) -> Verdict {
    match rule.flow_action.unwrap() {
        FlowAction::Accept => Some(RuleType::Accept),
        FlowAction::Return => Some(RuleType::Return),
        FlowAction::Continue => None,
    }
}

fn matches(rule: &Rule, packet: &Packet) -> bool {
    let address = |wanted: Option<Ipv4Addr>, length: u8, got: Ipv4Addr| {
        wanted.is_none_or(|wanted| length == 32 && wanted == got)
    };
    address(rule.nw_dst_address, rule.nw_dst_length, packet.destination.0)
        && address(rule.nw_src_address, rule.nw_src_length, packet.source.0)
        && (rule.nw_proto == 0 || rule.nw_proto == packet.protocol)
        && rule.tp_dst.is_none_or(|ports| (ports.start..=ports.end).contains(&packet.destination.1))
        && rule.dl_type.is_none_or(|kind| kind == 0x800)
}
