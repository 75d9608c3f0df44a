//! The classes of addresses: each set of what matches an address once.

use std::collections::HashMap;
use std::sync::Arc;

use objects::Protocol;

use crate::hash::{Map, Set};
use crate::numbered::Numbers;
use crate::profiles::{ProfileId, Profiles};
use crate::tables::{ClassId, Direction, SetId};
use crate::term::TermId;
use crate::terms::Terms;

/// What matches an address: a term, and if that asks for a port by name, which it is.
pub(crate) type Feature = (TermId, Option<(Protocol, u16)>);

/// The profiles of what nothing matches: nobody counts who has them.
const NOBODY: (ProfileId, ProfileId) = (ProfileId::EMPTY, ProfileId::EMPTY);

/// A class.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) features: Arc<[Feature]>,
    /// How many pairs of profiles make it.
    users: usize,
    /// The entries for it.
    pub(crate) entries: Set<(SetId, Direction)>,
}

/// All classes.
#[derive(Debug, Clone)]
pub(crate) struct Classes {
    numbers: Numbers,
    /// What matches the owner and what matches the address, and how many addresses and regions are of these.
    pairs: Map<(ProfileId, ProfileId), (ClassId, usize)>,
    known: HashMap<Arc<[Feature]>, ClassId>,
    all: Map<ClassId, Class>,
    fresh: Set<ClassId>,
    idle: Set<ClassId>,
}

impl Classes {
    /// None. Numbers begin after this one.
    pub(crate) fn after(last: u32) -> Self {
        Self {
            numbers: Numbers::after(last),
            pairs: Map::default(),
            known: HashMap::new(),
            all: Map::default(),
            fresh: Set::default(),
            idle: Set::default(),
        }
    }

    /// The class of one more address or region. Its profiles are in use.
    pub(crate) fn acquire(
        &mut self,
        pair: (ProfileId, ProfileId),
        profiles: &Profiles,
        terms: &mut Terms,
    ) -> ClassId {
        if pair == NOBODY {
            return ClassId::OTHER;
        }
        if let Some((class, users)) = self.pairs.get_mut(&pair) {
            *users += 1;
            return *class;
        }
        let features = features(pair, profiles, terms);
        let class = match self.known.get(&*features) {
            Some(class) => *class,
            None if features.is_empty() => ClassId::OTHER,
            None => self.create(features, terms),
        };
        if let Some(known) = self.all.get_mut(&class) {
            known.users += 1;
        }
        self.pairs.insert(pair, (class, 1));
        class
    }

    fn create(&mut self, features: Arc<[Feature]>, terms: &mut Terms) -> ClassId {
        let class = ClassId(self.numbers.next(|number| self.all.contains_key(&ClassId(number))));
        for (term, _) in &*features {
            if let Some(term) = terms.get_mut(*term) {
                term.classes.insert(class);
            }
        }
        self.known.insert(Arc::clone(&features), class);
        self.all.insert(class, Class { features, users: 0, entries: Set::default() });
        self.fresh.insert(class);
        class
    }

    /// One address or region less has it.
    pub(crate) fn release(&mut self, pair: (ProfileId, ProfileId)) {
        let Some((class, users)) = self.pairs.get_mut(&pair) else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let class = *class;
        self.pairs.remove(&pair);
        if let Some(known) = self.all.get_mut(&class) {
            known.users -= 1;
            if known.users == 0 {
                self.idle.insert(class);
            }
        }
    }

    /// The classes that are new since the last call, and those that are gone.
    pub(crate) fn settle(&mut self, terms: &mut Terms) -> (Set<ClassId>, Vec<(ClassId, Class)>) {
        let mut fresh = std::mem::take(&mut self.fresh);
        let mut gone = Vec::new();
        for class in std::mem::take(&mut self.idle) {
            if self.all.get(&class).is_none_or(|known| known.users > 0) {
                continue;
            }
            let Some(known) = self.all.remove(&class) else { continue };
            self.known.remove(&known.features);
            for (term, _) in &*known.features {
                if let Some(term) = terms.get_mut(*term) {
                    term.classes.remove(&class);
                }
            }
            fresh.remove(&class);
            gone.push((class, known));
        }
        (fresh, gone)
    }

    /// A class.
    pub(crate) fn get(&self, class: ClassId) -> Option<&Class> {
        self.all.get(&class)
    }

    /// A class.
    pub(crate) fn get_mut(&mut self, class: ClassId) -> Option<&mut Class> {
        self.all.get_mut(&class)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

fn features(pair: (ProfileId, ProfileId), profiles: &Profiles, terms: &Terms) -> Arc<[Feature]> {
    let (owner, block) = (profiles.get(pair.0), profiles.get(pair.1));
    let ports = owner.map_or(&[][..], |owner| &owner.ports);
    let matching = [owner, block].into_iter().flatten().flat_map(|profile| &*profile.terms);
    let mut features: Vec<Feature> = Vec::new();
    for id in matching {
        match terms.get(*id).map(|term| term.port) {
            Some(Some((name, protocol))) => {
                let called = ports.iter().filter(|port| port.0 == name);
                let called = called.filter(|port| protocol.is_none_or(|protocol| protocol == port.1));
                features.extend(called.map(|port| (*id, Some((port.1, port.2)))));
            }
            Some(None) => features.push((*id, None)),
            None => {}
        }
    }
    features.sort_unstable();
    features.dedup();
    features.into()
}
