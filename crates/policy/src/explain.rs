//! What the judge says of single Pods and policies, and how much there is.

use std::sync::Arc;

use objects::Key;

use crate::tables::{Direction, Origin, SetId};

/// A policy that applies to a Pod of this node in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Seen from the Pod.
    pub direction: Direction,
    /// Which kind of policy.
    pub origin: Origin,
    /// Which.
    pub policy: Key,
    /// Its priority in its tier; `None` of a NetworkPolicy.
    pub priority: Option<u16>,
    /// Whether what it would deny passes: its own annotation or its namespace's says so.
    pub audit: bool,
    /// How many rules it has in this direction.
    pub rules: usize,
    /// Whether it is ever asked: no policy of the tier Baseline is where NetworkPolicies apply.
    pub asked: bool,
}

/// How much there is in the tables, and in the judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sets, without [`SetId::OPEN`] and [`SetId::CLOSED`].
    pub sets: usize,
    /// Classes, without [`crate::ClassId::OTHER`].
    pub classes: usize,
    /// Lists.
    pub lists: usize,
    /// Intervals of all lists.
    pub intervals: usize,
    /// Entries.
    pub entries: usize,
    /// Rules that have names.
    pub rules: usize,
    /// Addresses with a class of their own.
    pub addresses: usize,
    /// Blocks.
    pub blocks: usize,
    /// Peers of rules in use, equal ones once.
    pub terms: usize,
    /// What differs between Pods of all nodes, as far as policies in use see it.
    pub kinds: usize,
}

/// A set, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUsage {
    /// Which.
    pub set: SetId,
    /// How many Pods of this node have it.
    pub pods: usize,
    /// Its entries.
    pub entries: usize,
    /// The policies that it is made of, those with the most rules first.
    pub policies: Arc<[Key]>,
}
