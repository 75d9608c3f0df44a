//! The page for Prometheus, made from the agent's state at most four times a second.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::Result;
use objects::{Reason, Verb};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Mutex;

use super::{flows_metrics, policy_metrics, process_metrics, services_metrics, status};
use crate::agent::Agent;
use crate::backend::Packets;
use crate::cni_config::capacity;
use crate::leak::Kind;
use crate::problems::KINDS;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verdict: &'static str,
    reason: &'static str,
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Problem {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiError {
    verb: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Range {
    family: &'static str,
    range: String,
}

/// How old a page may be: however often somebody asks, it is made this seldom.
const MAX_AGE: Duration = Duration::from_millis(250);

/// When a page was made, and the page.
type Made = (Instant, Arc<str>);

/// The page as it was last made.
#[derive(Debug, Clone, Default)]
pub(super) struct Page(Arc<Mutex<Option<Made>>>);

impl Page {
    /// The page, at most [`MAX_AGE`] old. Who asks while it is made waits for it.
    ///
    /// # Errors
    /// Those of [`page`].
    pub(super) async fn get(&self, agent: &Agent) -> Result<Arc<str>> {
        let mut cached = self.0.lock().await;
        if let Some((made, text)) = &*cached
            && made.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = agent.blocking(page).await?.into();
        *cached = Some((Instant::now(), Arc::clone(&text)));
        Ok(text)
    }
}

/// Makes the page.
///
/// # Errors
/// The kernel does not give the datapath's counters.
fn page(agent: &Agent) -> Result<String> {
    let about = status::agent_message(agent);
    let backend = agent.backend();
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
    gauge("ports", "Pods' ports that are committed", count(&backend.ports()));
    gauge("peers", "Other nodes that tunnels lead to", agent.peer_count().try_into().unwrap_or(u64::MAX));
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

    let problems = Family::<Problem, Gauge>::default();
    let known = agent.problems().all();
    for what in KINDS {
        let count = known.iter().filter(|problem| problem.what == what).count();
        problems.get_or_create(&Problem { what }).set(count.try_into()?);
    }
    registry.register("problems", "What is wrong while Pods are served: see midokube status", problems);

    let leaks = Family::<Leak, Gauge>::default();
    let found = agent.leaks().leaks;
    for kind in Kind::ALL {
        let count = found.iter().filter(|leak| leak.kind == kind).count();
        leaks.get_or_create(&Leak { what: kind.name() }).set(count.try_into()?);
    }
    registry.register("leaks", "What leaked and is not repaired by itself: see midokube status", leaks);

    let (packets, bytes) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    for counter in backend.packets().map_or_else(|| Ok(Vec::new()), Packets::counters)? {
        let labels = Labels { verdict: counter.fate.name(), reason: counter.name };
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
    refused.get_or_create(&Refusal { reason: "not_root" }).inc_by(agent.refused_unauthorized());
    registry.register(
        "socket_refused",
        "Connections to the agent's socket that were refused, and why",
        refused,
    );
    registry.register("uptime_seconds", "How long this agent runs", ConstCounter::new(about.uptime_seconds));

    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = Info::new([("version", about.version), ("kernel", kernel.trim().to_owned())]);
    registry.register("build", "The version of this agent, and the kernel that it runs on", build);
    let durations = agent.durations();
    registry.register_with_unit(
        "add_duration",
        "ADD from the plugin's start until the agent had committed the port or refused to; what fails before is not \
         seen, and setting the Pod's interface up may go on a little longer",
        Unit::Seconds,
        durations.add.clone(),
    );
    registry.register_with_unit(
        "del_duration",
        "DEL from the plugin's start until the agent had released the port; taking the interface down and giving the \
         addresses back follow",
        Unit::Seconds,
        durations.del.clone(),
    );
    let api_errors = Family::<ApiError, Counter>::default();
    for (verb, reason) in Verb::ALL.into_iter().flat_map(|verb| Reason::ALL.map(|reason| (verb, reason))) {
        let labels = ApiError { verb: verb.name(), reason: reason.name() };
        api_errors.get_or_create(&labels).inc_by(agent.api_errors().get(verb, reason));
    }
    registry.register("api_errors", "Requests to the API server that failed, and why", api_errors);
    process_metrics::register(&mut registry)?;
    register_addresses(&mut registry, agent)?;
    services_metrics::register(&mut registry, agent)?;
    policy_metrics::register(&mut registry, agent)?;
    flows_metrics::register(&mut registry, agent)?;

    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

/// How many addresses of each podCIDR Pods have; nothing if another IPAM plugin than host-local keeps them. Reads the
/// names in one directory and no file, so that its cost is that of one list, however often somebody scrapes.
fn register_addresses(registry: &mut Registry, agent: &Agent) -> Result<()> {
    let Some(directory) = agent.reservations() else { return Ok(()) };
    let network = agent.backend().status().network;
    // What cannot be listed is told with the leaks; the rest of the page does not depend on it.
    let Ok(taken) = ipam::taken(directory) else { return Ok(()) };
    let (used, free) = (Family::<Range, Gauge>::default(), Family::<Range, Gauge<f64, AtomicU64>>::default());
    for pod_cidr in network.map(|network| network.local.pod_cidrs).unwrap_or_default() {
        let family = if pod_cidr.addr().is_ipv4() { "ipv4" } else { "ipv6" };
        let labels = Range { family, range: pod_cidr.trunc().to_string() };
        let in_use = taken.iter().filter(|address| pod_cidr.contains(*address)).count();
        used.get_or_create(&labels).set(in_use.try_into()?);
        // Of IPv6 there are more than can be counted exactly, or given out.
        // A podCIDR that is too small for a Pod has none, and costs the page nothing else.
        let left = capacity(&pod_cidr).unwrap_or(0).saturating_sub(in_use as u128) as f64;
        free.get_or_create(&labels).set(left);
    }
    registry.register("addresses_used", "Addresses of this node's podCIDR that are reserved for Pods", used);
    registry.register("addresses_free", "Addresses of this node's podCIDR that are left for Pods", free);
    Ok(())
}

fn count<T>(values: &[T]) -> u64 {
    values.len().try_into().unwrap_or(u64::MAX)
}
