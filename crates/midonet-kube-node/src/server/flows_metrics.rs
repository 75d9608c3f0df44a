//! What Prometheus gets of flows: sums alone.

use anyhow::Result;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::agent::Agent;
use crate::outcomes::Outcome;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    result: &'static str,
}

/// Adds the metrics of flows, if they are recorded.
///
/// # Errors
/// The kernel does not tell how many events there were.
pub(super) fn register(registry: &mut Registry, agent: &Agent) -> Result<()> {
    let Some(flows) = agent.flows() else { return Ok(()) };
    let (totals, (kept, space, dropped)) = (flows.totals()?, flows.sizes());
    let events = Family::<Told, Counter>::default();
    for (result, count) in [
        ("sent", totals.made.saturating_sub(totals.lost())),
        ("over_budget", totals.over),
        ("no_space", totals.full),
    ] {
        events.get_or_create(&Told { result }).inc_by(count);
    }
    registry.register("flow_events", "Events of flows in the kernel, and what became of them", events);
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    registry.register("flows_kept", "Flows in the agent's memory", ConstGauge::new(number(kept)));
    registry.register("flows_space", "How many flows are kept at most", ConstGauge::new(number(space)));
    registry.register(
        "flows_dropped",
        "Flows that had to go for others before their hour was over",
        ConstCounter::new(dropped),
    );
    let lines = Family::<Told, Counter>::default();
    for outcome in Outcome::ALL {
        lines.get_or_create(&Told { result: outcome.name() }).inc_by(flows.lines().get(outcome));
    }
    registry.register("flow_log_lines", "Lines of the file of flows, and what became of them", lines);
    let sent = Family::<Told, Counter>::default();
    for outcome in Outcome::ALL {
        sent.get_or_create(&Told { result: outcome.name() }).inc_by(flows.sent().get(outcome));
    }
    registry.register(
        "flow_otlp_records",
        "Flows for the OpenTelemetry collector, and what became of them",
        sent,
    );
    Ok(())
}
