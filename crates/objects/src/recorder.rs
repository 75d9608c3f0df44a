//! Telling Kubernetes what happened to Pods.

use std::fmt;

use serde_json::{Value, json};

use crate::event::{Event, ReportingController};
use crate::fault::Fault;
use crate::name::is_name;
use crate::server::Server;
use crate::{ApiErrors, Health, PodRef};

/// Something that happened to a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEvent {
    /// The Pod.
    pub pod: PodRef,
    /// Another one that had to do with it.
    pub related: Option<PodRef>,
    /// Whether something is wrong (the type `Warning`), or not (`Normal`).
    pub warning: bool,
    /// What was done, in CamelCase.
    pub action: &'static str,
    /// Why, in CamelCase.
    pub reason: &'static str,
    /// In words. What is longer than 1,000 bytes is cut.
    pub note: String,
}

/// Creates Events about Pods, in the name of a node's agent.
#[derive(Clone)]
pub struct Recorder {
    server: Server,
    errors: ApiErrors,
    node: String,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({})", self.node)
    }
}

impl Recorder {
    pub(crate) fn new(server: Server, health: &Health, node: &str) -> Self {
        Self { server, errors: health.api_errors().clone(), node: node.to_owned() }
    }

    /// Creates one. It is not tried again. A Pod whose name can be none has no Events.
    ///
    /// # Errors
    /// The API server did not take it, or did not answer in time.
    pub async fn record(&self, event: &PodEvent) -> Result<(), Fault> {
        let PodEvent { pod, related, warning, action, reason, note } = event;
        // Names come from a CNI call: they must not lead to another object.
        if !is_name(&pod.namespace) || !is_name(&pod.name) {
            return Ok(());
        }
        let event = Event {
            namespace: Some(&pod.namespace),
            regarding: reference(pod),
            related: related.as_ref().map_or(Value::Null, reference),
            warning: *warning,
            action,
            reason,
            note,
        };
        let created = event.create(&self.server, ReportingController::agent(&self.node)).await;
        created.inspect_err(|fault| self.errors.count(fault.verb(), fault.reason()))
    }
}

/// An ObjectReference.
fn reference(PodRef { namespace, name, uid }: &PodRef) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid})
}
