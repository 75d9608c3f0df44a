//! Between the agent's words and the kernel's bytes.

use crate::layout::policy::{
    CLASS_NONE, EGRESS, INGRESS, ORIGIN_ADMIN, ORIGIN_BASELINE, ORIGIN_NETWORK_POLICY, ORIGIN_NOTHING,
    PortsKey, SetEntry, SetKey, VERDICT_AUDIT, VERDICT_DENY, VERDICT_ORIGIN, VERDICT_REJECT,
    Verdict as RawVerdict,
};
use crate::services::Protocol;

use super::types::{Direction, EntryKey, Interval, List, Origin, Verdict};

impl From<Verdict> for RawVerdict {
    fn from(verdict: Verdict) -> Self {
        let Verdict { allow, audit, reject, origin, rule } = verdict;
        let origin = match origin {
            Origin::Admin => ORIGIN_ADMIN,
            Origin::NetworkPolicy => ORIGIN_NETWORK_POLICY,
            Origin::Baseline => ORIGIN_BASELINE,
            Origin::Nothing => ORIGIN_NOTHING,
        };
        let flags =
            [(!allow, VERDICT_DENY), (allow && audit, VERDICT_AUDIT), (!allow && reject, VERDICT_REJECT)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
        Self { rule, flags: flags.fold(origin, |all, flag| all | flag) }
    }
}

impl From<RawVerdict> for Verdict {
    fn from(raw: RawVerdict) -> Self {
        let has = |flag| raw.flags & flag != 0;
        let origin = match raw.flags & VERDICT_ORIGIN {
            ORIGIN_ADMIN => Origin::Admin,
            ORIGIN_NETWORK_POLICY => Origin::NetworkPolicy,
            ORIGIN_BASELINE => Origin::Baseline,
            _ => Origin::Nothing,
        };
        let (allow, audit, reject) = (!has(VERDICT_DENY), has(VERDICT_AUDIT), has(VERDICT_REJECT));
        Self { allow, audit, reject, origin, rule: raw.rule }
    }
}

impl Direction {
    pub(super) const fn raw(self) -> u32 {
        match self {
            Self::Ingress => INGRESS,
            Self::Egress => EGRESS,
        }
    }
}

impl From<EntryKey> for SetKey {
    fn from(key: EntryKey) -> Self {
        Self { set: key.set, class: key.class.unwrap_or(CLASS_NONE), direction: key.direction.raw() }
    }
}

impl From<SetKey> for EntryKey {
    fn from(key: SetKey) -> Self {
        let direction = if key.direction == EGRESS { Direction::Egress } else { Direction::Ingress };
        Self { set: key.set, direction, class: (key.class != CLASS_NONE).then_some(key.class) }
    }
}

/// What stands where a list is looked up.
pub(super) fn entry(number: u32, list: &List) -> SetEntry {
    SetEntry { list: if list.intervals.is_empty() { 0 } else { number }, others: list.others.into() }
}

/// The key of a port, or of those that begin with the same bits.
pub(super) fn ports_key(list: u32, protocol: Protocol, port: u16, length: u32) -> PortsKey {
    let prefix_length = PortsKey::BEFORE_PORT + length;
    PortsKey { prefix_length, list, pad: 0, protocol: protocol.number(), port: port.to_be_bytes() }
}

/// The prefixes of a list.
pub(super) fn prefixes(number: u32, list: &List) -> impl Iterator<Item = (PortsKey, RawVerdict)> {
    list.intervals.iter().flat_map(move |interval| {
        let verdict = interval.verdict.into();
        split(interval)
            .map(move |(port, length)| (ports_key(number, interval.protocol, port, length), verdict))
    })
}

/// An interval as prefixes: the first port of each, and how many bits are fixed.
pub(super) fn split(interval: &Interval) -> impl Iterator<Item = (u16, u32)> {
    let (mut next, last) = (u32::from(interval.first), u32::from(interval.last));
    std::iter::from_fn(move || {
        if next > last {
            return None;
        }
        // As large as its first port is aligned, and as is left.
        let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
        let bits = aligned.min((last - next + 1).ilog2()).min(16);
        let first = u16::try_from(next).ok()?;
        next += 1 << bits;
        Some((first, 16 - bits))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICT: Verdict =
        Verdict { allow: true, audit: false, reject: false, origin: Origin::Nothing, rule: 7 };

    #[test]
    fn verdicts_come_back() {
        for origin in [Origin::Admin, Origin::NetworkPolicy, Origin::Baseline, Origin::Nothing] {
            for (allow, audit, reject) in
                [(true, false, false), (true, true, false), (false, false, false), (false, false, true)]
            {
                let verdict = Verdict { allow, audit, reject, origin, rule: 9 };
                assert_eq!(Verdict::from(RawVerdict::from(verdict)), verdict);
            }
        }
        // What makes no sense becomes what is safe.
        let denied = Verdict { allow: false, audit: true, ..VERDICT };
        assert!(!Verdict::from(RawVerdict::from(denied)).allow);
    }

    #[test]
    fn intervals_become_prefixes() {
        for (first, last, count) in [
            (0, 65_535, 1),
            (80, 80, 1),
            (0, 0, 1),
            (65_535, 65_535, 1),
            (1024, 65_535, 6),
            (10_000, 20_000, 11),
            (1, 65_535, 16),
            (1, 65_534, 30),
            (8, 7, 0),
        ] {
            let interval = Interval { protocol: Protocol::Tcp, first, last, verdict: VERDICT };
            let prefixes: Vec<_> = split(&interval).collect();
            assert_eq!(prefixes.len(), count, "{first}-{last}");
            let covered = |port: u16| {
                let has = |(start, length): &(u16, u32)| u32::from(start ^ port) >> (16 - length) == 0;
                prefixes.iter().filter(|prefix| has(prefix)).count()
            };
            for port in 0..=u16::MAX {
                assert_eq!(covered(port), usize::from((first..=last).contains(&port)), "{port}");
            }
        }
    }
}
