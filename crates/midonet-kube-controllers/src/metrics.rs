//! Metrics: those of midonet-kubernetes under its names, and this program's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use midonet_client::Metrics as Client;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use translation::Reason;

use crate::reconciler::Load;

/// What all names begin with.
const PREFIX: &str = "midonet_kube_controllers";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Written {
    verb: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pushed {
    operation: &'static str,
    result: &'static str,
}

/// All of them. Clones share one state.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Those of requests to MidoNet.
    pub client: Client,
    leader: Gauge,
    translations: Family<State, Gauge>,
    owners: Family<State, Gauge>,
    problems: Family<Why, Gauge>,
    invalid: Family<Of, Gauge>,
    writes: Family<Written, Counter>,
    pushes: Family<Pushed, Counter>,
    events: Family<State, Counter>,
    lost: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let client = Client::register(&mut registry);
        let own = registry.sub_registry_with_prefix(PREFIX);
        let mut metrics = Self {
            registry: Arc::default(),
            client,
            leader: Gauge::default(),
            translations: Family::default(),
            owners: Family::default(),
            problems: Family::default(),
            invalid: Family::default(),
            writes: Family::default(),
            pushes: Family::default(),
            events: Family::default(),
            lost: Counter::default(),
        };
        own.register("leader", "Whether this program works (1) or waits (0)", metrics.leader.clone());
        let help = "Translations: all that there are, those that MidoNet has, those that are to be pushed now, those that \
                    wait after a failure, those whose last push failed";
        own.register("translations", help, metrics.translations.clone());
        let help = "Owners of Translations: those that are to be converted or written, those whose last write failed";
        own.register("owners", help, metrics.owners.clone());
        own.register(
            "object_problems",
            "What is wrong with objects now, by reason",
            metrics.problems.clone(),
        );
        own.register("invalid_objects", "Objects that cannot be read, by kind", metrics.invalid.clone());
        own.register("translation_writes", "Writes of Translations and Nodes", metrics.writes.clone());
        own.register("pushes", "Translations that were pushed to MidoNet or removed", metrics.pushes.clone());
        own.register("events", "Events, created or left out", metrics.events.clone());
        own.register("midonet_losses", "How often MidoNet had lost everything", metrics.lost.clone());
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// The page, in OpenMetrics' text format.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // A string takes everything.
        let _ = encode(&mut page, &self.registry);
        page
    }

    /// Whether this program works now.
    pub fn set_leader(&self, works: bool) {
        self.leader.set(works.into());
    }

    /// What is to be done.
    pub fn set_load(&self, load: &Load) {
        let set = |family: &Family<State, Gauge>, state, value: usize| {
            family.get_or_create(&State { state }).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.translations, "all", load.translations);
        set(&self.translations, "pushed", load.pushed);
        set(&self.translations, "ready", load.pushes);
        set(&self.translations, "waiting", load.waiting);
        set(&self.translations, "failing", load.failing);
        set(&self.owners, "pending", load.owners);
        set(&self.owners, "failing", load.failing_owners);
    }

    /// What is wrong with objects, by reason.
    pub fn set_problems(&self, counts: &BTreeMap<Reason, i64>) {
        for reason in Reason::ALL {
            let count = counts.get(&reason).copied().unwrap_or(0);
            self.problems.get_or_create(&Why { reason: reason.name() }).set(count);
        }
    }

    /// How many objects of a kind cannot be read.
    pub fn set_invalid(&self, kind: &'static str, count: usize) {
        self.invalid.get_or_create(&Of { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A write.
    pub fn wrote(&self, verb: &'static str, result: &'static str) {
        self.writes.get_or_create(&Written { verb, result }).inc();
    }

    /// A push or removal.
    pub fn pushed(&self, operation: &'static str, result: &'static str) {
        self.pushes.get_or_create(&Pushed { operation, result }).inc();
    }

    pub(crate) fn event_created(&self) {
        self.events.get_or_create(&State { state: "created" }).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events.get_or_create(&State { state: "left_out" }).inc();
    }

    /// MidoNet had lost everything.
    pub fn midonet_lost(&self) {
        self.lost.inc();
    }
}
