//! What of the model's changes is to be told once the kernel has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Changes, Desired, ServicePortKey};
use objects::{Family, Protocol};

use super::state::HealthChecks;

/// A Service's part in one family.
type Part = (Arc<str>, Family);

/// Changes that are not applied yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Whether all Services are known.
    pub(super) complete: bool,
    /// All Services with a port for health checks, if one of them changed.
    pub(super) checks: Option<HealthChecks>,
    /// When the endpoints of changed Services changed last, in milliseconds since 1970.
    triggered: BTreeMap<Part, i64>,
    gone: Vec<Arc<str>>,
}

/// The newest change of each Service's endpoints that was counted.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<Part, i64>);

impl Pending {
    /// Takes in what changed.
    pub(super) fn take(&mut self, desired: &Desired, changes: &Changes) {
        let first = changes.services_complete && !self.complete;
        self.complete = changes.services_complete;
        if self.complete && (first || !changes.health_checks.is_empty()) {
            let checks = desired.health_checks.iter();
            self.checks = Some(checks.map(|(key, check)| (Arc::clone(key), *check)).collect());
        }
        let has_ports = |service: &Arc<str>| {
            let first = ServicePortKey {
                service: Arc::clone(service),
                port: "".into(),
                protocol: Protocol::Tcp,
                family: Family::V4,
            };
            desired.services.range(first..).next().is_some_and(|(key, _)| key.service == *service)
        };
        let removed = changes.services.removals.iter().map(|key| &key.service);
        self.gone.extend(removed.filter(|service| !has_ports(service)).cloned());
        for (key, row) in &changes.services.upserts {
            if let Some(triggered) = row.triggered {
                let newest =
                    self.triggered.entry((Arc::clone(&key.service), key.family)).or_insert(triggered);
                *newest = triggered.max(*newest);
            }
        }
    }

    /// How long each change of endpoints took until now, of those that were not counted yet: none of before the agent's start,
    /// and no deletion.
    pub(super) fn durations(
        &mut self,
        counted: &mut Counted,
        started: SystemTime,
        now: SystemTime,
    ) -> Vec<(Family, Duration)> {
        for service in std::mem::take(&mut self.gone) {
            for family in Family::ALL {
                counted.0.remove(&(Arc::clone(&service), family));
            }
        }
        let news = |((service, family), triggered): (Part, i64)| {
            let at = UNIX_EPOCH + Duration::from_millis(triggered.try_into().ok()?);
            let last = (at > started).then(|| counted.0.insert((service, family), triggered))?;
            // The controller manager's clock may be ahead.
            last.is_none_or(|last| last < triggered)
                .then(|| (family, now.duration_since(at).unwrap_or_default()))
        };
        std::mem::take(&mut self.triggered).into_iter().filter_map(news).collect()
    }
}

#[cfg(test)]
mod tests;
