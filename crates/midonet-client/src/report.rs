use std::fmt;

use midonet::Kind;

use crate::Error;

/// What became of resources, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// MidoNet did not have them and has them now.
    pub created: usize,
    /// MidoNet had them with other content, and has this content now.
    pub replaced: usize,
    /// MidoNet had them already. Of a chain only that it exists is known.
    pub unchanged: usize,
    /// MidoNet had them and has them no more.
    pub removed: usize,
    /// MidoNet did not have them when they were to be removed.
    pub absent: usize,
    /// The requests that it took, logins and requests without an answer included.
    pub requests: usize,
}

impl Report {
    /// Whether anything in MidoNet is different now.
    pub fn has_changes(&self) -> bool {
        self.created + self.replaced + self.removed > 0
    }
}

/// One resource could not be pushed or removed, and those after it were not pushed.
#[derive(Debug)]
pub struct PushError {
    /// The place of the resource in the slice.
    pub index: usize,
    /// Its kind.
    pub kind: Kind,
    /// Why. [`Error::class`] says what to do.
    pub error: Error,
    /// What was done before.
    pub report: Report,
}

impl fmt::Display for PushError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "resource {} ({}): {}", self.index, self.kind, self.error)
    }
}

impl std::error::Error for PushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
