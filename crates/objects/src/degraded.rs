//! Telling Kubernetes that a node's network is degraded: a condition of its Node while it is so, and an Event for each
//! new complaint.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::{Node as ApiNode, NodeCondition};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::event::{Event, ReportingController, cut};
use crate::fault::Fault;
use crate::server::Server;
use crate::task::{PATCH_NODE_STATUS, Task};
use crate::{ApiErrors, Health, Key, Kind, Node};

/// The type of the Node's condition. No other condition is written: Kubernetes keeps Pods off a node, and evicts those
/// that are there, for `Ready` and `NetworkUnavailable`.
const CONDITION: &str = "MidonetKubeDegraded";

/// No complaint gets another Event for so long, and what was read of the Node counts for so long: it may be a new one.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// No more Events in [`AGAIN`]. The condition and the log have the others.
const EVENTS: usize = 20;

const LIST_NODE: Task = Task::list(&Node::RESOURCE);

/// One thing that is wrong on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// What kind, in CamelCase (`reason` of a condition and an Event).
    pub reason: String,
    /// What is wrong, on which object, and what to do.
    pub message: String,
    /// The Service that the Event is about; `None`: it is about the Node.
    pub service: Option<Key>,
}

/// Writes to one Node what is wrong there.
pub struct Reporter(Option<Report>);

struct Report {
    server: Server,
    errors: ApiErrors,
    node: String,
    known: Option<Known>,
    /// Complaints that had an Event, and when.
    told: BTreeMap<Complaint, Instant>,
}

/// The Node, as it was read or written last.
struct Known {
    read: Instant,
    uid: Option<String>,
    condition: Option<Condition>,
    /// Since when its status is that.
    since: Option<String>,
}

/// What the condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    degraded: bool,
    reason: String,
    message: String,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reporter({})", self.0.as_ref().map_or("nowhere", |report| &report.node))
    }
}

impl Reporter {
    pub(crate) fn api(server: Server, health: &Health, node: &str) -> Self {
        let (errors, node) = (health.api_errors().clone(), node.to_owned());
        Self(Some(Report { server, errors, node, known: None, told: BTreeMap::new() }))
    }

    /// One without an API server: it writes nothing.
    pub(crate) fn nowhere() -> Self {
        Self(None)
    }

    /// Makes the Node's condition say this, if it does not yet, and emits an Event for each complaint that is new.
    ///
    /// # Errors
    /// The API server did not take it: the same is to be reported again, later.
    pub async fn report(&mut self, complaints: &[Complaint]) -> Result<(), Fault> {
        let Some(report) = &mut self.0 else { return Ok(()) };
        let written = report.write(complaints).await;
        written.inspect_err(|fault| report.errors.count(fault.verb(), fault.reason()))
    }
}

impl Report {
    async fn write(&mut self, complaints: &[Complaint]) -> Result<(), Fault> {
        let wanted = Condition::of(complaints);
        let known = match self.known.take().filter(|known| known.read.elapsed() < AGAIN) {
            Some(known) => known,
            None => self.read().await?,
        };
        let known = self.known.insert(known);
        if known.condition.as_ref() != Some(&wanted) {
            let turned = known.condition.as_ref().is_none_or(|now| now.degraded != wanted.degraded);
            let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            let since = known.since.clone().filter(|_| !turned).unwrap_or_else(|| now.clone());
            let path = format!("/api/v1/nodes/{}/status", self.node);
            let patch = json!({"status": {"conditions": [wanted.json(&now, &since)]}});
            // Of this type alone: a list of conditions is merged by type.
            let kind = "application/strategic-merge-patch+json";
            self.server.answer(PATCH_NODE_STATUS, self.server.patch(&path, kind, &patch)).await?;
            (known.condition, known.since) = (Some(wanted), Some(since));
        }
        let uid = known.uid.clone();
        self.tell(complaints, uid.as_deref()).await
    }

    async fn read(&self) -> Result<Known, Fault> {
        let nodes: Api<ApiNode> = Api::all(self.server.client.clone());
        let this = ListParams::default().fields(&format!("metadata.name={}", self.node));
        let found = self.server.answer(LIST_NODE, nodes.list(&this)).await?;
        let Some(node) = found.items.into_iter().next() else {
            let why = format!("there is no Node {}", self.node);
            return Err(Fault::unusable(&self.server.place, LIST_NODE, &why));
        };
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let condition = conditions.into_iter().find(|condition| condition.type_ == CONDITION);
        let since = condition.as_ref().and_then(|condition| condition.last_transition_time.as_ref());
        let since = since.and_then(|time| Some(serde_json::to_value(time).ok()?.as_str()?.to_owned()));
        let condition = condition.map(Condition::from);
        Ok(Known { read: Instant::now(), uid: node.metadata.uid, condition, since })
    }

    async fn tell(&mut self, complaints: &[Complaint], uid: Option<&str>) -> Result<(), Fault> {
        self.told.retain(|_, at| at.elapsed() < AGAIN);
        for complaint in complaints {
            if self.told.len() >= EVENTS {
                return Ok(());
            }
            if self.told.contains_key(complaint) {
                continue;
            }
            self.event(complaint, uid).create(&self.server, ReportingController::agent(&self.node)).await?;
            self.told.insert(complaint.clone(), Instant::now());
        }
        Ok(())
    }

    fn event<'a>(&self, complaint: &'a Complaint, uid: Option<&str>) -> Event<'a> {
        let namespace = complaint.service.as_ref().and_then(Key::namespace);
        let regarding = match &complaint.service {
            Some(key) => {
                json!({"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": key.name()})
            }
            None => json!({"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid}),
        };
        Event {
            namespace,
            regarding,
            related: Value::Null,
            warning: true,
            action: "Check",
            reason: &complaint.reason,
            note: &complaint.message,
        }
    }
}

impl Condition {
    fn of(complaints: &[Complaint]) -> Self {
        match complaints {
            [] => Self {
                degraded: false,
                reason: "NoProblems".into(),
                message: "midonet-kube found nothing wrong with the network of this node".into(),
            },
            [one] => Self { degraded: true, reason: one.reason.clone(), message: cut(one.message.clone()) },
            several => {
                let messages: Vec<&str> = several.iter().map(|one| one.message.as_str()).collect();
                let message = format!("{} problems: {}", several.len(), messages.join(" | "));
                Self { degraded: true, reason: "SeveralProblems".into(), message: cut(message) }
            }
        }
    }

    fn json(&self, now: &str, since: &str) -> Value {
        json!({
            "type": CONDITION,
            "status": if self.degraded { "True" } else { "False" },
            "reason": self.reason,
            "message": self.message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since,
        })
    }
}

impl From<NodeCondition> for Condition {
    fn from(condition: NodeCondition) -> Self {
        Self {
            degraded: condition.status == "True",
            reason: condition.reason.unwrap_or_default(),
            message: condition.message.unwrap_or_default(),
        }
    }
}
