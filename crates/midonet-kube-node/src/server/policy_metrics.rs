//! What Prometheus gets of policies: sums alone. Each policy's own counters are `midokube policy`'s, so that the number of
//! series does not grow with the cluster.

use anyhow::Result;
use policy::{Direction, Origin};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::summary::policy_summary;
use crate::agent::Agent;
use crate::outcomes::Outcome;
use crate::policies::words::tier_label;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    direction: &'static str,
    tier: &'static str,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    result: &'static str,
}

/// Adds the metrics of policies, if this agent enforces any.
///
/// # Errors
/// The kernel does not give the counters.
pub(super) fn register(registry: &mut Registry, agent: &Agent) -> Result<()> {
    let (Some(policies), Some(summary)) = (agent.policies(), policy_summary(agent)) else { return Ok(()) };
    let mut gauge = |name: &str, help: &str, value: u32| {
        registry.register(name, help, ConstGauge::new(u64::from(value)));
    };
    gauge("policy_complete", "Whether all objects that policy is made of are known", summary.complete.into());
    gauge("policy_in_force", "Whether all that is known of them is in force", summary.in_force.into());
    gauge("policy_generation", "The number of the change of policy that is in force", summary.generation);
    gauge("policy_sets", "Sets of verdicts: Pods of equal policy share one", summary.sets);
    gauge("policy_classes", "Classes of addresses that policies in use tell apart", summary.classes);
    gauge("policy_rules", "Rules of policies that are counted", summary.rules);
    gauge("policy_pods_policed", "Pods of this node to which a policy applies", summary.pods_policed);
    gauge(
        "policy_pods_closed",
        "Pods of this node that are closed, their policy not being known",
        summary.pods_closed,
    );
    let verdicts = policies.verdicts(agent.packets()?.policy())?;
    let decisions = Family::<Decision, Counter>::default();
    for direction in [Direction::Ingress, Direction::Egress] {
        for origin in [Origin::Admin, Origin::NetworkPolicy, Origin::Baseline] {
            let counts = verdicts.get(&(direction, origin)).copied().unwrap_or_default();
            for (verdict, count) in
                [("allow", counts.allowed), ("deny", counts.denied), ("audit", counts.audited)]
            {
                let labels = Decision { direction: direction.name(), tier: tier_label(origin), verdict };
                decisions.get_or_create(&labels).inc_by(count);
            }
        }
    }
    registry.register(
        "policy_decisions",
        "What policies decided: connections that passed, packets that were dropped, connections that would have been \
         dropped but for an audit",
        decisions,
    );
    let totals = agent.denials();
    for (name, help, outcomes) in [
        ("deny_log_lines", "Lines of the deny log, and what became of them", &totals.lines),
        (
            "policy_events",
            "Events about Pods of what policies denied, and what became of them",
            &totals.events,
        ),
    ] {
        let family = Family::<Told, Counter>::default();
        for outcome in Outcome::ALL {
            family.get_or_create(&Told { result: outcome.name() }).inc_by(outcomes.get(outcome));
        }
        registry.register(name, help, family);
    }
    registry.register_with_unit(
        "policy_apply_duration",
        "From when a change of policy, a label or an address was known here until it was in force",
        Unit::Seconds,
        policies.durations(),
    );
    Ok(())
}
