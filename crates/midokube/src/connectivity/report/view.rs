//! What programs get: see docs/reference.md.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::scenarios::Scenario;
use super::super::scene::Family;
use crate::API_VERSION;
use crate::doctor::Finding;

/// A test.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::connectivity) struct View {
    api_version: &'static str,
    kind: &'static str,
    /// The namespace of the Pods; `None`: it is gone.
    pub(in crate::connectivity) namespace: Option<String>,
    /// The nodes whose Pods and processes were asked.
    pub(in crate::connectivity) nodes: Vec<String>,
    pub(in crate::connectivity) passed: usize,
    pub(in crate::connectivity) failed: usize,
    pub(in crate::connectivity) skipped: usize,
    pub(in crate::connectivity) milliseconds: u64,
    pub(in crate::connectivity) scenarios: Vec<ScenarioResult>,
    /// What doctor finds, if something fails.
    pub(in crate::connectivity) findings: Vec<Finding>,
}

/// What became of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::connectivity) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// A scenario's result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::connectivity) struct ScenarioResult {
    pub(in crate::connectivity) name: &'static str,
    pub(in crate::connectivity) what: &'static str,
    pub(in crate::connectivity) outcome: Outcome,
    /// Why it was not tried; `None`: it was.
    pub(in crate::connectivity) reason: Option<String>,
    pub(in crate::connectivity) milliseconds: u64,
    pub(in crate::connectivity) families: Vec<FamilyResult>,
    pub(in crate::connectivity) failures: Vec<Failure>,
}

/// How many of a scenario's checks of a family passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::connectivity) struct FamilyResult {
    pub(in crate::connectivity) family: Family,
    pub(in crate::connectivity) checks: usize,
    pub(in crate::connectivity) passed: usize,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::connectivity) struct Failure {
    /// `None`: it is of none.
    pub(in crate::connectivity) family: Option<Family>,
    pub(in crate::connectivity) protocol: Option<&'static str>,
    pub(in crate::connectivity) from: String,
    pub(in crate::connectivity) to: String,
    pub(in crate::connectivity) expected: String,
    pub(in crate::connectivity) observed: String,
    pub(in crate::connectivity) cause: String,
    pub(in crate::connectivity) remedy: String,
}

/// The scenarios that there are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::connectivity) struct Scenarios {
    api_version: &'static str,
    kind: &'static str,
    pub(in crate::connectivity) scenarios: Vec<Listed>,
}

/// A scenario that is not tried.
#[derive(Debug, Serialize)]
pub(in crate::connectivity) struct Listed {
    pub(in crate::connectivity) name: &'static str,
    pub(in crate::connectivity) what: &'static str,
}

impl Scenarios {
    pub(in crate::connectivity) fn new(scenarios: &[&Scenario]) -> Self {
        let listed = scenarios.iter().map(|scenario| Listed { name: scenario.name, what: scenario.what });
        Self { api_version: API_VERSION, kind: "ConnectivityScenarios", scenarios: listed.collect() }
    }
}

impl View {
    pub(in crate::connectivity) fn new(
        namespace: Option<String>,
        nodes: Vec<String>,
        milliseconds: u64,
        scenarios: Vec<ScenarioResult>,
        findings: Vec<Finding>,
    ) -> Self {
        let count = |outcome| scenarios.iter().filter(|one| one.outcome == outcome).count();
        let [passed, failed, skipped] = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(count);
        let (api_version, kind) = (API_VERSION, "ConnectivityTest");
        Self {
            api_version,
            kind,
            namespace,
            nodes,
            passed,
            failed,
            skipped,
            milliseconds,
            scenarios,
            findings,
        }
    }
}

/// The result of a scenario, from the family of each check and whether it passed; or why it was not tried.
pub(in crate::connectivity) fn result(
    scenario: &Scenario,
    tried: Result<Vec<(Family, bool)>, String>,
    milliseconds: u64,
    failures: Vec<Failure>,
) -> ScenarioResult {
    let (name, what) = (scenario.name, scenario.what);
    let mut families = BTreeMap::<Family, (usize, usize)>::new();
    for (family, passed) in tried.iter().flatten() {
        let (checks, well) = families.entry(*family).or_default();
        *checks += 1;
        *well += usize::from(*passed);
    }
    let families =
        families.into_iter().map(|(family, (checks, passed))| FamilyResult { family, checks, passed });
    let outcome = match (&tried, failures.is_empty()) {
        (Err(_), _) => Outcome::Skipped,
        (Ok(_), true) => Outcome::Passed,
        (Ok(_), false) => Outcome::Failed,
    };
    ScenarioResult {
        name,
        what,
        outcome,
        reason: tried.err(),
        milliseconds,
        families: families.collect(),
        failures,
    }
}
