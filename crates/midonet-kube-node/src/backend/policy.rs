//! What enforces policy.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use anyhow::Result;
use datapath::policy::{Counts, Found, Question, State};
use policy::{Changes, LocalId, SetId};

use super::whereabouts::Whereabouts;

/// The tables of verdicts of this node's Pods.
pub trait PolicyTables: fmt::Debug + Send + Sync {
    /// Brings a change into force, with all that former ones were not able to: everything at once, or nothing. With `replace`
    /// it is all there is.
    ///
    /// # Errors
    /// It does not fit ([`datapath::Error::PolicyFull`]), or the kernel refused. What was in force stays, and the next call
    /// tries again.
    fn apply(&self, changes: Changes, replace: bool) -> Result<()>;

    /// The set with which a Pod's port is to be bound, whatever changes said of it.
    fn admit(&self, pod: LocalId, set: SetId);

    /// How far policy in the kernel is.
    fn state(&self) -> State;

    /// How often each rule decided.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn counts(&self) -> Result<HashMap<u32, Counts>>;

    /// What the kernel's tables say to a question; `None`: no Pod of this node has that address.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn find(&self, question: &Question) -> Result<Option<Found>>;

    /// Whether a change would fit into the tables. It changes nothing.
    ///
    /// # Errors
    /// It does not fit ([`datapath::Error::PolicyFull`]), or it is not one of what is in force by now.
    fn check_space(&self, changes: Changes) -> Result<()>;

    /// Who is at which address.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn whereabouts(&self) -> Result<Whereabouts>;

    /// Whether an address is one of this node's own: what comes from there is not judged.
    fn is_own(&self, address: IpAddr) -> bool;
}
