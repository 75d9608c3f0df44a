//! What of a connection only one state allows, and why.

use std::collections::BTreeMap;

use super::change::Ports;
use super::sheet::{DecisionId, SheetId, Sheets, Stretch};

/// What one state says of a connection: the sheet of its sender, and that of its receiver.
pub(super) type Way = [SheetId; 2];

/// Why ports differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Why {
    /// Whether they pass in the new state alone; else they do in the old one.
    pub(super) allowed: bool,
    /// What lets them pass in the new state, or stops them there.
    pub(super) by: Vec<DecisionId>,
}

/// All ports that differ for one reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Difference {
    pub(super) why: Why,
    pub(super) ports: Vec<Ports>,
}

/// How what the old state allows differs from what the new one does. What decides in the old one does not matter.
pub(super) fn differences(old: Way, new: Way, sheets: &Sheets) -> Vec<Difference> {
    let mut found: BTreeMap<Why, Vec<Ports>> = BTreeMap::new();
    let mut rest = [old[0], old[1], new[0], new[1]].map(|id| sheets.get(id));
    let mut next = 1;
    // Each has everything, in the same order: whichever ends first, ends the piece of which all say one thing.
    while let [[sender, ..], [receiver, ..], [new_sender, ..], [new_receiver, ..]] = rest {
        let (old, new) = ([sender, receiver], [new_sender, new_receiver]);
        let last = old.iter().chain(&new).map(|stretch| stretch.last).min().unwrap_or(u16::MAX);
        if let Some(why) = Why::of(old, new) {
            add(found.entry(why).or_default(), sender, next, last);
        }
        rest = rest.map(|sheet| match sheet.split_first() {
            Some((first, others)) if first.last == last => others,
            _ => sheet,
        });
        next = last.checked_add(1).unwrap_or(1);
    }
    found.into_iter().map(|(why, ports)| Difference { why, ports }).collect()
}

/// Adds ports to those before.
fn add(ports: &mut Vec<Ports>, of: &Stretch, first: u16, last: u16) {
    let Some(protocol) = of.protocol else { return ports.push(Ports::None) };
    match ports.last_mut() {
        Some(Ports::Of(known, _, end)) if *known == protocol && end.checked_add(1) == Some(first) => {
            *end = last;
        }
        _ => ports.push(Ports::Of(protocol, first, last)),
    }
}

impl Why {
    /// Why the states differ; `None`: they do not.
    fn of(old: [&Stretch; 2], new: [&Stretch; 2]) -> Option<Self> {
        let allows = |way: [&Stretch; 2]| way.iter().all(|stretch| stretch.allow);
        let allowed = allows(new);
        if allows(old) == allowed {
            return None;
        }
        let deciding = new.iter().filter(|stretch| stretch.allow == allowed).map(|stretch| stretch.by);
        Some(Self { allowed, by: deciding.filter(|by| *by != DecisionId::NOTHING).collect() })
    }
}
