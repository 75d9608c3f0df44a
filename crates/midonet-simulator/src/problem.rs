use std::fmt;

use midonet::Kind;
use serde::Serialize;
use uuid::Uuid;

/// What a topology does not have, because it is incomplete or contradicts something. MidoNet refuses to make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The kind's name, as in Translations.
    pub kind: &'static str,
    /// Which: an id, or what there is in place of one.
    pub which: String,
    /// Why it is left out.
    pub why: Why,
}

/// Why something is left out of a topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Why {
    /// It has no parent, and its kind needs one.
    NoParent,
    /// It refers to something that is not there.
    Missing {
        /// What that is to it.
        what: &'static str,
        /// Its id.
        id: Uuid,
    },
    /// Another one is in its place.
    Taken {
        /// The place.
        what: &'static str,
    },
    /// It says what cannot be.
    Invalid {
        /// What that is.
        what: &'static str,
    },
}

impl Problem {
    pub(crate) fn new(kind: Kind, which: &dyn fmt::Display, why: Why) -> Self {
        Self { kind: kind.name(), which: which.to_string(), why }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} is left out: ", self.kind, self.which)?;
        match &self.why {
            Why::NoParent => write!(out, "it has no parent"),
            Why::Missing { what, id } => write!(out, "its {what} {id} is not there"),
            Why::Taken { what } => write!(out, "{what} is taken by another one"),
            Why::Invalid { what } => write!(out, "{what}"),
        }
    }
}
