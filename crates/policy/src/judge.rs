//! The judge: takes objects as they change, and says how the tables change.

mod choose;
mod objects_in;
mod owner;
mod ports_in;
mod tell;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use objects::Pod;

use crate::addresses::Addresses;
use crate::classes::Classes;
use crate::kinds::{KindId, Kinds};
use crate::locals::Locals;
use crate::namespaces::Namespaces;
use crate::pods::Pods;
use crate::policies::Policies;
use crate::profiles::Profiles;
use crate::sets::Sets;
use crate::side::{Side, SideId};
use crate::terms::Terms;
use crate::weight;

/// What policies mean for the Pods of one node.
///
/// It takes objects and ports as they change, in any order, and computes nothing until [`Self::update`].
#[derive(Debug, Clone)]
pub struct Judge {
    policies: Policies,
    namespaces: Namespaces,
    pods: Pods<KindId>,
    locals: Locals,
    terms: Terms,
    kinds: Kinds,
    profiles: Profiles,
    addresses: Addresses,
    classes: Classes,
    sets: Sets,
    /// What was too much.
    refused: BTreeMap<SideId, Arc<Side>>,
    limit: usize,
    /// How many kinds of Pods there were when it was last found out whether everything fits.
    weighed: usize,
}

impl Judge {
    /// A judge that knows of nothing. Numbers of sets, classes, lists and rules begin after `last`.
    pub fn new(last: u32) -> Self {
        Self {
            policies: Policies::default(),
            namespaces: Namespaces::default(),
            pods: Pods::default(),
            locals: Locals::default(),
            terms: Terms::default(),
            kinds: Kinds::default(),
            profiles: Profiles::default(),
            addresses: Addresses::default(),
            classes: Classes::after(last),
            sets: Sets::after(last),
            refused: BTreeMap::new(),
            limit: weight::LIMIT,
            weighed: 0,
        }
    }

    /// Rules may match classes so many times in all, each of their ranges of ports counted, instead of 4,000,000 times: what
    /// is more is refused ([`Self::is_withheld`]).
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// The policies that it knows.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The namespaces that it knows.
    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The Pods that exist and have addresses of their own.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods
            .iter()
            .map(|(_, holder)| holder)
            .filter(|holder| holder.exists && holder.is_peer())
            .map(|holder| &holder.pod)
    }
}
