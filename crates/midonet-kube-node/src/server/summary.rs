//! What a node serves of Services, and what it enforces of policies, in numbers.

use model::Model;
use nodeapi::v1;

use crate::agent::Agent;
use crate::backend::Packets;
use crate::policies::Summary;

/// What the names of policy's tables begin with.
const POLICY: &str = "policy_";

/// How many Services are served, and how full the tables are; `None`: this agent leaves Services to another proxy.
pub(super) fn summary(agent: &Agent) -> Option<v1::ServiceSummary> {
    let packets = agent.packets().ok().filter(|packets| packets.serves_services())?;
    let tables = tables(packets, |name| !name.starts_with(POLICY));
    let mut summary = v1::ServiceSummary { tables, ..v1::ServiceSummary::default() };
    // An agent that has just started knows none.
    agent.with_model(|model| count(model, &mut summary));
    Some(summary)
}

/// What is enforced of policies; `None`: nothing.
pub(super) fn policy_summary(agent: &Agent) -> Option<v1::PolicySummary> {
    let Summary { complete, in_force, usage, policed, closed } = agent.policies()?.summary();
    let packets = agent.packets().ok()?;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(v1::PolicySummary {
        complete,
        in_force,
        generation: packets.policy().state().generation,
        sets: number(usage.sets),
        classes: number(usage.classes),
        rules: number(usage.rules),
        pods_policed: number(policed),
        pods_closed: number(closed),
        tables: tables(packets, |name| name.starts_with(POLICY)),
    })
}

/// Tables of the datapath, by their names.
fn tables(packets: &dyn Packets, is_wanted: impl Fn(&str) -> bool) -> Vec<v1::Table> {
    let all = packets.tables().into_iter().filter(|table| is_wanted(table.name));
    all.map(|table| v1::Table { name: table.name.to_owned(), used: table.used, limit: table.limit.into() })
        .collect()
}

fn count(model: &Model, summary: &mut v1::ServiceSummary) {
    let Some(desired) = model.desired() else { return };
    summary.complete = desired.services_complete;
    let mut last = None;
    for (key, port) in desired.services.iter() {
        // The rows of one Service stand together.
        summary.services += u32::from(last.replace(&key.service) != Some(&key.service));
        summary.ports += 1;
        let backends = u32::try_from(port.cluster.len()).unwrap_or(u32::MAX);
        summary.backends = summary.backends.saturating_add(backends);
        summary.ports_without_backends += u32::from(port.refuse);
    }
}
