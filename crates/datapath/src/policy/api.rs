//! What the agent does with policy.

use std::collections::HashMap;

use crate::api::Datapath;
use crate::error::Result;
use crate::services::TableUsage;

use super::found::counters;
use super::types::{Change, Counts, Found, Question, State};

impl Datapath {
    /// Brings a change into force, with all that former ones were not able to: everything at once, or nothing. All
    /// connections are judged again.
    ///
    /// What was in force before a restart of the agent stays so until the first change, which has to say everything
    /// ([`Change::replace`]).
    ///
    /// # Errors
    ///
    /// [`Error::PolicyFull`](crate::Error::PolicyFull): it does not fit. [`Error::Policy`](crate::Error::Policy): it cannot
    /// be right; such a change is not tried again. Or the kernel refused. What was in force stays, and the next call tries
    /// again.
    pub fn apply_policy(&mut self, change: &Change) -> Result<()> {
        self.policies.apply(change, &mut self.ports, &mut self.config)
    }

    /// Whether a change would fit beside all that former ones were not able to bring into force. It changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::PolicyFull`](crate::Error::PolicyFull): it does not. [`Error::Policy`](crate::Error::Policy): it cannot be
    /// right.
    pub fn check_policy_space(&self, change: &Change) -> Result<()> {
        self.policies.check_change(change)
    }

    /// Whether something is wanted that is not in force.
    pub fn is_policy_pending(&self) -> bool {
        self.policies.pending.is_some()
    }

    /// Has everything pass, and forgets all policy.
    ///
    /// # Errors
    ///
    /// If a map cannot be written.
    pub fn policy_off(&mut self) -> Result<()> {
        self.policies.turn_off(&mut self.ports, &mut self.config)
    }

    /// How far policy in the kernel is. Who numbers anew begins above that.
    pub fn policy_state(&self) -> State {
        self.policies.highest
    }

    /// How often each rule decided since it is in force, of all CPUs together.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn policy_counts(&self) -> Result<HashMap<u32, Counts>> {
        let counters = counters(&self.policies.counts, "policy_counts")?;
        let counts = counters.into_iter().map(|(rule, counter)| {
            let (allowed, denied, audited) = (counter.allowed, counter.denied, counter.audited);
            (rule, Counts { allowed, denied, audited })
        });
        Ok(counts.collect())
    }

    /// How full the tables are.
    pub fn policy_usage(&self) -> Vec<TableUsage> {
        self.policies.usage()
    }

    /// Looks a verdict up in the kernel's tables as the programs do. `None`: no port of this node has that address.
    ///
    /// It is the verdict alone: what comes from the own node passes all the same, and so does what a Pod sends to itself.
    ///
    /// # Errors
    ///
    /// If a map cannot be read, or holds what this program does not write.
    pub fn find_verdict(&self, question: &Question) -> Result<Option<Found>> {
        self.policies.find(&self.ports, question)
    }

    /// Compares so many entries of each table of policy with the kernel's, other ones each time, and writes all again if
    /// one differs. Returns whether that was so.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written.
    pub fn check_policy(&mut self, entries: usize) -> Result<bool> {
        let whole = self.policies.is_whole(entries)?;
        if !whole {
            self.policies.restore()?;
        }
        Ok(!whole)
    }
}
