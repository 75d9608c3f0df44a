//! Executes rules on a packet of which not everything is known: a small nf_tables machine. Pure.
//!
//! "Dropped" is certain: whatever is not known of a packet, or of a rule, may have accepted it.

use std::collections::BTreeSet;

use super::registers::{Match, compare, find, load, mark};
use super::xtables::{Effect, effect, matches};
use crate::nft::ruleset::{Base, Ruleset, Table};
use crate::nft::step::{Step, Verdict};
use crate::probe::packet::{Bits, Packet};

/// The most nested jumps: the kernel's limit (NFT_JUMP_STACK_SIZE).
const DEPTH: usize = 16;

/// The most rules that are executed for one packet.
const MOST: usize = 100_000;

/// All data registers, in bytes.
const REGISTERS: usize = 64;

/// What a base chain does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What becomes of it, as far as that is known.
    pub(super) end: End,
    /// Something of which not everything is known may have accepted it before.
    pub(super) may_pass: bool,
}

impl Outcome {
    /// Whether it is dropped, for certain.
    pub(super) fn is_dropped(self) -> bool {
        self.end != End::Accepted && !self.may_pass
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Accepted,
    /// A rule drops it.
    Dropped,
    /// No rule decides, and the chain's policy is to drop.
    Policy,
}

/// Executes a base chain on a packet; `None`: the chain is for another family.
pub(super) fn run(ruleset: &Ruleset, base: &Base, packet: &Packet) -> Option<Outcome> {
    if !base.is_for(packet.family) {
        return None;
    }
    let mut machine = Machine {
        ruleset,
        packet,
        table: &base.table,
        registers: Bits::unknown(REGISTERS),
        marked: false,
        may_pass: false,
        rules: 0,
    };
    let end = match machine.walk(&base.chain, true, 0) {
        Walk::Accept => End::Accepted,
        Walk::Drop => End::Dropped,
        Walk::Return if base.drops => End::Policy,
        Walk::Return => End::Accepted,
    };
    Some(Outcome { end, may_pass: machine.may_pass })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Accept,
    Drop,
    Return,
}

struct Machine<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet,
    table: &'a Table,
    registers: Bits,
    /// A rule may have changed the packet's mark.
    marked: bool,
    may_pass: bool,
    rules: usize,
}

impl Machine<'_> {
    /// Goes through a chain; `certain`: the packet is known to come here.
    fn walk(&mut self, chain: &str, mut certain: bool, depth: usize) -> Walk {
        let key = (self.table.clone(), chain.to_owned());
        let Some(rules) = self.ruleset.chains.get(&key).filter(|_| depth <= DEPTH) else {
            self.may_pass = true;
            return Walk::Return;
        };
        for rule in rules {
            self.rules += 1;
            if self.rules > MOST {
                self.may_pass = true;
                return Walk::Return;
            }
            let (matched, verdicts) = self.rule(rule);
            for verdict in verdicts {
                let sure = certain && matched == Match::Yes;
                match verdict {
                    Verdict::Continue => {}
                    Verdict::Accept | Verdict::Elsewhere if sure => return Walk::Accept,
                    Verdict::Accept | Verdict::Elsewhere => self.may_pass = true,
                    Verdict::Drop if sure => return Walk::Drop,
                    Verdict::Drop => {}
                    Verdict::Return if matched == Match::Yes => return Walk::Return,
                    Verdict::Return => certain = false,
                    Verdict::Jump(to) => match self.walk(&to, sure, depth + 1) {
                        Walk::Return => {}
                        end => return end,
                    },
                    Verdict::Goto(to) => {
                        let end = self.walk(&to, sure, depth + 1);
                        if matched == Match::Yes {
                            return end;
                        }
                        certain = false;
                    }
                }
            }
        }
        Walk::Return
    }

    /// Whether a rule matches, and its verdict; several if it is not known which.
    fn rule(&mut self, steps: &[Step]) -> (Match, Vec<Verdict>) {
        let mut all = Match::Yes;
        for step in steps {
            let one = match step {
                Step::Verdict(verdict) => return (all, vec![verdict.clone()]),
                Step::Elsewhere => return (all, vec![Verdict::Elsewhere]),
                Step::Target(name) => match effect(name) {
                    Effect::Verdict(verdict) => return (all, vec![verdict]),
                    Effect::Mark => self.mark(),
                    Effect::Nothing => Match::Yes,
                },
                Step::Lookup { set, from, to, inverted } => {
                    match self.lookup(set, *from, to.as_ref(), *inverted) {
                        Ok(one) => one,
                        Err((_, verdicts)) if all == Match::Maybe => return (Match::Maybe, verdicts),
                        Err(found) => return found,
                    }
                }
                other => self.step(other),
            };
            match one {
                Match::No => return (Match::No, Vec::new()),
                Match::Maybe => all = Match::Maybe,
                Match::Yes => {}
            }
        }
        (all, Vec::new())
    }

    fn step(&mut self, step: &Step) -> Match {
        match step {
            Step::Load { to, key } => {
                let loaded = load(self.packet, self.marked, *key);
                self.registers.put(*to, &loaded);
            }
            Step::Payload { to, base, offset, length } => {
                let header = match base {
                    1 => self.packet.network(),
                    2 => self.packet.transport(),
                    _ => Bits::default(),
                };
                self.registers.put(*to, &header.part(*offset, (*length).min(REGISTERS)));
            }
            Step::Bitwise { from, to, mask, xor } => {
                let mut bits = self.registers.part(*from, mask.len());
                for ((value, known), (mask, xor)) in
                    bits.value.iter_mut().zip(&mut bits.known).zip(mask.iter().zip(xor))
                {
                    *value = (*value & mask) ^ xor;
                    *known |= !mask;
                }
                self.registers.put(*to, &bits);
            }
            Step::Constant { to, value } => self.registers.put(*to, &Bits::known(value)),
            Step::Compare { from, how, value } => {
                return compare(&self.registers.part(*from, value.len()), *how, value);
            }
            Step::Range { from, inside, first, last } => {
                let bits = self.registers.part(*from, first.len());
                let is = bits.value >= *first && bits.value <= *last;
                return if bits.is_known() { Some(is == *inside).into() } else { Match::Maybe };
            }
            Step::Match { name, revision, info } => {
                return matches(self.packet, &mark(self.marked), name, *revision, info).into();
            }
            Step::SetMark => return self.mark(),
            Step::Unknown => {
                self.registers = Bits::unknown(REGISTERS);
                return Match::Maybe;
            }
            _ => {}
        }
        Match::Yes
    }

    fn mark(&mut self) -> Match {
        self.marked = true;
        Match::Yes
    }

    /// Whether a set has the value of a register; `Err`: the verdicts of a map.
    fn lookup(
        &mut self,
        set: &str,
        from: usize,
        to: Option<&usize>,
        inverted: bool,
    ) -> Result<Match, (Match, Vec<Verdict>)> {
        let Some(set) = self.ruleset.sets.get(&(self.table.clone(), set.to_owned())) else {
            self.registers = Bits::unknown(REGISTERS);
            let verdicts = to.map(|_| (Match::Maybe, vec![Verdict::Elsewhere]));
            return verdicts.map_or(Ok(Match::Maybe), Err);
        };
        let (found, element) = find(set, &self.registers, from);
        let Some(to) = to else {
            return Ok(match (found, inverted) {
                (Match::Yes, true) => Match::No,
                (Match::No, true) => Match::Yes,
                (found, _) => found,
            });
        };
        if set.elements.values().all(|element| element.verdict.is_none()) {
            let value = element.and_then(|element| element.value.as_deref());
            self.registers.put(*to, &value.map_or_else(|| Bits::unknown(REGISTERS), Bits::known));
            return Ok(found);
        }
        match (found, element.and_then(|element| element.verdict.clone())) {
            (Match::Yes, Some(verdict)) => Err((Match::Yes, vec![verdict])),
            (Match::No, _) => Ok(Match::No),
            _ => {
                let all = set.elements.values().filter_map(|element| element.verdict.clone());
                let all: BTreeSet<_> = all.chain(set.partial.then_some(Verdict::Elsewhere)).collect();
                Err((Match::Maybe, all.into_iter().collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
