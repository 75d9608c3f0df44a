//! What the numbers of rules stand for: of those that are in force, and of the last ones that were, by which the table of
//! drops still has rows.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use policy::{Changes, RuleId, RuleName};

/// So many rules that are not in force any more are remembered.
const FORMER: usize = 16_384;

/// The names of rules.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<RuleId, Arc<RuleName>>,
    /// Those that are not in force any more, the oldest first.
    former: VecDeque<RuleId>,
}

impl Names {
    /// Learns which rules there are from now on.
    pub(super) fn learn(&mut self, changes: &Changes) {
        self.known.extend(changes.rules.iter().map(|(id, name)| (*id, Arc::clone(name))));
        self.former.extend(&changes.removed_rules);
        while self.former.len() > FORMER {
            if let Some(oldest) = self.former.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// What a rule's number stands for, or stood.
    pub(super) fn get(&self, id: RuleId) -> Option<Arc<RuleName>> {
        self.known.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use policy::{Direction, Origin};

    use super::*;

    #[test]
    fn a_rule_is_remembered_for_as_long_as_there_is_space() {
        let name = Arc::new(RuleName {
            origin: Origin::Admin,
            direction: Direction::Egress,
            policies: [].into(),
            rule: Some(0),
            name: "".into(),
        });
        let mut names = Names::default();
        let ids = |count: usize| (1..).map(RuleId).take(count);
        let rules = ids(FORMER + 2).map(|id| (id, Arc::clone(&name))).collect();
        names.learn(&Changes { rules, ..Changes::default() });
        names.learn(&Changes { removed_rules: ids(FORMER).collect(), ..Changes::default() });
        assert!(ids(FORMER + 2).all(|id| names.get(id).is_some()));
        names.learn(&Changes { removed_rules: ids(FORMER + 1).skip(FORMER).collect(), ..Changes::default() });
        let gone: Vec<RuleId> = ids(FORMER + 2).filter(|id| names.get(*id).is_none()).collect();
        assert_eq!(gone, [RuleId(1)]);
    }
}
