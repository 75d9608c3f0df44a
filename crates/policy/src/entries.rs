//! The entries of sets: which list a class has.

use std::collections::{BTreeMap, BTreeSet};

use objects::Protocol;

use crate::both::DIRECTIONS;
use crate::classes::{Class, Classes};
use crate::compile::CompiledRule;
use crate::hash::Set;
use crate::paint::{self, Reach, Span, Stroke};
use crate::sets::{PolicySet, Sets};
use crate::side::SideId;
use crate::tables::{Changes, ClassId, Direction, Entry, EntryKey, List, ListId, SetId};
use crate::terms::Terms;

/// The rules of a side that match a class: their places, and the port if it is by the peer's name of it.
pub(crate) type Matching = Vec<(usize, Option<(Protocol, u16)>)>;

/// The same of all sides.
pub(crate) type Hits = BTreeMap<SideId, Matching>;

/// Removes the entries of classes that are gone.
pub(crate) fn remove(gone: Vec<(ClassId, Class)>, sets: &mut Sets, changes: &mut Changes) {
    for (class, known) in gone {
        for (set, direction) in known.entries {
            let list = sets.all.get_mut(&set).and_then(|set| set.entries.remove(&(direction, class)));
            if let Some(list) = list {
                sets.lists.release(list.0);
                changes.removed_entries.push(EntryKey { set, direction, class: Some(class) });
            }
        }
    }
}

/// Adds the entries of new sets, and those of all sets for new classes.
pub(crate) fn add(
    fresh: &Set<ClassId>,
    sets: &mut Sets,
    classes: &mut Classes,
    terms: &Terms,
    changes: &mut Changes,
) {
    let fresh_sets = std::mem::take(&mut sets.fresh);
    let mut candidates = fresh.clone();
    for id in &fresh_sets {
        let Some(set) = sets.all.get(id) else { continue };
        let sides = set.sides.ingress.iter().chain(&set.sides.egress);
        let asked = sides.filter_map(|side| sets.compiled.get(&side.id)).flat_map(|side| side.asked());
        candidates.extend(asked.filter_map(|(term, _)| terms.get(term)).flat_map(|term| &term.classes));
        for direction in DIRECTIONS {
            let Some(list) = list(*id, direction, &Hits::new(), sets) else { continue };
            let list = ListId(sets.lists.acquire(list));
            let Some(set) = sets.all.get_mut(id) else { continue };
            match direction {
                Direction::Ingress => set.defaults.ingress = list,
                Direction::Egress => set.defaults.egress = list,
            }
            changes.entries.push(Entry { key: EntryKey { set: *id, direction, class: None }, list });
        }
    }
    for class in candidates {
        let Some(known) = classes.get_mut(class) else { continue };
        let hits = hits(known, terms);
        for (id, direction) in concerned(&hits, sets) {
            if !fresh.contains(&class) && !fresh_sets.contains(&id) {
                continue;
            }
            let Some(list) = list(id, direction, &hits, sets) else { continue };
            let list = ListId(sets.lists.acquire(list));
            let Some(set) = sets.all.get_mut(&id) else { continue };
            if list == *set.defaults.of(direction) {
                sets.lists.release(list.0);
                continue;
            }
            set.entries.insert((direction, class), list);
            known.entries.insert((id, direction));
            changes.entries.push(Entry { key: EntryKey { set: id, direction, class: Some(class) }, list });
        }
    }
}

fn hits(class: &Class, terms: &Terms) -> Hits {
    let mut hits = Hits::new();
    for (term, port) in &*class.features {
        for (side, rule) in terms.get(*term).into_iter().flat_map(|term| &term.users) {
            hits.entry(*side).or_default().push((*rule, *port));
        }
    }
    for rules in hits.values_mut() {
        rules.sort_unstable();
    }
    hits
}

/// The sets, by direction, that any of these rules is part of.
fn concerned(hits: &Hits, sets: &Sets) -> BTreeSet<(SetId, Direction)> {
    let sides = hits.keys().filter_map(|side| sets.compiled.get(side));
    sides.flat_map(|side| side.sets.iter().map(|set| (*set, side.direction))).collect()
}

/// The list of a set for a class.
pub(crate) fn list(set: SetId, direction: Direction, hits: &Hits, sets: &Sets) -> Option<List> {
    let set = sets.all.get(&set)?;
    // Of a rule that matches by the peer's name of a port only.
    let nowhere = Reach::Spans(Box::default());
    let mut strokes = Vec::new();
    for side in set.sides.of(direction) {
        let Some(compiled) = sets.compiled.get(&side.id) else { continue };
        let mut matching: Vec<_> = compiled.everybody.iter().map(|place| (*place, None)).collect();
        if let Some(hits) = hits.get(&side.id) {
            matching.extend(hits);
            matching.sort_unstable();
        }
        for (place, port) in matching {
            let Some(rule) = compiled.rules.get(place) else { continue };
            let (reach, more) = match port {
                None => (&rule.reach, named(rule, set)),
                Some((protocol, port)) => (&nowhere, vec![Span { protocol, first: port, last: port }]),
            };
            strokes.push(Stroke {
                origin: side.origin,
                action: rule.action,
                audit: side.audit || set.audit(),
                rule: rule.id,
                reach,
                more,
            });
        }
    }
    Some(paint::paint(&strokes, *set.grounds.of(direction)))
}

/// The ports of a rule that the Pod itself has names for.
fn named(rule: &CompiledRule, set: &PolicySet) -> Vec<Span> {
    let called = rule.names.iter().flat_map(|name| {
        let called = set.ports().iter().filter(|port| port.name == name.name);
        called.filter(|port| name.protocol.is_none_or(|protocol| protocol == port.protocol))
    });
    called.map(|port| Span { protocol: port.protocol, first: port.port, last: port.port }).collect()
}
