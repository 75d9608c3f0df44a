//! What is wrong with objects, and how much is to be done, for Events, metrics and `/readyz`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use objects::{Health, InvalidObjects, ObjectEvent};
use tracing::warn;
use translation::Problem;

use crate::events::Events;
use crate::metrics::Metrics;
use crate::object_events;
use crate::readiness::{Readiness, Stage};
use crate::reconciler::Reconciler;
use crate::shared::Shared;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// A problem is told once it lasts for so many periods: a new Node lacks its host for a moment.
const LASTING: u32 = 5;

/// Reports, for ever.
pub async fn report(
    shared: Arc<Shared>,
    events: Events,
    metrics: Metrics,
    readiness: Readiness,
    health: Health,
) {
    let mut invalid = Invalid::default();
    let mut problems = Problems::default();
    let changes = health.invalid_objects();
    let mut seen = 0;
    metrics.set_problems(&BTreeMap::new());
    loop {
        let (load, complete) = shared.look(|reconciler| (reconciler.load(), reconciler.is_complete()));
        metrics.set_load(&load);
        readiness.set(if complete { Stage::Works } else { Stage::Reading(health.error()) });
        for event in invalid.news(&changes.borrow(), &metrics) {
            events.tell(event);
        }
        let changed = shared.look(Reconciler::problem_changes);
        if changed == seen && !problems.has_news() {
            tokio::time::sleep(PERIOD).await;
            continue;
        }
        seen = changed;
        let now: Vec<Problem> = shared.look(|reconciler| reconciler.problems().cloned().collect());
        let mut counts = BTreeMap::new();
        for problem in &now {
            *counts.entry(problem.reason).or_insert(0) += 1;
        }
        metrics.set_problems(&counts);
        for event in problems.lasting(&now) {
            events.tell(event);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Objects that cannot be read, as they were told.
#[derive(Debug, Default)]
struct Invalid {
    told: InvalidObjects,
}

impl Invalid {
    /// Those that are new, or have another problem.
    fn news(&mut self, now: &InvalidObjects, metrics: &Metrics) -> Vec<ObjectEvent> {
        if *now == self.told {
            return Vec::new();
        }
        let mut new = Vec::new();
        for (kind, objects) in now {
            metrics.set_invalid(kind, objects.len());
            for (key, problem) in objects {
                if self.told.get(kind).and_then(|told| told.get(key)) == Some(problem) {
                    continue;
                }
                let note = format!("{}; {}", problem.problem, problem.remedy);
                warn!(kind, %key, problem = note, "an object cannot be read");
                new.push(ObjectEvent {
                    api_version: api_version(kind),
                    kind,
                    key: key.clone(),
                    uid: None,
                    warning: true,
                    action: "Translate",
                    reason: "InvalidObject",
                    note,
                });
            }
        }
        for kind in self.told.keys().filter(|kind| !now.contains_key(*kind)) {
            metrics.set_invalid(kind, 0);
        }
        self.told = now.clone();
        new
    }
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "EndpointSlice" => "discovery.k8s.io/v1",
        translation::KIND => translation::API_VERSION,
        _ => "v1",
    }
}

/// Problems that were told, and for how many periods the others last.
#[derive(Debug, Default)]
struct Problems {
    told: HashSet<ObjectEvent>,
    lasting: HashMap<ObjectEvent, u32>,
}

impl Problems {
    /// Whether some do not last for long enough yet.
    fn has_news(&self) -> bool {
        !self.lasting.is_empty()
    }

    fn lasting(&mut self, now: &[Problem]) -> Vec<ObjectEvent> {
        let mut lasting = HashMap::new();
        let mut tell = Vec::new();
        let events: HashSet<ObjectEvent> = now.iter().map(object_events::of_problem).collect();
        self.told.retain(|event| events.contains(event));
        for event in events.into_iter().filter(|event| !self.told.contains(event)) {
            let periods = self.lasting.get(&event).copied().unwrap_or(0) + 1;
            if periods < LASTING {
                lasting.insert(event, periods);
            } else {
                tell.push(event);
            }
        }
        self.lasting = lasting;
        self.told.extend(tell.iter().cloned());
        tell
    }
}

#[cfg(test)]
mod tests {
    use objects::Key;
    use translation::{Object, ObjectKind, Reason};

    use super::*;

    #[test]
    fn a_problem_that_lasts_is_told_once_and_again_after_it_was_over() {
        let object = Object { kind: ObjectKind::Node, key: translation::Key::new("", "n"), uid: "u".into() };
        let problem = [Problem { object, reason: Reason::MissingHostId, message: "m".into() }];
        let mut problems = Problems::default();
        let mut told = |now: &[Problem]| problems.lasting(now).len();
        assert_eq!((1..LASTING).map(|_| told(&problem)).sum::<usize>(), 0);
        assert_eq!(told(&[]), 0);
        assert_eq!((1..LASTING).map(|_| told(&problem)).sum::<usize>(), 0);
        assert_eq!((told(&problem), told(&problem), told(&[])), (1, 0, 0));
        assert_eq!((0..LASTING).map(|_| told(&problem)).sum::<usize>(), 1);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_told_when_its_problem_is_new() {
        let mut invalid = Invalid::default();
        let metrics = Metrics::default();
        let one = |text: &str| {
            let what = objects::Invalid::field(text, "x");
            InvalidObjects::from([("Pod", [(Key::namespaced("a", "b"), what)].into())])
        };
        assert_eq!(invalid.news(&one("f"), &metrics).len(), 1);
        assert_eq!(invalid.news(&one("f"), &metrics).len(), 0);
        assert!(metrics.page().contains("invalid_objects{kind=\"Pod\"} 1"), "{}", metrics.page());
        assert_eq!(invalid.news(&one("g"), &metrics).len(), 1);
        assert_eq!(invalid.news(&InvalidObjects::new(), &metrics).len(), 0);
        assert!(metrics.page().contains("invalid_objects{kind=\"Pod\"} 0"));
    }
}
