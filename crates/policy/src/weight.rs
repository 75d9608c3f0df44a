//! How much memory and time classes and lists will take, before anything of it is made.
//!
//! Rules that overlap everywhere, each with an exception of its own, make as many classes as there are rules, of which each
//! matches nearly all of them. One namespace must not bring down the node by that.

use crate::addresses::Addresses;
use crate::both::DIRECTIONS;
use crate::compile::Compiled;
use crate::hash::Map;
use crate::kinds::Kinds;
use crate::paint::Reach;
use crate::sets::Sets;
use crate::side::SideId;
use crate::term::TermId;
use crate::terms::Terms;

/// So many times rules may match classes, each of their ranges of ports counted. It takes some tens of bytes each time.
pub(crate) const LIMIT: usize = 4_000_000;

/// What rules weigh, and where they match.
#[derive(Debug, Default)]
struct Scale {
    /// For each term: the rules that ask it, and their ranges of ports, in all sets.
    weights: Map<TermId, usize>,
    /// For each term: how many kinds of Pods and regions it matches.
    matches: Map<TermId, usize>,
    total: usize,
    limit: usize,
}

/// Whether all of it fits. Pods have kinds, of which nothing else is computed yet.
pub(crate) fn fits(limit: usize, sets: &Sets, terms: &Terms, kinds: &Kinds, addresses: &Addresses) -> bool {
    let mut scale = Scale { limit, ..Scale::default() };
    for side in sets.compiled.values() {
        for (term, rule) in side.asked() {
            *scale.weights.entry(term).or_default() += side.sets.len() * weight(side, rule);
        }
    }
    let everybody: usize =
        sets.compiled.values().map(|side| side.sets.len() * weight_for_everybody(side)).sum();
    let pieces = kinds.len() + terms.regions.len() + 1;
    let most = (scale.weights.values().sum::<usize>() + everybody).saturating_mul(pieces);
    most <= limit || scale.holds(sets, terms, kinds, addresses)
}

impl Scale {
    fn holds(&mut self, sets: &Sets, terms: &Terms, kinds: &Kinds, addresses: &Addresses) -> bool {
        // Pods of one kind make a class for each region that addresses are in.
        let populated = 1 + terms.regions.prefixes().filter(|prefix| addresses.any_in(*prefix)).count();
        for (kind, pods) in kinds.iter() {
            let copies = pods.saturating_mul(2).min(populated);
            for term in &terms.pods.terms(kind) {
                self.add(*term, copies);
            }
            if self.total > self.limit {
                return false;
            }
        }
        let fits = terms.regions.walk(|term| {
            self.add(term, 1);
            self.total <= self.limit
        });
        fits && self.lists(sets) <= self.limit
    }

    fn add(&mut self, term: TermId, times: usize) {
        *self.matches.entry(term).or_default() += times;
        let weight = self.weights.get(&term).copied().unwrap_or_default();
        self.total = self.total.saturating_add(weight.saturating_mul(times));
    }

    /// Rules for everybody are in each list of their sets.
    fn lists(&self, sets: &Sets) -> usize {
        let mut total = self.total;
        for set in sets.all.values() {
            for direction in DIRECTIONS {
                let sides = set.sides.of(direction).iter().filter_map(|side| sets.compiled.get(&side.id));
                let (mut everybody, mut lists) = (0, 1);
                for side in sides {
                    everybody += weight_for_everybody(side);
                    let matches = side.asked().filter_map(|(term, _)| self.matches.get(&term));
                    lists += matches.sum::<usize>();
                }
                total = total.saturating_add(everybody.saturating_mul(lists));
            }
        }
        total
    }
}

/// The side that weighs most.
pub(crate) fn heaviest(sets: &Sets) -> Option<SideId> {
    let weight = |side: &Compiled| {
        weight_for_everybody(side) + side.asked().map(|(_, rule)| weight(side, rule)).sum::<usize>()
    };
    // Of equal ones the newest: the others were there before.
    sets.compiled.iter().max_by_key(|(id, side)| (weight(side), **id)).map(|(id, _)| *id)
}

fn weight(side: &Compiled, rule: usize) -> usize {
    let rule = side.rules.get(rule);
    1 + rule.map_or(0, |rule| {
        let ranges = if let Reach::Spans(spans) = &rule.reach { spans.len() } else { 0 };
        ranges + rule.names.len()
    })
}

fn weight_for_everybody(side: &Compiled) -> usize {
    side.everybody.iter().map(|rule| weight(side, *rule)).sum()
}
