use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::Observer;

/// From an answer at once to one that waited for MidoNet's database: those of the legacy project up to 10 s.
const BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    resource: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    method: &'static str,
    resource: &'static str,
}

/// An observer that keeps the metrics that midonet-kubernetes had, under its names:
/// `midonet_kube_controllers_midonet_client_request_duration_seconds`, `..._requests_total` and `..._errors_total`.
/// Clones share one state.
#[derive(Debug, Clone)]
pub struct Metrics {
    durations: Family<Answered, Histogram>,
    requests: Family<Answered, Counter>,
    errors: Family<Failed, Counter>,
}

impl Metrics {
    /// Metrics of this registry, whose prefix is empty.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("midonet_kube_controllers_midonet_client");
        let durations = Family::new_with_constructor(histogram as fn() -> Histogram);
        let metrics = Self { durations, requests: Family::default(), errors: Family::default() };
        registry.register(
            "request_duration_seconds",
            "Latency of MidoNet API call",
            metrics.durations.clone(),
        );
        registry.register("requests", "Number of MidoNet API calls", metrics.requests.clone());
        registry.register("errors", "Number of failed MidoNet API calls", metrics.errors.clone());
        metrics
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Observer for Metrics {
    fn answered(&self, method: &'static str, resource: &'static str, code: u16, took: Duration) {
        let labels = Answered { method, resource, code };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
    }

    fn failed(&self, method: &'static str, resource: &'static str) {
        self.errors.get_or_create(&Failed { method, resource }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_legacy_project() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.answered("post", "Port", 201, Duration::from_millis(20));
        metrics.failed("get", "Host");
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        let prefix = "midonet_kube_controllers_midonet_client";
        for line in [
            "requests_total{method=\"post\",resource=\"Port\",code=\"201\"} 1",
            "errors_total{method=\"get\",resource=\"Host\"} 1",
            "request_duration_seconds_count{method=\"post\",resource=\"Port\",code=\"201\"} 1",
            "request_duration_seconds_bucket{le=\"0.025\",method=\"post\",resource=\"Port\",code=\"201\"} 1",
        ] {
            assert!(page.lines().any(|found| found == format!("{prefix}_{line}")), "{line} in\n{page}");
        }
    }
}
