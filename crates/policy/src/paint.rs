//! From the rules that match a peer to verdicts by port.
//!
//! The ports of each protocol are cut at the ends of all rules' ranges. The pieces, and one more for what has no port, are
//! *cells*; each rule, in order, paints what it reaches and nothing has painted before.

#[cfg(test)]
mod tests;

use objects::{Action, Protocol};

use crate::tables::{Interval, List, Origin, RuleId, Verdict};

/// Ports of a protocol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) protocol: Protocol,
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// What a rule reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every port, and what has none.
    All,
    /// These.
    Spans(Box<[Span]>),
}

/// A rule that matches the peer.
#[derive(Debug, Clone)]
pub(crate) struct Stroke<'a> {
    pub(crate) origin: Origin,
    pub(crate) action: Action,
    /// Whether its policy is only asked what it would do.
    pub(crate) audit: bool,
    pub(crate) rule: RuleId,
    pub(crate) reach: &'a Reach,
    /// And these ports.
    pub(crate) more: Vec<Span>,
}

/// What is not any rule's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ground {
    /// What NetworkPolicies deny that they do not allow: which rule says so, if there are any.
    pub(crate) isolated: Option<RuleId>,
    /// The same, without those that are only asked what they would do.
    pub(crate) isolated_strictly: Option<RuleId>,
    /// Whether any policy is only asked what it would do.
    pub(crate) audit: bool,
    /// Whether senders are told.
    pub(crate) reject: bool,
}

/// What becomes of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    allow: bool,
    origin: Origin,
    rule: RuleId,
}

const NOTHING: Fate = Fate { allow: true, origin: Origin::Nothing, rule: RuleId::NONE };

/// The verdicts by these rules, which come in the order in which they are asked.
pub(crate) fn paint(strokes: &[Stroke], ground: Ground) -> List {
    let cells = Cells::cut(strokes);
    let fates = cells.fates(strokes, ground.isolated, true);
    let strict =
        if ground.audit { cells.fates(strokes, ground.isolated_strictly, false) } else { Vec::new() };
    let verdict = |cell: usize| {
        let fate = fates.get(cell).copied().unwrap_or(NOTHING);
        let strict = strict.get(cell).copied();
        verdict(fate, strict, ground.reject)
    };
    cells.list(verdict)
}

fn verdict(fate: Fate, strict: Option<Fate>, reject: bool) -> Verdict {
    let Fate { allow, origin, rule } = fate;
    if allow {
        return Verdict { allow, audit: false, reject: false, origin, rule };
    }
    match strict {
        // Without those that are only asked it passes: they alone deny it.
        Some(strict) if strict.allow => Verdict { allow: true, audit: true, reject: false, origin, rule },
        // Without them it is denied as well: by what is named here.
        Some(strict) => Verdict { allow, audit: false, reject, origin: strict.origin, rule: strict.rule },
        None => Verdict { allow, audit: false, reject, origin, rule },
    }
}

/// The cells: the one without a port, and then each protocol's.
struct Cells {
    /// By protocol: where each cell begins. The first begins at 0.
    starts: [Vec<u16>; 3],
}

impl Cells {
    fn cut(strokes: &[Stroke]) -> Self {
        let mut starts = [vec![0], vec![0], vec![0]];
        for stroke in strokes {
            let own: &[Span] = if let Reach::Spans(spans) = stroke.reach { spans } else { &[] };
            for span in own.iter().chain(&stroke.more) {
                let Some(starts) = starts.get_mut(index(span.protocol)) else { continue };
                starts.push(span.first);
                starts.extend(span.last.checked_add(1));
            }
        }
        for starts in &mut starts {
            starts.sort_unstable();
            starts.dedup();
        }
        Self { starts }
    }

    fn len(&self) -> usize {
        1 + self.starts.iter().map(Vec::len).sum::<usize>()
    }

    /// The first cell of a protocol.
    fn base(&self, protocol: Protocol) -> usize {
        1 + self.starts.iter().take(index(protocol)).map(Vec::len).sum::<usize>()
    }

    /// The first cell of a span, and the one after its last.
    fn range(&self, span: &Span) -> (usize, usize) {
        let base = self.base(span.protocol);
        let Some(starts) = self.starts.get(index(span.protocol)) else { return (base, base) };
        let first = starts.partition_point(|start| *start < span.first);
        let end = starts.partition_point(|start| *start <= span.last);
        (base + first, base + end)
    }

    fn fates(&self, strokes: &[Stroke], isolated: Option<RuleId>, audited: bool) -> Vec<Fate> {
        let mut fates = vec![None; self.len()];
        for tier in [Origin::Admin, Origin::NetworkPolicy, Origin::Baseline] {
            let mut open = Open::new(&fates);
            for stroke in strokes.iter().filter(|stroke| stroke.origin == tier && (audited || !stroke.audit))
            {
                self.stroke(stroke, &mut open, &mut fates);
            }
            if let (Origin::NetworkPolicy, Some(rule)) = (tier, isolated) {
                let denied = Fate { allow: false, origin: tier, rule };
                return fates.into_iter().map(|fate| fate.unwrap_or(denied)).collect();
            }
        }
        fates.into_iter().map(|fate| fate.unwrap_or(NOTHING)).collect()
    }

    fn stroke(&self, stroke: &Stroke, open: &mut Open, fates: &mut [Option<Fate>]) {
        let fate = (stroke.action != Action::Pass).then_some(Fate {
            allow: stroke.action == Action::Accept,
            origin: stroke.origin,
            rule: stroke.rule,
        });
        let mut paint = |first, end| open.close(first, end, |cell| set(fates, cell, fate));
        let own: &[Span] = match stroke.reach {
            Reach::All => return paint(0, self.len()),
            Reach::Spans(spans) => spans,
        };
        for span in own.iter().chain(&stroke.more) {
            let (first, end) = self.range(span);
            paint(first, end);
        }
    }

    fn list(&self, verdict: impl Fn(usize) -> Verdict) -> List {
        let others = verdict(0);
        let mut intervals: Vec<Interval> = Vec::new();
        for protocol in Protocol::ALL {
            let base = self.base(protocol);
            let starts = self.starts.get(index(protocol)).map_or(&[][..], Vec::as_slice);
            for (cell, first) in starts.iter().enumerate() {
                let verdict = verdict(base + cell);
                if verdict == others {
                    continue;
                }
                // The next cell begins after 0.
                let last = starts.get(cell + 1).map_or(u16::MAX, |next| next - 1);
                match intervals.last_mut() {
                    Some(before)
                        if before.protocol == protocol
                            && before.verdict == verdict
                            && before.last.checked_add(1) == Some(*first) =>
                    {
                        before.last = last;
                    }
                    _ => intervals.push(Interval { protocol, first: *first, last, verdict }),
                }
            }
        }
        List { others, intervals: intervals.into() }
    }
}

fn set(fates: &mut [Option<Fate>], cell: usize, fate: Option<Fate>) {
    if let Some(known) = fates.get_mut(cell) {
        *known = fate;
    }
}

fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

/// Which cells are open in a tier. Each points to the next open one at or after it, by steps that get longer.
struct Open(Vec<usize>);

impl Open {
    fn new(fates: &[Option<Fate>]) -> Self {
        let next = |(cell, fate): (usize, &Option<Fate>)| if fate.is_none() { cell } else { cell + 1 };
        let mut all: Vec<usize> = fates.iter().enumerate().map(next).collect();
        all.push(fates.len());
        Self(all)
    }

    fn find(&mut self, from: usize) -> usize {
        let step = |all: &[usize], cell: usize| all.get(cell).copied().unwrap_or(cell);
        let mut found = from;
        while step(&self.0, found) != found {
            found = step(&self.0, found);
        }
        let mut cell = from;
        while cell != found {
            let next = step(&self.0, cell);
            if let Some(pointer) = self.0.get_mut(cell) {
                *pointer = found;
            }
            cell = next;
        }
        found
    }

    /// Closes the open ones of a range.
    fn close(&mut self, first: usize, end: usize, mut each: impl FnMut(usize)) {
        let mut cell = self.find(first);
        while cell < end {
            each(cell);
            if let Some(pointer) = self.0.get_mut(cell) {
                *pointer = cell + 1;
            }
            cell = self.find(cell + 1);
        }
    }
}
