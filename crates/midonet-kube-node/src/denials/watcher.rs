//! One look at what was dropped.

use std::time::Instant;

use anyhow::Result;
use datapath::drops::{Drop, OF_POLICY};
use datapath::{Counter, Fate};
use model::Problem;
use objects::PodEvent;

use super::denial::Names;
use super::differences::{Differences, by_turns};
use super::event::event;
use super::log::{DenyLog, Limits};
use super::pending::Pending;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::config;
use crate::outcomes::{Outcome, Outcomes};
use crate::policies::Policies;

/// What was seen at the last look, and what is still to be told.
#[derive(Debug)]
pub(super) struct Watcher {
    node: String,
    differences: Differences,
    log: Option<DenyLog>,
    events: Option<(Pending, Outcomes)>,
    /// How many packets were dropped, and how many connections would have been; `None` before the first look.
    dropped: Option<u64>,
    audited: Option<u64>,
    had_audits: bool,
    /// Whether there were more at the last look: the table may have had a part of them only later.
    moved: bool,
}

/// What came of a look.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    pub(super) events: Vec<PodEvent>,
    /// Whether there is nothing to be told until other policy comes into force.
    pub(super) rests: bool,
}

impl Watcher {
    /// One that has seen nothing.
    pub(super) fn new(agent: &Agent, log: &config::DenyLog, events: bool) -> Self {
        let limits =
            log.file.as_ref().map(|path| Limits { path, size: log.size.0, files: log.files, rate: log.rate });
        let totals = agent.denials();
        Self {
            node: agent.node_name().to_owned(),
            differences: Differences::default(),
            log: limits.map(|limits| DenyLog::new(agent.node_name(), limits, &totals.lines)),
            events: events.then(|| (Pending::new(), totals.events.clone())),
            dropped: None,
            audited: None,
            had_audits: false,
            moved: false,
        }
    }

    /// Looks, writes, and says what is to be told.
    ///
    /// # Errors
    /// The kernel does not tell what was dropped.
    pub(super) fn look(&mut self, agent: &Agent) -> Result<Found> {
        let counted = self.count(agent)?;
        let moved_before = std::mem::replace(&mut self.moved, counted > 0);
        let mut found = Vec::new();
        if self.moved || moved_before || self.differences.is_first() {
            let mut rows = agent.packets()?.drops()?;
            rows.retain(|row| self.log.is_some() || row.is_of_policy());
            found = self.differences.look(rows);
        }
        let (now, clock) = (Instant::now(), Clock::now());
        let waits = self.events.as_ref().is_some_and(|(pending, _)| pending.waits());
        let names = (!found.is_empty() || waits).then(|| Names::of(agent, clock));
        let mut result = Found::default();
        if let (Some((pending, outcomes)), Some(names)) = (&mut self.events, &names) {
            pending.add(&found, now, |address| names.local(address).cloned());
            let (due, limited) = pending.due(now, |pod, address| names.local(address) == Some(pod));
            outcomes.add(Outcome::Limited, limited);
            for one in due {
                if let Some((row, packets)) = one.sum.most() {
                    let denial = names.denial(&row, packets);
                    result.events.push(event(&self.node, one.pod, &denial, &one.sum));
                }
            }
        }
        if let Some(log) = &mut self.log {
            by_turns(&mut found);
            let name = |row: &Drop, packets| match &names {
                Some(names) => names.denial(row, packets),
                None => Names::of(agent, clock).denial(row, packets),
            };
            log.write(&found, &mut self.differences, counted, (now, clock.wall), name);
            result.problems.extend(log.problem());
        }
        let waits = self.events.as_ref().is_some_and(|(pending, _)| pending.waits());
        let denies_nothing = agent.policies().is_none_or(Policies::denies_nothing);
        result.rests = self.log.is_none() && !self.moved && !waits && denies_nothing;
        Ok(result)
    }

    /// How many packets were dropped since the last look, connections that would have been included. Without a log those of
    /// policy count.
    fn count(&mut self, agent: &Agent) -> Result<u64> {
        let counters = agent.packets()?.counters()?;
        let counts = |counter: &&Counter| {
            counter.fate == Fate::Drop && (self.log.is_some() || OF_POLICY.contains(&counter.name))
        };
        let dropped = counters.iter().filter(counts);
        let dropped = dropped.fold(0u64, |sum, counter| sum.saturating_add(counter.packets));
        let since = |before: Option<u64>, now: u64| before.map_or(0, |before| now.saturating_sub(before));
        let mut counted = since(self.dropped.replace(dropped), dropped);
        let Some(policies) = agent.policies() else { return Ok(counted) };
        // Each rule's counter is read, so this is done only where a policy is on trial, or just was.
        let has_audits = policies.has_audits();
        if std::mem::replace(&mut self.had_audits, has_audits) || has_audits || self.audited.is_none() {
            let verdicts = policies.verdicts(agent.packets()?.policy())?;
            let audited = verdicts.values().fold(0u64, |sum, counts| sum.saturating_add(counts.audited));
            counted = counted.saturating_add(since(self.audited.replace(audited), audited));
        }
        Ok(counted)
    }
}
