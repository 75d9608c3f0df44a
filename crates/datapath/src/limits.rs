//! How fast a Pod may be. The programs only send its packets to where they have to queue; the queues are
//! traffic control's, and somebody else's work.

use crate::layout;

/// How fast a Pod may be, seen from the Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Of what it gets, which queues at the host side of its veth pair.
    pub ingress: Option<Limit>,
    /// Of what it sends, which queues in the shaper.
    pub egress: Option<Limit>,
    /// The shaper's class for what it sends, a handle of traffic control; 0 without such a limit.
    pub class: u32,
}

/// A veth pair, one end of which has a queueing discipline with a class for each Pod that may not send
/// as fast as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaper {
    /// Where packets are sent into it, and queue.
    pub entry: u32,
    /// Where they come out: one more hook of the datapath.
    pub exit: u32,
}

/// A rate, and how much more may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Bits a second; never 0.
    pub rate: u64,
    /// Bits.
    pub burst: u64,
}

impl Limits {
    /// Why they cannot be right, if they cannot.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        if [self.ingress, self.egress].into_iter().flatten().any(|limit| limit.rate == 0) {
            return Some("it has a limit of 0 bits a second");
        }
        (self.egress.is_some() != (self.class != 0))
            .then_some("a limit of what it sends and a class go together")
    }
}

impl From<Limits> for layout::Limit {
    fn from(limits: Limits) -> Self {
        let numbers = |limit: Option<Limit>| limit.map_or((0, 0), |limit| (limit.rate, limit.burst));
        let (ingress_rate, ingress_burst) = numbers(limits.ingress);
        let (egress_rate, egress_burst) = numbers(limits.egress);
        Self { ingress_rate, ingress_burst, egress_rate, egress_burst, class: limits.class, pad: 0 }
    }
}

impl From<layout::Limit> for Limits {
    fn from(record: layout::Limit) -> Self {
        let limit = |rate, burst| (rate > 0).then_some(Limit { rate, burst });
        Self {
            ingress: limit(record.ingress_rate, record.ingress_burst),
            egress: limit(record.egress_rate, record.egress_burst),
            class: record.class,
        }
    }
}

impl layout::Limit {
    /// What its addresses' entries say of it.
    pub(crate) fn flags(&self) -> u16 {
        let flag = |rate: u64, flag: u16| if rate > 0 { flag } else { 0 };
        flag(self.ingress_rate, layout::LIMITED_INGRESS) | flag(self.egress_rate, layout::LIMITED_EGRESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Limit> = Some(Limit { rate: 8_000_000, burst: 1 << 40 });

    #[test]
    fn limits_come_back_and_are_told_to_the_programs() {
        for (limits, flags) in [
            (Limits::default(), 0),
            (Limits { ingress: LIMIT, ..Limits::default() }, 1),
            (Limits { egress: LIMIT, class: 7, ..Limits::default() }, 2),
            (Limits { ingress: LIMIT, egress: LIMIT, class: 7 }, 3),
        ] {
            let record = layout::Limit::from(limits);
            assert_eq!((Limits::from(record), record.flags(), limits.wrong()), (limits, flags, None));
        }
    }

    #[test]
    fn limits_that_cannot_be_kept() {
        let zero = Some(Limit { rate: 0, burst: 1 });
        for (limits, want) in [
            (Limits { ingress: zero, ..Limits::default() }, "0 bits a second"),
            (Limits { egress: zero, class: 7, ..Limits::default() }, "0 bits a second"),
            (Limits { egress: LIMIT, ..Limits::default() }, "go together"),
            (Limits { ingress: LIMIT, class: 7, ..Limits::default() }, "go together"),
        ] {
            assert!(limits.wrong().is_some_and(|reason| reason.contains(want)), "{limits:?}");
        }
    }
}
