//! What matches something, each content once.

use std::collections::HashMap;
use std::sync::Arc;

use objects::Protocol;

use crate::hash::{Counter, Map};
use crate::term::TermId;

/// The number of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ProfileId(usize);

impl ProfileId {
    /// Of what nothing matches.
    pub(crate) const EMPTY: Self = Self(0);
}

/// What matches a Pod, a node or a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Profile {
    /// The terms that do, sorted.
    pub(crate) terms: Box<[TermId]>,
    /// Its ports whose names are in use, sorted.
    pub(crate) ports: Box<[Port]>,
}

/// A port whose name is in use: the name's number, and what it is.
pub(crate) type Port = (usize, Protocol, u16);

/// All profiles that somebody has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profiles {
    numbers: HashMap<Arc<Profile>, ProfileId>,
    all: Map<ProfileId, (Arc<Profile>, usize)>,
    counter: Counter,
}

impl Profiles {
    /// The number of a profile that one more has.
    pub(crate) fn acquire(&mut self, profile: Profile) -> ProfileId {
        if profile == Profile::default() {
            return ProfileId::EMPTY;
        }
        if let Some(id) = self.numbers.get(&profile) {
            if let Some((_, users)) = self.all.get_mut(id) {
                *users += 1;
            }
            return *id;
        }
        let id = ProfileId(self.counter.next());
        let profile = Arc::new(profile);
        self.numbers.insert(Arc::clone(&profile), id);
        self.all.insert(id, (profile, 1));
        id
    }

    /// One less has it.
    pub(crate) fn release(&mut self, id: ProfileId) {
        let Some((profile, users)) = self.all.get_mut(&id) else { return };
        *users -= 1;
        if *users == 0 {
            self.numbers.remove(profile);
            self.all.remove(&id);
        }
    }

    /// The profile of this number.
    pub(crate) fn get(&self, id: ProfileId) -> Option<&Profile> {
        self.all.get(&id).map(|(profile, _)| &**profile)
    }
}
