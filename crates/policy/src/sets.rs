//! The sets of verdicts of this node's Pods, each content once.

use std::collections::HashMap;
use std::sync::Arc;

use objects::{Key, NamedPort};

use crate::both::{Both, DIRECTIONS};
use crate::classes::Classes;
use crate::compile::Compiled;
use crate::hash::{Map, Set};
use crate::numbered::{Numbered, Numbers};
use crate::paint::Ground;
use crate::side::{Side, SideId};
use crate::subject::{self, Subject};
use crate::tables::{Changes, ClassId, Direction, EntryKey, List, ListId, Origin, RuleId, RuleName, SetId};
use crate::terms::Terms;

/// What makes a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SetKey {
    sides: Both<Box<[SideId]>>,
    ports: Box<[NamedPort]>,
    reject: bool,
    audit: bool,
}

/// A set.
#[derive(Debug, Clone)]
pub(crate) struct PolicySet {
    key: Arc<SetKey>,
    /// What is asked, in order.
    pub(crate) sides: Both<Vec<Arc<Side>>>,
    /// How many Pods have it.
    pub(crate) users: usize,
    /// What is not any rule's.
    pub(crate) grounds: Both<Ground>,
    /// The lists for classes without an entry.
    pub(crate) defaults: Both<ListId>,
    /// The lists for those with one.
    pub(crate) entries: Map<(Direction, ClassId), ListId>,
}

impl PolicySet {
    /// The Pod's ports that rules know by name.
    pub(crate) fn ports(&self) -> &[NamedPort] {
        &self.key.ports
    }

    /// Whether nothing is denied, and all of it is told.
    pub(crate) fn audit(&self) -> bool {
        self.key.audit
    }

    /// What it was made from.
    pub(crate) fn subject(&self) -> Subject {
        let SetKey { ports, reject, audit, .. } = &*self.key;
        let sides = self.sides.clone();
        Subject { sides, ports: ports.clone(), reject: *reject, audit: *audit, unasked: Both::default() }
    }

    /// Whether a side is part of it.
    pub(crate) fn has(&self, side: SideId) -> bool {
        self.key.sides.ingress.contains(&side) || self.key.sides.egress.contains(&side)
    }

    /// The policies that it is made of, those with the most rules first.
    pub(crate) fn policies(&self) -> Arc<[Key]> {
        let sides = self.sides.ingress.iter().chain(&self.sides.egress);
        let mut rules: HashMap<&Key, usize> = HashMap::new();
        for side in sides {
            *rules.entry(&side.policy).or_default() += side.rules().len();
        }
        let mut policies: Vec<(&Key, usize)> = rules.into_iter().collect();
        policies.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        policies.into_iter().map(|(key, _)| key.clone()).collect()
    }
}

/// All sets, and what they are made of.
#[derive(Debug, Clone)]
pub(crate) struct Sets {
    numbers: Numbers,
    known: HashMap<Arc<SetKey>, SetId>,
    pub(crate) all: Map<SetId, PolicySet>,
    pub(crate) compiled: Map<SideId, Compiled>,
    pub(crate) lists: Numbered<List>,
    pub(crate) rules: Numbered<RuleName>,
    pub(crate) fresh: Set<SetId>,
    idle: Set<SetId>,
}

impl Sets {
    /// None. Numbers begin after this one.
    pub(crate) fn after(last: u32) -> Self {
        Self {
            numbers: Numbers::after(last),
            known: HashMap::new(),
            all: Map::default(),
            compiled: Map::default(),
            lists: Numbered::after(last),
            rules: Numbered::after(last),
            fresh: Set::default(),
            idle: Set::default(),
        }
    }

    /// The set of one more Pod.
    pub(crate) fn acquire(&mut self, subject: Subject, terms: &mut Terms) -> SetId {
        let Subject { sides, ports, reject, audit, .. } = subject;
        if sides.ingress.is_empty() && sides.egress.is_empty() {
            return SetId::OPEN;
        }
        let ids = |sides: &[Arc<Side>]| sides.iter().map(|side| side.id).collect();
        let key = SetKey {
            sides: Both { ingress: ids(&sides.ingress), egress: ids(&sides.egress) },
            ports,
            reject,
            audit,
        };
        if let Some(id) = self.known.get(&key) {
            if let Some(set) = self.all.get_mut(id) {
                set.users += 1;
            }
            return *id;
        }
        self.create(key, sides, terms)
    }

    fn create(&mut self, key: SetKey, sides: Both<Vec<Arc<Side>>>, terms: &mut Terms) -> SetId {
        let id = SetId(self.numbers.next(|number| self.all.contains_key(&SetId(number))));
        for side in sides.ingress.iter().chain(&sides.egress) {
            let compiled =
                self.compiled.entry(side.id).or_insert_with(|| Compiled::new(side, terms, &mut self.rules));
            compiled.sets.insert(id);
        }
        let grounds = Both::new(|direction| self.ground(sides.of(direction), direction, &key));
        let key = Arc::new(key);
        self.known.insert(Arc::clone(&key), id);
        // The lists are known when the classes are.
        let none = Both { ingress: ListId(0), egress: ListId(0) };
        let set = PolicySet { key, sides, users: 1, grounds, defaults: none, entries: Map::default() };
        self.all.insert(id, set);
        self.fresh.insert(id);
        id
    }

    fn ground(&mut self, sides: &[Arc<Side>], direction: Direction, key: &SetKey) -> Ground {
        let audit = key.audit || sides.iter().any(|side| side.audit);
        let mut isolated = |audited| {
            let policies = subject::isolating(sides, audited);
            (!policies.is_empty()).then(|| {
                let (origin, name) = (Origin::NetworkPolicy, Arc::default());
                RuleId(self.rules.acquire(RuleName { origin, direction, policies, rule: None, name }))
            })
        };
        let strictly = if audit && !key.audit { isolated(false) } else { None };
        Ground { isolated: isolated(true), isolated_strictly: strictly, audit, reject: key.reject }
    }

    /// One more Pod has it.
    pub(crate) fn acquire_again(&mut self, id: SetId) {
        if let Some(set) = self.all.get_mut(&id) {
            set.users += 1;
        }
    }

    /// What a set is made from; `None` if that is not known.
    pub(crate) fn subject(&self, id: SetId) -> Option<Subject> {
        match id {
            SetId::OPEN => Some(Subject::default()),
            id => self.all.get(&id).map(PolicySet::subject),
        }
    }

    /// One Pod less has it.
    pub(crate) fn release(&mut self, id: SetId) {
        let Some(set) = self.all.get_mut(&id) else { return };
        set.users -= 1;
        if set.users == 0 {
            self.idle.insert(id);
        }
    }

    /// Removes sets that no Pod has.
    pub(crate) fn bury(&mut self, terms: &mut Terms, classes: &mut Classes, changes: &mut Changes) {
        for id in std::mem::take(&mut self.idle) {
            if self.all.get(&id).is_none_or(|set| set.users > 0) {
                continue;
            }
            let Some(set) = self.all.remove(&id) else { continue };
            self.known.remove(&set.key);
            for direction in DIRECTIONS {
                self.release_ground(*set.grounds.of(direction));
                let list = *set.defaults.of(direction);
                // One that came and went between two updates has none yet.
                if list != ListId(0) {
                    self.lists.release(list.0);
                    changes.removed_entries.push(EntryKey { set: id, direction, class: None });
                }
            }
            for ((direction, class), list) in set.entries {
                self.lists.release(list.0);
                changes.removed_entries.push(EntryKey { set: id, direction, class: Some(class) });
                if let Some(class) = classes.get_mut(class) {
                    class.entries.remove(&(id, direction));
                }
            }
            for side in set.sides.ingress.iter().chain(&set.sides.egress) {
                self.leave(side, id, terms);
            }
        }
    }

    fn release_ground(&mut self, ground: Ground) {
        for rule in [ground.isolated, ground.isolated_strictly].into_iter().flatten() {
            self.rules.release(rule.0);
        }
    }

    fn leave(&mut self, side: &Side, set: SetId, terms: &mut Terms) {
        let Some(compiled) = self.compiled.get_mut(&side.id) else { return };
        compiled.sets.remove(&set);
        if compiled.sets.is_empty()
            && let Some(compiled) = self.compiled.remove(&side.id)
        {
            compiled.dispose(side, terms, &mut self.rules);
        }
    }
}
