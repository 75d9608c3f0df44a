//! Events about objects of any kind.

use std::fmt;

use serde_json::{Value, json};

use crate::Key;
use crate::event::{Event, ReportingController};
use crate::fault::Fault;
use crate::name::is_name;
use crate::server::Server;

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectEvent {
    /// Its `apiVersion`.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// What names it.
    pub key: Key,
    /// Its UID, if it is known.
    pub uid: Option<String>,
    /// Whether something is wrong (the type `Warning`), or not (`Normal`).
    pub warning: bool,
    /// What was done, in CamelCase.
    pub action: &'static str,
    /// Why, in CamelCase.
    pub reason: &'static str,
    /// In words. What is longer than 1,000 bytes is cut.
    pub note: String,
}

/// Creates Events about objects of any kind, in the name of a program.
#[derive(Clone)]
pub struct EventRecorder {
    server: Server,
    controller: &'static str,
    instance: String,
}

impl fmt::Debug for EventRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventRecorder({} {})", self.controller, self.instance)
    }
}

impl EventRecorder {
    pub(crate) fn new(server: Server, controller: &'static str, instance: &str) -> Self {
        Self { server, controller, instance: instance.to_owned() }
    }

    /// Creates an Event. It is not tried again. An object whose namespace can be none has no Events.
    ///
    /// # Errors
    /// The API server did not take it, or did not answer in time.
    pub async fn tell(&self, incident: &ObjectEvent) -> Result<(), Fault> {
        let ObjectEvent { api_version, kind, key, uid, warning, action, reason, note } = incident;
        let namespace = key.namespace();
        // An object that cannot be used has any name: it must not lead to another path.
        if namespace.is_some_and(|namespace| !is_name(namespace)) {
            return Ok(());
        }
        let mut regarding = json!({"apiVersion": api_version, "kind": kind, "name": key.name()});
        for (field, value) in [("namespace", namespace), ("uid", uid.as_deref())] {
            if let (Some(value), Some(fields)) = (value, regarding.as_object_mut()) {
                fields.insert(field.into(), value.into());
            }
        }
        let event =
            Event { namespace, regarding, related: Value::Null, warning: *warning, action, reason, note };
        let reporter = ReportingController { controller: self.controller, instance: &self.instance };
        event.create(&self.server, reporter).await
    }
}
