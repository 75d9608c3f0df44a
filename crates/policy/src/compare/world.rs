//! One of the two states: what policies mean for each Pod and for each other end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use objects::{Family, Key, Labels, Namespace, Pod};

use super::change::TooMuch;
use super::sheet::{SheetId, Sheets};
use crate::both::Both;
use crate::classes::Classes;
use crate::compile::Compiled;
use crate::entries::{self, Hits, Matching};
use crate::hash::Map;
use crate::judge::Judge;
use crate::pod_peers::NAMESPACE_NAME;
use crate::prefix::Prefix;
use crate::profiles::{Profile, ProfileId, Profiles};
use crate::sets::{PolicySet, Sets};
use crate::side::SideId;
use crate::subject::Subject;
use crate::tables::{ClassId, Direction, SetId};
use crate::terms::Terms;
use crate::weight;

/// What policies mean for Pods, and for addresses outside.
#[derive(Debug)]
pub(super) struct World {
    /// The Pods, in the order in which they were given.
    pub(super) pods: Vec<Place>,
    /// The class of each block at which something begins or ends to match.
    pub(super) blocks: BTreeMap<Prefix, ClassId>,
    rows: Map<SetId, Both<Box<[SheetId]>>>,
}

/// What a Pod is as a subject, and as a peer over each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) set: SetId,
    pub(super) classes: [ClassId; 2],
}

/// Which rules of a side match each class.
#[derive(Debug)]
struct Marks {
    /// Classes that any does, with the place of what does in `patterns`.
    classes: Vec<(ClassId, usize)>,
    patterns: Vec<Matching>,
}

impl World {
    /// What the policies that a judge knows mean for these Pods.
    ///
    /// # Errors
    /// Their blocks overlap too much.
    pub(super) fn new(judge: &Judge, pods: &[Arc<Pod>], sheets: &mut Sheets) -> Result<Self, TooMuch> {
        let mut namespaces = judge.namespaces().clone();
        let names: BTreeSet<&str> = pods.iter().map(|pod| namespace_of(pod)).collect();
        for name in &names {
            if namespaces.get(name).is_none() {
                namespaces.upsert(Arc::new(unknown(name)));
            }
        }
        let (mut sets, mut terms) = (Sets::after(0), Terms::default());
        // All namespaces are known, so that it is known what applies.
        let subjects =
            pods.iter().map(|pod| Subject::of(pod, judge.policies(), &namespaces).unwrap_or_default());
        let chosen: Vec<SetId> = subjects.map(|subject| sets.acquire(subject, &mut terms)).collect();

        let mut matches = 0;
        let fits = terms.regions.walk(|_| {
            matches += 1;
            matches <= weight::LIMIT
        });
        if !fits {
            return Err(TooMuch);
        }
        let (mut profiles, mut classes) = (Profiles::default(), Classes::after(0));
        let mut regions = std::mem::take(&mut terms.regions);
        regions.settle(&mut profiles);
        let spaces = names.into_iter().map(|name| (name, Arc::new(namespaces.space(name, &terms.pods))));
        let spaces: HashMap<&str, _> = spaces.collect();
        let mut kinds = HashMap::new();
        let mut places = Vec::new();
        for (pod, set) in pods.iter().zip(chosen) {
            let Some(space) = spaces.get(namespace_of(pod)) else { continue };
            let profile = *kinds.entry(terms.kind_of(pod, space)).or_insert_with_key(|key| {
                profiles.acquire(Profile { terms: terms.pods.terms(key), ports: key.ports.clone() })
            });
            let classes = Family::ALL.map(|family| {
                let address = pod.addresses.iter().find(|address| Family::of(**address) == family);
                let region = address.and_then(|address| regions.of(*address));
                let region = region.map_or(ProfileId::EMPTY, |region| region.profile);
                classes.acquire((profile, region), &profiles, &mut terms)
            });
            places.push(Place { set, classes });
        }
        let class =
            |(prefix, profile)| (prefix, classes.acquire((ProfileId::EMPTY, profile), &profiles, &mut terms));
        let blocks = regions.iter().map(|(prefix, region)| (*prefix, region.profile)).map(class).collect();
        Ok(Self { pods: places, blocks, rows: rows(&sets, &classes, &terms, sheets) })
    }

    /// What becomes of what a Pod of a set gets from, or sends to, a class.
    pub(super) fn sheet(&self, set: SetId, direction: Direction, class: ClassId) -> SheetId {
        let row = self.rows.get(&set).and_then(|rows| rows.of(direction).get(class.0 as usize));
        row.copied().unwrap_or(SheetId::OPEN)
    }
}

/// What is known of a namespace without an object.
fn unknown(name: &str) -> Namespace {
    Namespace {
        key: Key::new(name),
        uid: None,
        labels: Labels::from_iter([(NAMESPACE_NAME, name)]),
        reject: false,
        audit: false,
        defects: Box::default(),
    }
}

fn namespace_of(pod: &Pod) -> &str {
    pod.key.namespace().unwrap_or_default()
}

/// The sheets of each set and class.
fn rows(
    sets: &Sets,
    classes: &Classes,
    terms: &Terms,
    sheets: &mut Sheets,
) -> Map<SetId, Both<Box<[SheetId]>>> {
    let marks = sets.compiled.iter().map(|(id, side)| (*id, Marks::of(side, terms, classes))).collect();
    let mut row = |(id, set): (&SetId, &PolicySet)| {
        let rows = Both::new(|direction| row(*id, set, direction, sets, classes.len(), &marks, sheets));
        (*id, rows)
    };
    let mut all: Vec<_> = sets.all.iter().collect();
    all.sort_unstable_by_key(|(id, _)| **id);
    all.into_iter().map(&mut row).collect()
}

/// The sheets of a set, by class. Classes that the same rules of its sides match have the same one, which is made once: which
/// rules these are is found out side by side.
fn row(
    id: SetId,
    set: &PolicySet,
    direction: Direction,
    sets: &Sets,
    classes: usize,
    marks: &Map<SideId, Marks>,
    sheets: &mut Sheets,
) -> Box<[SheetId]> {
    // For each class a number of what matched so far; for each number what it was before, and what came to it.
    let mut matched = vec![0; classes + 1];
    let mut steps: Vec<(usize, Option<(SideId, usize)>)> = vec![(0, None)];
    for side in set.sides.of(direction) {
        let Some(marks) = marks.get(&side.id) else { continue };
        let mut known: Map<(usize, usize), usize> = Map::default();
        for (class, pattern) in &marks.classes {
            let Some(now) = matched.get_mut(class.0 as usize) else { continue };
            *now = *known.entry((*now, *pattern)).or_insert_with(|| {
                steps.push((*now, Some((side.id, *pattern))));
                steps.len() - 1
            });
        }
    }
    let mut made: Map<usize, SheetId> = Map::default();
    let mut sheet = |last: usize| {
        let (mut hits, mut at) = (Hits::new(), last);
        while let Some((before, Some((side, pattern)))) = steps.get(at) {
            let pattern = marks.get(side).and_then(|marks| marks.patterns.get(*pattern));
            hits.insert(*side, pattern.cloned().unwrap_or_default());
            at = *before;
        }
        let list = entries::list(id, direction, &hits, sets);
        list.map_or(SheetId::OPEN, |list| sheets.of(&list, |rule| sets.rules.get(rule.0).cloned()))
    };
    matched.into_iter().map(|last| *made.entry(last).or_insert_with(|| sheet(last))).collect()
}

impl Marks {
    fn of(side: &Compiled, terms: &Terms, classes: &Classes) -> Self {
        let mut found: Map<ClassId, Matching> = Map::default();
        for (id, rule) in side.asked() {
            let Some(term) = terms.get(id) else { continue };
            for class in &term.classes {
                let matching = found.entry(*class).or_default();
                match (term.port, classes.get(*class)) {
                    (None, _) => matching.push((rule, None)),
                    (Some(_), Some(known)) => {
                        let features = known.features.iter().filter(|(term, _)| *term == id);
                        matching.extend(features.map(|(_, port)| (rule, *port)));
                    }
                    (Some(_), None) => {}
                }
            }
        }
        let mut known: HashMap<Matching, usize> = HashMap::new();
        let mut patterns = Vec::new();
        let mut classes: Vec<(ClassId, usize)> = Vec::new();
        for (class, mut matching) in found {
            matching.sort_unstable();
            let pattern = *known.entry(matching).or_insert_with_key(|matching| {
                patterns.push(matching.clone());
                patterns.len() - 1
            });
            classes.push((class, pattern));
        }
        Self { classes, patterns }
    }
}
