//! The metrics of kube-proxy that dashboards and service level objectives use, by its names.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use objects::Family as IpFamily;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFamily {
    ip_family: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: u16,
}

/// A histogram of seconds with these buckets.
#[derive(Debug, Clone)]
struct Buckets(Vec<f64>);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms = Family<ByFamily, Histogram, Buckets>;
type Times = Family<ByFamily, Gauge<f64, AtomicU64>>;

/// All of them.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    families: Vec<IpFamily>,
    programming: Histograms,
    sync: Histograms,
    queued: Times,
    applied: Times,
    healthz: Family<ByCode, Counter>,
    livez: Family<ByCode, Counter>,
}

/// From 250 ms to 5 minutes, as kube-proxy has them.
fn programming_buckets() -> Vec<f64> {
    let steps = |first: u32, step: usize, last: u32| (first..=last).step_by(step).map(f64::from);
    [0.25, 0.5]
        .into_iter()
        .chain(steps(1, 1, 59))
        .chain(steps(60, 5, 115))
        .chain(steps(120, 30, 300))
        .collect()
}

/// From 1 ms to 16 s, doubling.
fn sync_buckets() -> Vec<f64> {
    (0..15).map(|power| 0.001 * f64::from(1 << power)).collect()
}

impl Metrics {
    /// Those of these families are there from the start.
    pub(super) fn new(families: &[IpFamily]) -> Self {
        let programming = Histograms::new_with_constructor(Buckets(programming_buckets()));
        let sync = Histograms::new_with_constructor(Buckets(sync_buckets()));
        let (queued, applied) = (Times::default(), Times::default());
        let (healthz, livez) = (Family::<ByCode, Counter>::default(), Family::<ByCode, Counter>::default());
        for family in families {
            let labels = ByFamily { ip_family: family.name() };
            drop(programming.get_or_create(&labels));
            drop(sync.get_or_create(&labels));
            drop(queued.get_or_create(&labels));
            drop(applied.get_or_create(&labels));
        }
        for code in [200, 503] {
            drop(healthz.get_or_create(&ByCode { code }));
            drop(livez.get_or_create(&ByCode { code }));
        }
        let mut registry = Registry::with_prefix("kubeproxy");
        let mut seconds = |name: &str, help: &str, histograms: &Histograms| {
            registry.register_with_unit(name, help, Unit::Seconds, histograms.clone());
        };
        seconds(
            "network_programming_duration",
            "From the change of a Service's endpoints until this node's tables had it",
            &programming,
        );
        seconds("sync_proxy_rules_duration", "How long it took to apply changes", &sync);
        let mut time = |name: &str, help: &str, times: &Times| {
            registry.register_with_unit(name, help, Unit::Seconds, times.clone());
        };
        time("sync_proxy_rules_last_timestamp", "When changes were applied last", &applied);
        time("sync_proxy_rules_last_queued_timestamp", "When changes arrived last", &queued);
        registry.register("proxy_healthz", "Answers of /healthz by code", healthz.clone());
        registry.register("proxy_livez", "Answers of /livez by code", livez.clone());
        let families = families.to_vec();
        Self { registry: Mutex::new(registry), families, programming, sync, queued, applied, healthz, livez }
    }

    pub(super) fn queued(&self, now: SystemTime) {
        self.set(&self.queued, now);
    }

    pub(super) fn applied(&self, now: SystemTime, took: Duration) {
        self.set(&self.applied, now);
        for family in &self.families {
            let labels = ByFamily { ip_family: family.name() };
            self.sync.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// A change of endpoints is in the tables.
    pub(super) fn programmed(&self, family: IpFamily, took: Duration) {
        let labels = ByFamily { ip_family: family.name() };
        self.programming.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(super) fn healthz(&self, code: u16) {
        self.healthz.get_or_create(&ByCode { code }).inc();
    }

    pub(super) fn livez(&self, code: u16) {
        self.livez.get_or_create(&ByCode { code }).inc();
    }

    /// The page for Prometheus.
    pub(super) fn page(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        encode(&mut page, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(page)
    }

    fn set(&self, times: &Times, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for family in &self.families {
            times.get_or_create(&ByFamily { ip_family: family.name() }).set(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_kube_proxys_names_and_buckets() {
        let metrics = Metrics::new(&[IpFamily::V4, IpFamily::V6]);
        metrics.queued(UNIX_EPOCH + Duration::from_secs(7));
        metrics.applied(UNIX_EPOCH + Duration::from_millis(8500), Duration::from_millis(3));
        metrics.programmed(IpFamily::V6, Duration::from_millis(700));
        metrics.healthz(200);
        metrics.livez(503);
        let page = metrics.page().unwrap();
        for line in [
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"0.5\",ip_family=\"IPv6\"} 0",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"1.0\",ip_family=\"IPv6\"} 1",
            "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.002\",ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.004\",ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 8.5",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv6\"} 7.0",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 0",
            "kubeproxy_proxy_livez_total{code=\"503\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in {page}");
        }
        let buckets = programming_buckets();
        assert_eq!((buckets.len(), buckets.first(), buckets.last()), (80, Some(&0.25), Some(&300.0)));
        assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{buckets:?}");
        assert_eq!(sync_buckets().len(), 15);
    }
}
