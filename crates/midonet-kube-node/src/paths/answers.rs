//! What came back of the datagrams to one node.

use plumbing::datagrams::Checksums;

/// A kind of datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A small one whose checksum is certain to be right.
    Plain,
    /// The largest one; a network device may have to complete its checksum.
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
#[derive(Debug, Default)]
pub struct Answers(Vec<(Kind, Outcome)>);

impl Kind {
    /// All, in the order in which they are sent. Where a kernel limits what it answers, it is the last ones that it does not
    /// answer: a path on which the first one is answered has no fault.
    pub(super) const ALL: [Self; 3] = [Self::Checksummed, Self::Plain, Self::Unchecked];

    pub(super) fn is_large(self) -> bool {
        self != Self::Plain
    }

    pub(super) fn checksums(self) -> Checksums {
        match self {
            Self::Plain => Checksums::Kernel,
            Self::Checksummed => Checksums::Device,
            Self::Unchecked => Checksums::Nobody,
        }
    }

    /// What stands for it in a message.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Plain => 1,
            Self::Checksummed => 2,
            Self::Unchecked => 3,
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
    /// What became of a kind; `None`: it was lost.
    pub fn get(&self, kind: Kind) -> Option<&Outcome> {
        self.0.iter().find(|(one, _)| *one == kind).map(|(_, outcome)| outcome)
    }

    /// Notes what became of a kind: what is final stays.
    pub(super) fn set(&mut self, kind: Kind, outcome: Outcome) {
        match self.0.iter_mut().find(|(one, _)| *one == kind) {
            Some((_, known)) if known.is_final() => {}
            Some((_, known)) => *known = outcome,
            None => self.0.push((kind, outcome)),
        }
    }

    /// The kinds that are to be sent again.
    pub(super) fn missing(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| !self.get(*kind).is_some_and(Outcome::is_final))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stays_and_a_refusal_does_not() {
        let mut answers = Answers::default();
        answers.set(Kind::Plain, Outcome::Refused("no route".into()));
        assert_eq!(answers.missing().count(), 3);
        answers.set(Kind::Plain, Outcome::Answered);
        answers.set(Kind::Plain, Outcome::TooBig(7));
        assert_eq!(answers.get(Kind::Plain), Some(&Outcome::Answered));
        assert_eq!(answers.missing().collect::<Vec<_>>(), [Kind::Checksummed, Kind::Unchecked]);
        for kind in Kind::ALL {
            answers.set(kind, Outcome::Answered);
        }
        assert_eq!(answers.missing().count(), 0);
    }

    #[test]
    fn every_kind_has_a_number_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(Kind::read(kind.number()), Some(kind));
        }
        assert_eq!((Kind::read(0), Kind::read(4)), (None, None));
    }
}
