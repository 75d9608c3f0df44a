//! The scenarios: what is tried, as data. No I/O.

mod dns;
mod node_ports;
mod nodes;
mod plan;
mod pods;
mod policies;
mod services;
mod start;
#[cfg(test)]
mod tests;

use std::iter;

pub(super) use plan::{Known, Plan, Scenario};

/// All scenarios, in the order in which they are told.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    let parts: [&[Scenario]; 7] = [
        start::SCENARIOS,
        pods::SCENARIOS,
        nodes::SCENARIOS,
        services::SCENARIOS,
        node_ports::SCENARIOS,
        dns::SCENARIOS,
        policies::SCENARIOS,
    ];
    iter::once(parts).flatten().flatten()
}
