//! Lists of verdicts as both states have them: equal ones have equal numbers.

use std::collections::HashMap;
use std::sync::Arc;

use objects::Protocol;

use super::change::Decision;
use crate::tables::{List, RuleId, RuleName, Verdict};

/// The number of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SheetId(u32);

impl SheetId {
    /// Of the one by which everything passes, because no policy says anything.
    pub(super) const OPEN: Self = Self(0);
}

/// The number of what decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DecisionId(u32);

impl DecisionId {
    /// No policy says anything.
    pub(super) const NOTHING: Self = Self(0);
}

/// What becomes of neighbouring ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stretch {
    /// `None`: what has no ports.
    pub(super) protocol: Option<Protocol>,
    /// The last port. The first is the one after the stretch before, or 1.
    pub(super) last: u16,
    pub(super) allow: bool,
    pub(super) by: DecisionId,
}

/// What becomes of what has no ports, and then of all ports of each protocol, without gaps.
pub(super) type Sheet = Arc<[Stretch]>;

/// All sheets.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    numbers: HashMap<Sheet, SheetId>,
    /// With each the one by which the same passes, without what decides.
    all: Vec<(Sheet, SheetId)>,
    decisions: HashMap<Decision, DecisionId>,
    by_number: Vec<Decision>,
}

impl Sheets {
    /// The open one.
    pub(super) fn new() -> Self {
        let mut sheets = Self::default();
        let open = |protocol| Stretch { protocol, last: u16::MAX, allow: true, by: DecisionId::NOTHING };
        sheets.add(scopes().map(open).collect());
        sheets
    }

    /// The sheet of a list, whose rules have these names.
    pub(super) fn of(&mut self, list: &List, name: impl Fn(RuleId) -> Option<Arc<RuleName>>) -> SheetId {
        let mut sheet = Vec::new();
        let mut decide = |verdict: &Verdict| {
            let rule = name(verdict.rule);
            rule.map_or(DecisionId::NOTHING, |rule| self.decide(Decision { rule, audit: verdict.audit }))
        };
        let others = decide(&list.others);
        for protocol in scopes() {
            // `None`: no port is left.
            let mut next = Some(1);
            for interval in list.intervals.iter().filter(|interval| Some(interval.protocol) == protocol) {
                if next.is_some_and(|next| interval.first > next) {
                    let last = interval.first - 1;
                    push(&mut sheet, Stretch { protocol, last, allow: list.others.allow, by: others });
                }
                if interval.last > 0 {
                    let (allow, by) = (interval.verdict.allow, decide(&interval.verdict));
                    push(&mut sheet, Stretch { protocol, last: interval.last, allow, by });
                }
                next = interval.last.checked_add(1);
            }
            if next.is_some() {
                push(&mut sheet, Stretch { protocol, last: u16::MAX, allow: list.others.allow, by: others });
            }
        }
        self.add(sheet)
    }

    fn decide(&mut self, decision: Decision) -> DecisionId {
        let next = self.by_number.len() + 1;
        *self.decisions.entry(decision).or_insert_with_key(|decision| {
            self.by_number.push(decision.clone());
            DecisionId(number(next))
        })
    }

    fn add(&mut self, sheet: Vec<Stretch>) -> SheetId {
        let sheet: Sheet = sheet.into();
        if let Some(known) = self.numbers.get(&sheet) {
            return *known;
        }
        let mut plain = Vec::new();
        sheet.iter().for_each(|stretch| push(&mut plain, Stretch { by: DecisionId::NOTHING, ..*stretch }));
        let plain = (*plain != *sheet).then(|| self.add(plain));
        let id = SheetId(number(self.all.len()));
        self.numbers.insert(Arc::clone(&sheet), id);
        self.all.push((sheet, plain.unwrap_or(id)));
        id
    }

    /// A sheet.
    pub(super) fn get(&self, id: SheetId) -> &[Stretch] {
        self.all.get(id.0 as usize).map_or(&[], |(sheet, _)| sheet)
    }

    /// The sheet by which the same passes, without what decides.
    pub(super) fn plain(&self, id: SheetId) -> SheetId {
        self.all.get(id.0 as usize).map_or(id, |(_, plain)| *plain)
    }

    /// What decides.
    pub(super) fn decision(&self, id: DecisionId) -> Option<&Decision> {
        self.by_number.get((id.0 as usize).checked_sub(1)?)
    }
}

/// Adds a stretch, or makes the last one longer.
fn push(sheet: &mut Vec<Stretch>, stretch: Stretch) {
    match sheet.last_mut() {
        Some(before)
            if (before.protocol, before.allow, before.by)
                == (stretch.protocol, stretch.allow, stretch.by) =>
        {
            before.last = stretch.last;
        }
        _ => sheet.push(stretch),
    }
}

/// What has no ports, and the protocols.
fn scopes() -> impl Iterator<Item = Option<Protocol>> {
    std::iter::once(None).chain(Protocol::ALL.map(Some))
}

/// There are not so many: each takes memory.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
