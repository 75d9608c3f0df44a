//! What a Pod is, as far as policies in use can tell.

use std::sync::Arc;

use crate::profiles::Port;
use crate::vocabulary::Pattern;

/// What a namespace is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Space {
    /// Its name's number, if a selector names it.
    pub(crate) name: Option<usize>,
    /// Whether its labels are known. If not, only the one with its name is there.
    pub(crate) known: bool,
    /// Its labels.
    pub(crate) labels: Pattern,
}

/// What a Pod is. Pods with equal ones are of one *kind*.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KindKey {
    /// What its namespace is.
    pub(crate) space: Arc<Space>,
    /// Its labels.
    pub(crate) labels: Pattern,
    /// Its ports whose names are in use, sorted.
    pub(crate) ports: Box<[Port]>,
}
