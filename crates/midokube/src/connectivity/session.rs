//! Asking Pods and the processes of nodes to try something: `midokube connectivity ask` goes on in each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::sync::Mutex;

use super::check::Check;
use super::objects::CONTAINER;
use super::question::{Outcome, Question, What};
use super::scene::End;
use crate::nodes::{Places, Talk};
use crate::trace::Place;

/// How long starting one may take.
const START: Duration = Duration::from_secs(20);

/// How much longer than its tries an answer may take: the way there, on a busy machine.
const WAY: Duration = Duration::from_secs(10);

/// What goes on there.
const WORDS: [&str; 2] = ["connectivity", "ask"];

/// Where something goes on, or has ended.
type Slot = Arc<Mutex<Option<Arc<Talk>>>>;

/// All who are asked.
pub(super) struct Sessions {
    client: Client,
    agents: Api<Pod>,
    /// The agent's Pod and container of each node.
    places: Places,
    /// By the names of those who are asked.
    talks: Mutex<BTreeMap<String, Slot>>,
}

impl Sessions {
    pub(super) fn new(client: Client, agents: Api<Pod>, places: Places) -> Self {
        Self { client, agents, places, talks: Mutex::default() }
    }

    /// What comes of a check's question.
    pub(super) async fn ask(&self, check: &Check) -> Vec<Outcome> {
        self.try_it(&check.from, check.what.clone(), check.patience()).await
    }

    /// What comes of a question to somebody, each of whose tries may take so long.
    pub(super) async fn try_it(&self, from: &End, what: What, patience: Duration) -> Vec<Outcome> {
        let asked = self.ask_for(from, &Question::new(what, patience)).await;
        asked.unwrap_or_else(|why| vec![Outcome::Failed { why }])
    }

    async fn ask_for(&self, from: &End, question: &Question) -> Result<Vec<Outcome>, String> {
        let talk = self.talk(from).await?;
        let text = serde_json::to_string(question).map_err(|error| error.to_string())?;
        // Only the last try takes its time, and connections that carry much.
        let patience = question.patience().saturating_mul(2) + WAY;
        let answer = talk.ask(&text, patience).await?;
        let unread = |error| format!("the answer cannot be read, the image has another version: {error}");
        serde_json::from_str(&answer).map_err(unread)
    }

    /// What goes on there; it is started if it does not.
    async fn talk(&self, from: &End) -> Result<Arc<Talk>, String> {
        let (pods, pod, container) = match &from.place {
            Place::Pod(name) => {
                let pods = Api::namespaced(self.client.clone(), &name.namespace);
                (pods, name.name.clone(), CONTAINER.to_owned())
            }
            Place::Node(node) => {
                let place = self.places.get(node).cloned();
                let (pod, container) = place.unwrap_or_else(|| Err("it has no agent".to_owned()))?;
                (self.agents.clone(), pod, container)
            }
        };
        let slot = Arc::clone(self.talks.lock().await.entry(from.place.to_string()).or_default());
        let mut slot = slot.lock().await;
        if let Some(talk) = slot.as_ref().filter(|talk| !talk.has_ended()) {
            return Ok(Arc::clone(talk));
        }
        let talk = Arc::new(Talk::start(&pods, &pod, &container, &WORDS, START).await?);
        *slot = Some(Arc::clone(&talk));
        Ok(talk)
    }

    /// Ends all of them.
    pub(super) async fn end(&self) {
        let talks = std::mem::take(&mut *self.talks.lock().await);
        let ends = talks.into_values().map(|slot| async move {
            if let Some(talk) = slot.lock().await.take() {
                talk.end().await;
            }
        });
        futures::future::join_all(ends).await;
    }
}
