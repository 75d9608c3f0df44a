//! All differences between two states, in as few changes as say them.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use objects::{Family, Key};

use super::blocks;
use super::change::{Change, Decision, End};
use super::difference::{Difference, Way, differences};
use super::sheet::{DecisionId, SheetId, Sheets};
use super::world::{Place, World};
use crate::tables::{ClassId, Direction};

/// So many changes are told.
const CHANGES: usize = 10_000;

/// So many ends of changes are told.
const ENDS: usize = 500_000;

/// Bits of both families.
const BOTH: u8 = 3;

/// Ends of which each state says the same as of each other.
struct Group {
    place: Placed,
    ends: Vec<End>,
}

/// What they are in the old state, and in the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Placed {
    Pods([Place; 2]),
    Outside([ClassId; 2]),
}

/// The number of what differs, and over which families.
type Cause = (usize, u8);

/// What is the same of all who begin some connections: what differs, and to which groups.
type Row = (Cause, Vec<usize>);

/// Finds what differs between groups.
struct Finder<'a> {
    worlds: [&'a World; 2],
    sheets: &'a Sheets,
    /// Of one source: the numbers of what differs between these ways.
    known: HashMap<[Way; 2], Rc<[usize]>>,
    numbers: HashMap<Rc<Difference>, usize>,
    all: Vec<Rc<Difference>>,
}

/// Changes as they are found.
#[derive(Default)]
struct Rows {
    all: HashMap<Row, Vec<usize>>,
    ends: usize,
}

/// Compares two states of Pods with these names. Gives the changes, and whether these are all.
pub(super) fn gather(names: &[Key], worlds: [&World; 2], sheets: &Sheets) -> (Vec<Change>, bool) {
    let groups = groups(names, worlds);
    let mut rows = Rows::default();
    let mut finder =
        Finder { worlds, sheets, known: HashMap::new(), numbers: HashMap::new(), all: Vec::new() };
    let complete = groups.iter().enumerate().all(|(source, from)| {
        let found = finder.from(from.place, &groups);
        found.into_iter().all(|row| rows.add(row, source, &groups))
    });
    let ends = |of: &[usize]| {
        let ends = of.iter().filter_map(|group| groups.get(*group)).flat_map(|group| &group.ends);
        let mut ends: Vec<End> = ends.cloned().collect();
        ends.sort_unstable();
        ends
    };
    let decisions = |of: &[DecisionId]| -> Vec<Decision> {
        of.iter().filter_map(|id| sheets.decision(*id)).cloned().collect()
    };
    let change = |(((difference, families), destinations), sources): (Row, Vec<usize>)| {
        let Difference { why, ports } = &**finder.all.get(difference)?;
        let family = Family::ALL.into_iter().zip([1, 2]).find(|(_, bit)| families == *bit);
        Some(Change {
            sources: ends(&sources),
            destinations: ends(&destinations),
            allowed: why.allowed,
            ports: ports.clone(),
            family: family.map(|(family, _)| family),
            by: decisions(&why.by),
        })
    };
    let mut changes: Vec<Change> = rows.all.into_iter().filter_map(change).collect();
    changes.sort_unstable();
    (changes, complete)
}

/// The Pods, and what is outside.
fn groups(names: &[Key], worlds: [&World; 2]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<Placed, usize> = HashMap::new();
    let [old, new] = worlds.map(|world| &world.pods);
    for ((name, old), new) in names.iter().zip(old).zip(new) {
        let place = Placed::Pods([*old, *new]);
        let next = groups.len();
        let group = *known.entry(place).or_insert(next);
        if group == next {
            groups.push(Group { place, ends: Vec::new() });
        }
        if let Some(group) = groups.get_mut(group) {
            group.ends.push(End::Pod(name.clone()));
        }
    }
    let outside = blocks::outside(worlds.map(|world| &world.blocks));
    groups.extend(outside.into_iter().map(|(classes, ends)| Group { place: Placed::Outside(classes), ends }));
    groups
}

impl Finder<'_> {
    /// What differs of connections from one group to all.
    fn from(&mut self, from: Placed, groups: &[Group]) -> BTreeMap<Cause, Vec<usize>> {
        self.known.clear();
        let mut found: BTreeMap<Cause, Vec<usize>> = BTreeMap::new();
        for (destination, to) in groups.iter().enumerate() {
            for cause in self.between(from, to.place) {
                found.entry(cause).or_default().push(destination);
            }
            // Each of these is another change: there are more of them than are told.
            if self.all.len() > CHANGES {
                break;
            }
        }
        found
    }

    /// What differs of connections from one group to another.
    #[allow(clippy::indexing_slicing, reason = "of two states and two families the indices are 0 and 1")]
    fn between(&mut self, from: Placed, to: Placed) -> Vec<Cause> {
        match (from, to) {
            (Placed::Pods(from), Placed::Pods(to)) => {
                let ways = [0, 1].map(|family| {
                    self.ways(|world, state| {
                        let (from, to) = (&from[state], &to[state]);
                        [
                            world.sheet(from.set, Direction::Egress, to.classes[family]),
                            world.sheet(to.set, Direction::Ingress, from.classes[family]),
                        ]
                    })
                });
                if ways[0] == ways[1] {
                    return self.causes(ways[0], BOTH);
                }
                let mut found: BTreeMap<usize, u8> = BTreeMap::new();
                let causes = self.causes(ways[0], 1).into_iter().chain(self.causes(ways[1], 2));
                causes.for_each(|(difference, family)| *found.entry(difference).or_default() |= family);
                found.into_iter().collect()
            }
            (Placed::Pods(from), Placed::Outside(to)) => {
                let ways = self.ways(|world, state| {
                    [world.sheet(from[state].set, Direction::Egress, to[state]), SheetId::OPEN]
                });
                self.causes(ways, BOTH)
            }
            (Placed::Outside(from), Placed::Pods(to)) => {
                let ways = self.ways(|world, state| {
                    [SheetId::OPEN, world.sheet(to[state].set, Direction::Ingress, from[state])]
                });
                self.causes(ways, BOTH)
            }
            // Nobody judges them.
            (Placed::Outside(_), Placed::Outside(_)) => Vec::new(),
        }
    }

    /// What the old state says, and the new one.
    fn ways(&self, way: impl Fn(&World, usize) -> Way) -> [Way; 2] {
        [way(self.worlds[0], 0), way(self.worlds[1], 1)]
    }

    fn causes(&mut self, [old, new]: [Way; 2], families: u8) -> Vec<Cause> {
        let old = old.map(|sheet| self.sheets.plain(sheet));
        // Most do not differ.
        if old == new.map(|sheet| self.sheets.plain(sheet)) {
            return Vec::new();
        }
        let Self { sheets, known, numbers, all, .. } = self;
        let found = known.entry([old, new]).or_insert_with(|| {
            let number = |difference: Difference| {
                let difference = Rc::new(difference);
                *numbers.entry(Rc::clone(&difference)).or_insert_with(|| {
                    all.push(difference);
                    all.len() - 1
                })
            };
            differences(old, new, sheets).into_iter().map(number).collect()
        });
        found.iter().map(|difference| (*difference, families)).collect()
    }
}

impl Rows {
    /// Adds what some source has in common with others. Whether there is space for it.
    fn add(&mut self, row: Row, source: usize, groups: &[Group]) -> bool {
        let size = |group: usize| groups.get(group).map_or(0, |group| group.ends.len());
        let known = self.all.contains_key(&row);
        if !known {
            self.ends += row.1.iter().map(|group| size(*group)).sum::<usize>();
        }
        self.ends += size(source);
        if self.ends > ENDS || (!known && self.all.len() >= CHANGES) {
            return false;
        }
        self.all.entry(row).or_default().push(source);
        true
    }
}
