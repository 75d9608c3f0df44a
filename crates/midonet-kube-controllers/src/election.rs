//! Who of several works: the one that holds a Lease (coordination.k8s.io/v1). Pure, but for what [`Elector`] asks.
//!
//! As client-go does it, nobody's clock is compared with another's: a Lease is held as long as somebody sees it change within its
//! duration. Its holder renews it, stops when it has not been able to for two thirds of the duration, and so has stopped before
//! another one may take over. Every write holds for the version that was read alone: of two that want the Lease one gets it.

use std::time::{Duration, Instant, SystemTime};

use objects::{Fault, Key, Resource, Writer};
use serde_json::{Value, json};

/// What the API server calls Leases.
const LEASE: Resource = Resource {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    namespaced: true,
};

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Another one waits for so long after the last change.
    pub duration: Duration,
    /// The holder stops after so long without a renewal.
    pub deadline: Duration,
    /// How often it is renewed, or looked at.
    pub period: Duration,
}

impl Terms {
    /// Those of a Lease of this duration.
    pub fn of(duration: Duration) -> Self {
        Self { duration, deadline: duration * 2 / 3, period: duration * 2 / 15 }
    }
}

/// A Lease as it was last seen.
#[derive(Debug, Clone)]
struct Seen {
    object: Value,
    at: Instant,
}

/// Asks for the Lease, and keeps it.
#[derive(Debug)]
pub struct Elector {
    writer: Writer,
    key: Key,
    identity: String,
    terms: Terms,
    seen: Option<Seen>,
}

/// What became of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is held by this program, since at least this time.
    Held(Instant),
    /// By that one.
    By(String),
    /// Somebody else changed it at this moment: whoever asks again knows.
    Unclear,
}

impl Elector {
    /// One that has asked nothing yet. The identity has to be unique.
    pub fn new(writer: Writer, namespace: &str, name: &str, identity: String, terms: Terms) -> Self {
        Self { writer, key: Key::namespaced(namespace, name), identity, terms, seen: None }
    }

    /// Who this is.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How long things take.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Takes the Lease if it is free, renews it if it is held, and else sees who has it.
    ///
    /// # Errors
    /// The API server did not answer, or does not allow it.
    pub async fn ask(&mut self) -> Result<Answer, Fault> {
        let began = Instant::now();
        let Some(object) = self.writer.get(&LEASE, &self.key).await? else {
            let created = self.writer.create(&LEASE, &self.key, &self.lease(None)).await;
            return self.took(created.map(drop), began);
        };
        let changed = self.seen.as_ref().is_none_or(|seen| record(&seen.object) != record(&object));
        let at = if changed { began } else { self.seen.as_ref().map_or(began, |seen| seen.at) };
        let holder = holder(&object).to_owned();
        let is_over = at.elapsed() > term(&object, self.terms);
        let lease = self.lease(Some(&object));
        self.seen = Some(Seen { object, at });
        if !(holder.is_empty() || holder == self.identity || is_over) {
            return Ok(Answer::By(holder));
        }
        let replaced = self.writer.replace(&LEASE, &self.key, &lease).await;
        self.took(replaced.map(drop), began)
    }

    fn took(&mut self, written: Result<(), Fault>, began: Instant) -> Result<Answer, Fault> {
        match written {
            Ok(()) => Ok(Answer::Held(began)),
            Err(fault) if fault.is_conflict() => Ok(Answer::Unclear),
            Err(fault) => Err(fault),
        }
    }

    /// Gives the Lease back, so that another one need not wait.
    ///
    /// # Errors
    /// The API server did not take it.
    pub async fn release(&mut self) -> Result<(), Fault> {
        let Some(mut object) = self.writer.get(&LEASE, &self.key).await? else { return Ok(()) };
        if holder(&object) != self.identity {
            return Ok(());
        }
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("holderIdentity".into(), "".into());
            spec.insert("leaseDurationSeconds".into(), 1.into());
        }
        self.writer.replace(&LEASE, &self.key, &object).await.map(drop)
    }

    /// The Lease in this program's name, in the place of that one.
    fn lease(&self, before: Option<&Value>) -> Value {
        let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let spec = |field: &str| before.and_then(|before| before.get("spec")?.get(field));
        let keeps = before.is_some_and(|before| holder(before) == self.identity);
        let transitions = spec("leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
        let acquired = spec("acquireTime").filter(|_| keeps).cloned().unwrap_or_else(|| now.clone().into());
        let version = before.and_then(|before| before.get("metadata")?.get("resourceVersion")).cloned();
        let mut metadata = json!({"name": self.key.name(), "namespace": self.key.namespace()});
        if let (Some(version), Some(fields)) = (version, metadata.as_object_mut()) {
            fields.insert("resourceVersion".into(), version);
        }
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": self.terms.duration.as_secs(),
                "acquireTime": acquired,
                "renewTime": now,
                "leaseTransitions": transitions + u64::from(before.is_some() && !keeps),
            },
        })
    }
}

fn holder(lease: &Value) -> &str {
    lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default()
}

/// What its holder changes whenever it renews it.
fn record(lease: &Value) -> (Option<&Value>, Option<&Value>) {
    (lease.pointer("/spec/holderIdentity"), lease.pointer("/spec/renewTime"))
}

/// For how long its holder holds it: what it says itself counts, in case it has other settings.
fn term(lease: &Value, terms: Terms) -> Duration {
    let said = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
    said.map_or(terms.duration, Duration::from_secs).max(terms.duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_renew_stops_before_another_may_take_over() {
        for seconds in [3, 15, 600] {
            let terms = Terms::of(Duration::from_secs(seconds));
            assert!(terms.deadline + terms.period < terms.duration, "{terms:?}");
            assert!(terms.period * 4 < terms.deadline, "{terms:?}: it is tried more than once");
        }
    }

    #[test]
    fn the_longer_term_counts() {
        let terms = Terms::of(Duration::from_secs(15));
        let of = |seconds: u64| term(&json!({"spec": {"leaseDurationSeconds": seconds}}), terms).as_secs();
        assert_eq!((of(60), of(5), term(&json!({}), terms).as_secs()), (60, 15, 15));
    }
}
