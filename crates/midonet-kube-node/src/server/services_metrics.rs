//! What Prometheus gets of Services and connections: sums alone. A Service's own counters are `midokube services`'s, so
//! that the number of series does not grow with the cluster.

use anyhow::Result;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::summary::summary;
use crate::agent::Agent;
use crate::protocols::PROTOCOLS;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connections {
    protocol: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Table {
    table: &'static str,
}

/// The kinds of connections: those whose packets are not translated, and those through a Service or a host port.
const KINDS: [(bool, &str); 2] = [(false, "direct"), (true, "service")];

/// Adds the metrics of connections and, if this agent serves Services, theirs; none if another program carries packets.
///
/// # Errors
/// The kernel does not give the counters.
pub(super) fn register(registry: &mut Registry, agent: &Agent) -> Result<()> {
    let Ok(backend) = agent.packets() else { return Ok(()) };
    let sweep = backend.swept();
    let connections = Family::<Connections, Gauge>::default();
    for ((number, protocol), (translated, kind)) in
        PROTOCOLS.into_iter().flat_map(|protocol| KINDS.map(|kind| (protocol, kind)))
    {
        let entries = sweep.entries.get(&(number, translated)).copied().unwrap_or_default();
        // A translated connection has an entry for each direction.
        let count = if translated { entries.div_ceil(2) } else { entries };
        connections.get_or_create(&Connections { protocol, kind }).set(count.try_into()?);
    }
    registry.register("connections", "Tracked connections, as of the last sweep", connections);

    let (used, limits) = (Family::<Table, Gauge>::default(), Family::<Table, Gauge>::default());
    for table in backend.tables() {
        let labels = Table { table: table.name };
        used.get_or_create(&labels).set(table.used.try_into()?);
        limits.get_or_create(&labels).set(table.limit.into());
    }
    registry.register("table_entries", "Entries of the datapath's tables of connections and Services", used);
    registry.register("table_limit", "How many entries those tables have space for", limits);

    let Some(summary) = summary(agent) else { return Ok(()) };
    let mut gauge = |name: &str, help: &str, value: u32| {
        registry.register(name, help, ConstGauge::new(u64::from(value)));
    };
    gauge("services", "Services that are served", summary.services);
    gauge("service_ports", "Their ports, one for each port, protocol and family", summary.ports);
    gauge("service_backends", "Endpoints in use, counted for each port", summary.backends);
    gauge(
        "service_ports_without_backends",
        "Ports of Services without any endpoint that can be used",
        summary.ports_without_backends,
    );
    let totals = backend.service_totals()?;
    let mut counter =
        |name: &str, help: &str, value: u64| registry.register(name, help, ConstCounter::new(value));
    counter(
        "service_connections",
        "Connections through Services and host ports that got a backend",
        totals.connections,
    );
    counter(
        "service_connections_refused",
        "Connections to Services and host ports that got none",
        totals.refused,
    );
    Ok(())
}
