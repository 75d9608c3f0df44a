//! Events, as the API server takes them (events.k8s.io/v1).

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::server::Server;
use crate::task::CREATE_EVENTS;

/// Who reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportingController<'a> {
    /// The program (`reportingController`), such as `midonet.org/midonet-kube-node`.
    pub(crate) controller: &'static str,
    /// Which of several (`reportingInstance`): of the agent its node.
    pub(crate) instance: &'a str,
}

impl<'a> ReportingController<'a> {
    /// The agent of a node.
    pub(crate) fn agent(node: &'a str) -> Self {
        Self { controller: "midonet.org/midonet-kube-node", instance: node }
    }
}

/// The namespace for Events about objects that are in none.
const DEFAULT_NAMESPACE: &str = "default";

/// Longer messages are cut, in bytes: the note of an Event is at most 1 kB.
const LONGEST: usize = 1000;

/// An Event to be.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    /// Of what it is about; `None`: that is in no namespace.
    pub(crate) namespace: Option<&'a str>,
    /// What it is about (an ObjectReference).
    pub(crate) regarding: Value,
    /// What else it is about, or null.
    pub(crate) related: Value,
    /// Whether something is wrong.
    pub(crate) warning: bool,
    /// What was done, in CamelCase.
    pub(crate) action: &'a str,
    /// Why, in CamelCase.
    pub(crate) reason: &'a str,
    /// In words.
    pub(crate) note: &'a str,
}

impl Event<'_> {
    /// Creates it, in the name of a program.
    pub(crate) async fn create(
        &self,
        server: &Server,
        reporter: ReportingController<'_>,
    ) -> Result<(), Fault> {
        let ReportingController { controller, instance } = reporter;
        let program = controller.rsplit('/').next().unwrap_or(controller);
        let namespace = self.namespace.unwrap_or(DEFAULT_NAMESPACE);
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"generateName": format!("{program}-"), "namespace": namespace},
            "eventTime": humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            "type": if self.warning { "Warning" } else { "Normal" },
            "action": self.action,
            "reason": self.reason,
            "note": cut(self.note.to_owned()),
            "regarding": self.regarding,
            "related": self.related,
            "reportingController": controller,
            // At most 128 characters.
            "reportingInstance": instance.chars().take(128).collect::<String>(),
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        server.answer(CREATE_EVENTS, server.post(&path, &event)).await
    }
}

/// Not longer than an Event's note may be.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST - 3));
        text.push_str("...");
    }
    text
}
