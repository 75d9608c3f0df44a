//! What a node serves of Services, in numbers.

use model::Model;
use nodeapi::v1;

use crate::agent::Agent;

/// How many Services are served, and how full the tables are; `None`: this agent leaves Services to another proxy.
pub(super) fn summary(agent: &Agent) -> Option<v1::ServiceSummary> {
    if !agent.backend().serves_services() {
        return None;
    }
    let mut summary = v1::ServiceSummary {
        tables: agent
            .backend()
            .tables()
            .into_iter()
            .map(|table| v1::Table {
                name: table.name.to_owned(),
                used: table.used,
                limit: table.limit.into(),
            })
            .collect(),
        ..v1::ServiceSummary::default()
    };
    // An agent that has just started knows none.
    agent.with_model(|model| count(model, &mut summary));
    Some(summary)
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
