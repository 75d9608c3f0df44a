//! What became of each scenario so far. No I/O.

use std::time::Duration;

use super::cause::Cause;
use super::check::{Check, Stage};
use super::report::{Failure, ScenarioResult, result};
use super::scenarios::{Known, Plan, Scenario};
use super::scene::{Family, Scene};
use super::stage::Tried;

/// A scenario, what is to be tried of it, and what came of it.
pub(super) struct Tally {
    scenario: &'static Scenario,
    pub(super) plan: Result<Plan, String>,
    passed: Vec<(Family, bool)>,
    failures: Vec<Failure>,
    took: Duration,
}

impl Tally {
    pub(super) fn new(scenario: &'static Scenario, scene: &Scene) -> Self {
        let plan = (scenario.plan)(scene);
        Self { scenario, plan, passed: Vec::new(), failures: Vec::new(), took: Duration::ZERO }
    }

    /// Whether policies decide it.
    pub(super) fn is_about_policies(&self) -> bool {
        self.scenario.name.starts_with("policy-")
    }

    /// The checks of a stage.
    pub(super) fn checks(&self, stage: Stage) -> impl Iterator<Item = &Check> {
        self.plan.iter().flat_map(|plan| &plan.checks).filter(move |check| check.stage == stage)
    }

    /// Faults that are known without a try.
    pub(super) fn known(&self) -> impl Iterator<Item = &Known> {
        self.plan.iter().flat_map(|plan| &plan.known)
    }

    /// A check was tried; the cause is that of one that failed.
    pub(super) fn add(&mut self, tried: &Tried<'_>, cause: Option<Cause>) {
        let check = tried.check;
        self.took = self.took.max(tried.took);
        self.passed.push((check.family(), tried.fault.is_none()));
        if let (Some(fault), Some(Cause { cause, remedy })) = (&tried.fault, cause) {
            let address = check.from.address(check.family());
            self.failures.push(Failure {
                family: Some(check.family()),
                protocol: check.opened.port().map(|(protocol, _)| protocol),
                from: address.map_or_else(|| check.from.to_string(), |address| check.from.at(address)),
                to: check.to.clone(),
                expected: check.expect.to_string(),
                observed: fault.clone(),
                cause,
                remedy,
            });
        }
    }

    /// A fault that is known without a try has that cause.
    pub(super) fn blame(&mut self, known: &Known, Cause { cause, remedy }: Cause) {
        self.failures.push(Failure {
            family: None,
            protocol: None,
            from: known.object.clone(),
            to: String::new(),
            expected: known.expected.clone(),
            observed: known.observed.clone(),
            cause,
            remedy,
        });
    }

    pub(super) fn result(self) -> ScenarioResult {
        let milliseconds = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        result(self.scenario, self.plan.map(|_| self.passed), milliseconds, self.failures)
    }
}
