//! Objects from an API server: list, then watch, and again when the watch breaks.

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tracing::warn;

use crate::{Change, Health, Key, Node, Object};

pub(crate) fn changes(client: Client, health: Health) -> impl Stream<Item = Change> + Send + 'static {
    let nodes: Api<ApiNode> = Api::all(client);
    // The backoff doubles to half a minute with jitter, so that a thousand agents do not come back at once.
    let events = watcher(nodes, watcher::Config::default()).default_backoff();
    let mut gathered = Vec::new();
    events.filter_map(move |event| {
        let change = match event {
            Ok(event) => {
                health.set(None);
                change_of(event, &mut gathered)
            }
            Err(error) => {
                health.set(Some(format!("cannot watch Nodes: {}", chain(&error))));
                None
            }
        };
        std::future::ready(change)
    })
}

/// A full list arrives one by one; it counts once it is complete.
fn change_of(event: Event<ApiNode>, gathered: &mut Vec<Object>) -> Option<Change> {
    match event {
        Event::Apply(node) => trim(node).map(Change::Upsert),
        Event::Delete(node) => Some(Change::Delete(Key::Node(node.metadata.name.unwrap_or_default()))),
        Event::Init => {
            gathered.clear();
            None
        }
        Event::InitApply(node) => {
            gathered.extend(trim(node));
            None
        }
        Event::InitDone => Some(Change::Replace(std::mem::take(gathered))),
    }
}

/// An object that says something impossible is left as it was last known.
fn trim(node: ApiNode) -> Option<Object> {
    Node::try_from(node).map(Object::Node).map_err(|error| warn!(%error, "left out")).ok()
}

/// An error with all its causes: the outermost alone often says only "service error".
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
