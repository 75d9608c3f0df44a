//! The definition of a kind that a server may get at any time.

use http::header::ACCEPT;
use kube::api::WatchParams;
use kube::core::Request;
use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep};
use tracing::debug;

use super::Reflector;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::server::METADATA;
use crate::task::{DEFINITION, Task};

/// After a definition changed, the kind may be served at any moment of so long.
const SOON: Duration = Duration::from_secs(10);

/// How often it is looked for then.
const AGAIN: Duration = Duration::from_millis(500);

/// The metadata of a definition takes less.
const LONGEST: usize = 1 << 20;

/// What is known of a kind's definition.
#[derive(Debug, Default)]
pub(super) struct Definition {
    /// When it last changed, as far as is known.
    changed: Option<Instant>,
    /// Which version of it that was.
    version: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<String>,
}

impl<K: Kind> Reflector<K> {
    /// Waits until the kind's definition is new or different. Where that cannot be watched it never ends: the caller has a
    /// deadline.
    pub(super) async fn defined(&mut self) {
        if self.definition.changed.is_some_and(|at| at.elapsed() < SOON) {
            return sleep(AGAIN).await;
        }
        match self.next_definition().await {
            Ok(Some(version)) => {
                debug!(kind = K::RESOURCE.kind, version, "its definition is new or different");
                self.definition = Definition { changed: Some(Instant::now()), version: Some(version) };
            }
            Ok(None) => std::future::pending().await,
            Err(fault) => {
                debug!("{fault}: looking for {} now and then", K::RESOURCE.kind);
                self.definition.version = None;
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next version of the kind's definition; `None`: the server does not go on.
    async fn next_definition(&self) -> Result<Option<String>, Fault> {
        let (server, task) = (&self.server, Task::watch(&DEFINITION));
        let name = format!("metadata.name={}.{}", K::RESOURCE.plural, K::RESOURCE.group);
        let params = WatchParams::default().fields(&name).disable_bookmarks();
        // Without a version the server begins with what there is.
        let from = self.definition.version.as_deref().unwrap_or_default();
        let request = Request::new(DEFINITION.path()).watch(&params, from);
        let mut request = request.map_err(|error| server.fault(task, &kube::Error::BuildRequest(error)))?;
        request.headers_mut().insert(ACCEPT, http::HeaderValue::from_static(METADATA));
        let mut body = server.stream(task, request).await?;
        let mut line = Vec::new();
        while line.len() < LONGEST {
            let chunk = body.next().await.map_err(|error| server.fault(task, &error))?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            line.extend(chunk.iter().take(end.unwrap_or(chunk.len())));
            if end.is_some() {
                break;
            }
        }
        let unusable = |why: &str| Fault::unusable(&server.place, task, why);
        let event: Event = serde_json::from_slice(&line).map_err(|_| unusable("it is no event"))?;
        match event.object.metadata.resource_version {
            Some(version) if event.what != "ERROR" => Ok(Some(version)),
            _ => Err(unusable("it is an error")),
        }
    }
}
