//! The stages of a test: before there are policies, while they are in force, and after.

use std::time::Duration;

use anyhow::Result;

use super::cause::{Cause, of_node};
use super::check::{Check, Stage};
use super::cluster;
use super::explain::Causes;
use super::interrupt::PATIENCE;
use super::objects::policies;
use super::scene::{CLIENT, CONFINED, FAR, GUARDED, Scene};
use super::session::Sessions;
use super::site::{Site, say};
use super::stage::{self, Tried};
use super::tally::Tally;

/// No stage takes longer.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// A test that goes on.
pub(super) struct Stages<'a, 'b> {
    pub(super) site: &'a mut Site<'b>,
    pub(super) scene: &'a Scene,
    pub(super) sessions: &'a Sessions,
    pub(super) causes: &'a mut Causes,
    pub(super) tallies: &'a mut [Tally],
    /// How long what is expected may take to come true.
    pub(super) patience: Duration,
}

impl Stages<'_, '_> {
    /// Goes through all of them.
    ///
    /// # Errors
    /// It was interrupted, or the API server does not answer.
    pub(super) fn run(mut self) -> Result<()> {
        self.blame_known();
        self.stage(Stage::Before, None)?;
        let is_planned = |stage| self.tallies.iter().any(|tally| tally.checks(stage).next().is_some());
        if !is_planned(Stage::During) && !is_planned(Stage::After) {
            return Ok(());
        }
        let (nodes, own) = (self.site.nodes, self.site.namespaces.own.clone());
        let client = nodes.client();
        if self.scene.pod(FAR).is_ok() {
            self.site.interrupt.within(nodes, PATIENCE, cluster::move_endpoint(client, &own))?;
        }
        let ends = self.scene.pod(CLIENT).and_then(|client| Ok((client, self.scene.visitor()?)));
        let made = match ends {
            Ok((client, visitor)) if self.scene.abilities.policies => {
                policies(&self.site.namespaces, &client.addresses, &visitor.addresses)?.to_vec()
            }
            _ => Vec::new(),
        };
        for (stage, there) in [(Stage::During, true), (Stage::After, false)] {
            let set = cluster::set_policies(client, &own, &made, there);
            self.site.interrupt.within(nodes, PATIENCE, set)?;
            let missing = if made.is_empty() { None } else { self.wait(there)? };
            self.stage(stage, missing.as_deref())?;
        }
        Ok(())
    }

    /// What is wrong without a try.
    fn blame_known(&mut self) {
        for tally in &mut *self.tallies {
            let known: Vec<_> = tally.known().cloned().collect();
            for known in known {
                self.causes.examine(self.site.nodes);
                let cause = of_node(&known.node, &known.observed, self.causes.findings());
                tally.blame(&known, cause);
            }
        }
    }

    /// Waits until both policies are in force, or gone. Returns why one is not.
    fn wait(&mut self, there: bool) -> Result<Option<String>> {
        for name in [GUARDED, CONFINED] {
            let Ok(pod) = self.scene.pod(name) else { continue };
            let nodes = self.site.nodes;
            self.site.interrupt.check(nodes)?;
            let policy = (self.site.namespaces.own.as_str(), name);
            if let Some(why) = cluster::policies_in_force(nodes, policy, &pod.node, there) {
                let what = if there { "is not in force" } else { "is still in force" };
                return Ok(Some(format!("NetworkPolicy {name} {what} on {}: {why}", pod.node)));
            }
        }
        Ok(None)
    }

    /// Tries the checks of a stage, and asks for the causes of what fails. `policy` is what is wrong with policies themselves.
    fn stage(&mut self, stage: Stage, policy: Option<&str>) -> Result<()> {
        let checks = |(index, tally): (usize, &Tally)| {
            tally.checks(stage).map(|check| (index, check.clone())).collect::<Vec<(usize, Check)>>()
        };
        let checks: Vec<(usize, Check)> = self.tallies.iter().enumerate().flat_map(checks).collect();
        let asked = checks.iter().map(|(index, check)| (*index, check)).collect();
        let (nodes, patience) = (self.site.nodes, self.patience);
        let run = async { Ok(stage::run(self.sessions, asked, patience).await) };
        let tried = self.site.interrupt.within(nodes, LONGEST, run)?;
        let failed: Vec<&Tried<'_>> = tried.iter().filter(|one| one.fault.is_some()).collect();
        if !failed.is_empty() {
            say(&format!("{} of {} checks fail: asking why", failed.len(), tried.len()));
        }
        let mut causes = self.causes.of(nodes, &failed, &mut self.site.interrupt)?.into_iter();
        for one in &tried {
            let Some(tally) = self.tallies.get_mut(one.scenario) else { continue };
            let cause = if one.fault.is_some() { causes.next() } else { None };
            let of_policy = policy.filter(|_| tally.is_about_policies()).map(Cause::of_policy);
            tally.add(one, cause.map(|cause| of_policy.unwrap_or(cause)));
        }
        Ok(())
    }
}
