//! The page for Prometheus, made anew from the agent's state on every visit.

use anyhow::Result;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::agent::Agent;
use crate::leaks::Kind;
use crate::status;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verdict: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Repair {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Leak {
    what: &'static str,
}

/// The page.
///
/// # Errors
/// The kernel does not give its links or the datapath's counters.
pub fn page(agent: &Agent) -> Result<String> {
    let status = status::report(agent)?;
    let about = status.agent.unwrap_or_default();
    let mut registry = Registry::with_prefix("midonet_kube_node");
    let mut gauge =
        |name: &str, help: &str, value: u64| registry.register(name, help, ConstGauge::new(value));
    gauge("ready", "Whether Pods can be served", about.ready.into());
    gauge("source_healthy", "Whether objects arrive from their source", about.source_error.is_empty().into());
    let from_disk = about.objects_from_disk_seconds.is_some().into();
    gauge(
        "objects_from_disk",
        "Whether the objects are those kept on disk, the source being away",
        from_disk,
    );
    gauge("ports", "Pods' ports that are committed", count(&status.ports));
    gauge("peers", "Other nodes that tunnels lead to", count(&status.peers));
    gauge(
        "pending_annotations",
        "Pods whose annotations still have to be written",
        about.pending_annotations,
    );

    let repairs = Family::<Repair, Counter>::default();
    for (what, count) in agent.repairs().all() {
        repairs.get_or_create(&Repair { what }).inc_by(count);
    }
    registry.register("repairs", "What was put back after something else had removed or changed it", repairs);

    let leaks = Family::<Leak, Gauge>::default();
    let found = agent.leaks().leaks;
    for kind in Kind::ALL {
        let count = found.iter().filter(|leak| leak.kind == kind).count();
        leaks.get_or_create(&Leak { what: kind.name() }).set(count.try_into()?);
    }
    registry.register("leaks", "What leaked and is not repaired by itself: see midokube status", leaks);

    let (packets, bytes) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    for counter in status.counters {
        let labels = Labels { verdict: counter.verdict, reason: counter.name };
        packets.get_or_create(&labels).inc_by(counter.packets);
        bytes.get_or_create(&labels).inc_by(counter.bytes);
    }
    registry.register("datapath_packets", "Packets by what the datapath did with them and why", packets);
    registry.register_with_unit(
        "datapath",
        "Bytes by what the datapath did with them and why",
        Unit::Bytes,
        bytes,
    );
    let refused = Family::<Refusal, Counter>::default();
    refused.get_or_create(&Refusal { reason: "not_root" }).inc_by(agent.refused_strangers());
    registry.register(
        "socket_refused",
        "Connections to the agent's socket that were refused, and why",
        refused,
    );
    registry.register("uptime_seconds", "How long this agent runs", ConstCounter::new(about.uptime_seconds));

    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

fn count<T>(values: &[T]) -> u64 {
    values.len().try_into().unwrap_or(u64::MAX)
}
