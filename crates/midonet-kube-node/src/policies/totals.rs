//! What rules decided, added up: rules come and go, the sums stay.

use std::collections::{BTreeMap, HashMap};

use datapath::policy::Counts;
use policy::{Changes, Direction, Origin, RuleName};

/// How often was decided, by direction and tier.
pub(crate) type Verdicts = BTreeMap<(Direction, Origin), Counts>;

/// The sums, and what was last read of each rule.
#[derive(Debug, Default)]
pub(super) struct Totals {
    sums: Verdicts,
    rules: HashMap<u32, Rule>,
}

#[derive(Debug)]
struct Rule {
    direction: Direction,
    origin: Origin,
    last: Counts,
}

impl Totals {
    /// Learns which rules there are from now on.
    pub(super) fn learn(&mut self, changes: &Changes) {
        for (id, name) in &changes.rules {
            let RuleName { direction, origin, .. } = **name;
            let new = || Rule { direction, origin, last: Counts::default() };
            self.rules.entry(id.0).or_insert_with(new);
        }
        for id in &changes.removed_rules {
            self.rules.remove(&id.0);
        }
    }

    /// Adds what was decided since the last time.
    pub(super) fn add(&mut self, counts: &HashMap<u32, Counts>) {
        for (id, now) in counts {
            let Some(rule) = self.rules.get_mut(id) else { continue };
            let last = std::mem::replace(&mut rule.last, *now);
            let sum = self.sums.entry((rule.direction, rule.origin)).or_default();
            sum.allowed += now.allowed.saturating_sub(last.allowed);
            sum.denied += now.denied.saturating_sub(last.denied);
            sum.audited += now.audited.saturating_sub(last.audited);
        }
    }

    /// The sums.
    pub(super) fn verdicts(&self) -> &Verdicts {
        &self.sums
    }
}
