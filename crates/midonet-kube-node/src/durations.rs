//! How long calls of the plugin take.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// From an ADD on a node at rest to one that waited for an agent that was away.
const BUCKETS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What is known of calls of the plugin: from its start to the agent's part. Clones share one state.
#[derive(Debug, Clone)]
pub struct Durations {
    /// Of ADD, up to the commit of the port.
    pub add: Family<Outcome, Histogram>,
    /// Of DEL, up to the release of the port.
    pub del: Family<Outcome, Histogram>,
}

/// How a call ended, as far as the agent knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    result: Result,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Result {
    #[allow(non_camel_case_types, reason = "the label's value")]
    ok,
    #[allow(non_camel_case_types, reason = "the label's value")]
    error,
}

impl Default for Durations {
    fn default() -> Self {
        let durations = Self { add: family(), del: family() };
        for family in [&durations.add, &durations.del] {
            for result in [Result::ok, Result::error] {
                drop(family.get_or_create(&Outcome { result })); // present from the start
            }
        }
        durations
    }
}

fn family() -> Family<Outcome, Histogram> {
    Family::new_with_constructor(|| Histogram::new(BUCKETS))
}

/// Notes a call of a plugin that started then, in nanoseconds of CLOCK_MONOTONIC. A plugin of an earlier version does
/// not tell (0); its calls are not counted.
pub fn note(family: &Family<Outcome, Histogram>, began: u64, succeeded: bool) {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from) else { return };
    if let Some(took) = now.checked_sub(Duration::from_nanos(began)).filter(|_| began != 0) {
        let result = if succeeded { Result::ok } else { Result::error };
        family.get_or_create(&Outcome { result }).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn only_what_a_plugin_tells_is_counted() {
        let durations = Durations::default();
        let now = || {
            u64::try_from(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_nanos())
                .unwrap()
        };
        let before = now();
        note(&durations.add, 0, true);
        note(&durations.add, before + 3_600_000_000_000, true);
        note(&durations.add, before, true);
        note(&durations.add, before, false);
        let mut registry = Registry::default();
        registry.register("add", "", durations.add.clone());
        registry.register("del", "", durations.del.clone());
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        for (verb, result, want) in
            [("add", "ok", 1), ("add", "error", 1), ("del", "ok", 0), ("del", "error", 0)]
        {
            let line = format!("{verb}_count{{result=\"{result}\"}} {want}");
            assert!(page.contains(&line), "{line} in {page}");
        }
        let sum: f64 = page
            .lines()
            .find_map(|line| line.strip_prefix("add_sum{result=\"ok\"} "))
            .unwrap()
            .parse()
            .unwrap();
        assert!(sum <= Duration::from_nanos(now() - before).as_secs_f64());
    }
}
