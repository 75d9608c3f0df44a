//! All rules that filter: base chains of all tables, and the chains and sets that they use.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Step, Verdict};
use crate::family::Family;

/// A table: what `nft` calls its family (or which iptables made it), and its name.
pub(crate) type Table = (&'static str, String);

/// Base chains that filter, and what they lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ruleset {
    pub(crate) base: Vec<Base>,
    /// A chain that is not here is not known.
    pub(crate) chains: BTreeMap<(Table, String), Vec<Vec<Step>>>,
    pub(crate) sets: BTreeMap<(Table, String), Set>,
    /// The names of all chains: they show which program made a table.
    pub(crate) names: BTreeSet<(Table, String)>,
}

/// A chain at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) table: Table,
    pub(crate) chain: String,
    /// NF_INET_*.
    pub(crate) hook: u32,
    /// Whether its policy is to drop.
    pub(crate) drops: bool,
}

impl Base {
    /// Whether it is of iptables without nf_tables.
    pub(crate) fn is_legacy(&self) -> bool {
        self.table.0.ends_with("-legacy")
    }

    /// Whether it gets packets of a family.
    pub(crate) fn is_for(&self, family: Family) -> bool {
        self.table.0 == "inet" || self.table.0.starts_with("ip6") == (family == Family::V6)
    }
}

/// A set or map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) interval: bool,
    pub(crate) elements: BTreeMap<Vec<u8>, Element>,
    /// Some elements are not known: what is not found may be in the set all the same.
    pub(crate) partial: bool,
}

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// It ends an interval, and is not part of it.
    pub(crate) end: bool,
    /// A map's.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) verdict: Option<Verdict>,
}
