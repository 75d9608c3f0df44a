//! Blocks of addresses and what is cut out of them: one region for each prefix at which something begins or ends to match.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::prefix::Prefix;
use crate::profiles::{Profile, ProfileId, Profiles};
use crate::tables::ClassId;
use crate::term::TermId;

/// The addresses of a prefix that are in no longer one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Region {
    /// How many blocks of a term begin here, less how many end: never 0.
    delta: BTreeMap<TermId, isize>,
    /// The next shorter prefix that this one is in.
    parent: Option<Prefix>,
    /// What matches these addresses.
    pub(crate) profile: ProfileId,
    /// The profile that `class` is of.
    pub(crate) counted: ProfileId,
    /// Their class.
    pub(crate) class: ClassId,
    /// What the table of blocks says: nothing where the parent says it.
    pub(crate) shown: Option<ClassId>,
}

/// All regions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regions {
    all: BTreeMap<Prefix, Region>,
    dirty: BTreeSet<Prefix>,
}

/// What a call of [`Regions::settle`] found.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Prefixes without one inside another: of the regions inside, and of addresses there, anything may have changed.
    pub(crate) roots: Vec<Prefix>,
    /// Regions that are gone.
    pub(crate) gone: Vec<(Prefix, Region)>,
}

/// Which blocks of which terms an address is in.
#[derive(Debug, Default)]
struct Depth(BTreeMap<TermId, isize>);

impl Depth {
    fn enter(&mut self, delta: &BTreeMap<TermId, isize>) {
        for (term, by) in delta {
            *self.0.entry(*term).or_default() += by;
        }
    }

    fn leave(&mut self, delta: &BTreeMap<TermId, isize>) {
        for (term, by) in delta {
            let depth = self.0.entry(*term).or_default();
            *depth -= by;
            if *depth == 0 {
                self.0.remove(term);
            }
        }
    }

    fn matching(&self) -> impl Iterator<Item = TermId> {
        self.0.iter().filter(|(_, depth)| **depth > 0).map(|(term, _)| *term)
    }
}

impl Regions {
    /// A term matches a block without those inside it, once more (1) or once less (-1).
    pub(crate) fn count(&mut self, term: TermId, block: Prefix, except: &[Prefix], by: isize) {
        self.count_one(term, block, by);
        for except in except {
            self.count_one(term, *except, -by);
        }
    }

    fn count_one(&mut self, term: TermId, at: Prefix, by: isize) {
        let delta = &mut self.all.entry(at).or_default().delta;
        let depth = delta.entry(term).or_default();
        *depth += by;
        if *depth == 0 {
            delta.remove(&term);
        }
        self.dirty.insert(at);
    }

    /// Computes what changed blocks mean.
    pub(crate) fn settle(&mut self, profiles: &mut Profiles) -> Settled {
        let mut settled = Settled::default();
        for root in std::mem::take(&mut self.dirty) {
            if self.all.get(&root).is_some_and(|region| region.delta.is_empty())
                && let Some(region) = self.all.remove(&root)
            {
                settled.gone.push((root, region));
            }
            if !settled.roots.last().is_some_and(|before| before.contains(&root)) {
                settled.roots.push(root);
            }
        }
        for root in &settled.roots {
            self.settle_inside(*root, profiles);
        }
        for (_, region) in &settled.gone {
            profiles.release(region.profile);
        }
        settled
    }

    fn settle_inside(&mut self, root: Prefix, profiles: &mut Profiles) {
        let mut depth = Depth::default();
        let outside = self.outside(root);
        let mut at = outside;
        while let Some(region) = at.and_then(|at| self.all.get(&at)) {
            depth.enter(&region.delta);
            at = region.parent;
        }
        let mut path: Vec<(Prefix, BTreeMap<TermId, isize>)> = Vec::new();
        for (prefix, region) in self.all.range_mut(root..=root.last_inside()) {
            while path.last().is_some_and(|(shorter, _)| !shorter.contains(prefix)) {
                if let Some((_, delta)) = path.pop() {
                    depth.leave(&delta);
                }
            }
            region.parent = path.last().map(|(shorter, _)| *shorter).or(outside);
            depth.enter(&region.delta);
            path.push((*prefix, region.delta.clone()));
            let profile =
                profiles.acquire(Profile { terms: depth.matching().collect(), ports: Box::default() });
            profiles.release(region.profile);
            region.profile = profile;
        }
    }

    /// The longest prefix that this one is in, and that is another.
    fn outside(&self, prefix: Prefix) -> Option<Prefix> {
        let (before, region) = self.all.range(..prefix).next_back()?;
        self.containing(*before, region, &prefix)
    }

    fn containing<'a>(&'a self, mut at: Prefix, mut region: &'a Region, inside: &Prefix) -> Option<Prefix> {
        while !at.contains(inside) {
            at = region.parent?;
            region = self.all.get(&at)?;
        }
        Some(at)
    }

    /// Gives the regions inside a prefix their classes, each after those that it is in: `class` finds one, and `show` is told
    /// what the table of blocks has to say.
    pub(crate) fn classify(
        &mut self,
        root: Prefix,
        mut class: impl FnMut(&mut Region),
        mut show: impl FnMut(Prefix, Option<ClassId>),
    ) {
        let outside = self.outside(root).and_then(|outside| self.all.get(&outside));
        let outside = outside.map_or(ClassId::OTHER, |region| region.class);
        let mut path: Vec<(Prefix, ClassId)> = Vec::new();
        for (prefix, region) in self.all.range_mut(root..=root.last_inside()) {
            while path.last().is_some_and(|(shorter, _)| !shorter.contains(prefix)) {
                path.pop();
            }
            class(region);
            let around = path.last().map_or(outside, |(_, class)| *class);
            path.push((*prefix, region.class));
            let shown = (region.class != around).then_some(region.class);
            if shown != region.shown {
                region.shown = shown;
                show(*prefix, shown);
            }
        }
    }

    /// The region of an address.
    pub(crate) fn of(&self, address: IpAddr) -> Option<&Region> {
        let address = Prefix::address(address);
        let (before, region) = self.all.range(..=address).next_back()?;
        self.all.get(&self.containing(*before, region, &address)?)
    }

    /// Tells of each region all terms that match it, as long as it is asked to go on. Whether it told all.
    pub(crate) fn walk(&self, mut each: impl FnMut(TermId) -> bool) -> bool {
        let mut depth = Depth::default();
        let mut path: Vec<(&Prefix, &Region)> = Vec::new();
        for (prefix, region) in &self.all {
            while path.last().is_some_and(|(shorter, _)| !shorter.contains(prefix)) {
                if let Some((_, region)) = path.pop() {
                    depth.leave(&region.delta);
                }
            }
            depth.enter(&region.delta);
            path.push((prefix, region));
            if !depth.matching().all(&mut each) {
                return false;
            }
        }
        true
    }

    /// The prefixes of all regions.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.all.keys().copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// All regions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Prefix, &Region)> {
        self.all.iter()
    }
}
