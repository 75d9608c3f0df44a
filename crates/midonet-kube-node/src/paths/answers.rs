//! What came back of the datagrams to one node.

use std::net::IpAddr;

/// A kind of datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A small one for the datapath.
    Small,
    /// The largest one for the datapath.
    Large,
    /// A small one for the kernel.
    Plain,
    /// The largest one for the kernel; a network device may have to complete its checksum.
    Checksummed,
    /// The same without a checksum.
    Unchecked,
}

/// What became of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived, and what was answered came back.
    Answered,
    /// It is larger than a link on the way takes: the largest packet in bytes, 0 if it is not known.
    TooBig(u32),
    /// It could not be sent, or a router refuses it: why.
    Refused(String),
}

/// What is known of each kind. What is not known was lost, in the end.
#[derive(Debug)]
pub struct Answers {
    kinds: &'static [Kind],
    outcomes: Vec<(Kind, Outcome)>,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Small, Self::Large, Self::Plain, Self::Checksummed, Self::Unchecked];

    /// Those that there are in the family of an address. One with a checksum comes before the one without: where a kernel
    /// limits what it answers, the answer to the latter is the one that is left out.
    pub(super) fn of(address: IpAddr) -> &'static [Self] {
        match address {
            IpAddr::V4(_) => &Self::ALL,
            IpAddr::V6(_) => &[Self::Small, Self::Large, Self::Plain, Self::Checksummed],
        }
    }

    pub(super) fn is_large(self) -> bool {
        !matches!(self, Self::Small | Self::Plain)
    }

    pub(super) fn is_for_datapath(self) -> bool {
        matches!(self, Self::Small | Self::Large)
    }

    /// What stands for it in a message.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Small => 1,
            Self::Large => 2,
            Self::Plain => 3,
            Self::Checksummed => 4,
            Self::Unchecked => 5,
        }
    }

    pub(super) fn read(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl Outcome {
    /// Whether sending it again could not change it.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl Answers {
    pub(super) fn new(from: IpAddr) -> Self {
        Self { kinds: Kind::of(from), outcomes: Vec::new() }
    }

    /// What became of a kind; `None`: it was lost, or is not of this family.
    pub fn get(&self, kind: Kind) -> Option<&Outcome> {
        self.outcomes.iter().find(|(one, _)| *one == kind).map(|(_, outcome)| outcome)
    }

    /// Whether there is such a kind in this family.
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Notes what became of a kind: what is final stays.
    pub(super) fn set(&mut self, kind: Kind, outcome: Outcome) {
        match self.outcomes.iter_mut().find(|(one, _)| *one == kind) {
            Some((_, known)) if known.is_final() => {}
            Some((_, known)) => *known = outcome,
            None => self.outcomes.push((kind, outcome)),
        }
    }

    /// Whether nothing is waited for any more.
    pub(super) fn are_complete(&self) -> bool {
        self.kinds.iter().all(|kind| self.get(*kind).is_some_and(Outcome::is_final))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stays_and_a_refusal_does_not() {
        let mut answers = Answers::new([10, 0, 0, 1].into());
        answers.set(Kind::Small, Outcome::Refused("no route".into()));
        answers.set(Kind::Small, Outcome::Answered);
        answers.set(Kind::Small, Outcome::TooBig(7));
        assert_eq!(answers.get(Kind::Small), Some(&Outcome::Answered));
        assert!(!answers.are_complete());
        for kind in Kind::ALL {
            answers.set(kind, Outcome::Answered);
        }
        assert!(answers.are_complete());
    }

    #[test]
    fn without_checksums_there_is_ipv4_alone() {
        let mut answers = Answers::new(std::net::Ipv6Addr::LOCALHOST.into());
        assert!(!answers.has(Kind::Unchecked) && answers.has(Kind::Checksummed));
        for kind in Kind::of(std::net::Ipv6Addr::LOCALHOST.into()) {
            answers.set(*kind, Outcome::Answered);
        }
        assert!(answers.are_complete());
    }

    #[test]
    fn every_kind_has_a_number_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::read(kind.number()), Some(kind));
        }
        assert_eq!(Kind::read(0), None);
    }
}
