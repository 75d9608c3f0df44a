//! What a watch says, event by event.

use kube::api::WatchParams;
use kube::core::{Request, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::split::Splitter;
use crate::Selector;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::server::Server;
use crate::store::Update;
use crate::task::Task;

/// The server is asked to end a watch after so many seconds; kube and the server accept less than 295.
const WATCH_SECONDS: u32 = 290;

/// Asks for changes from a version on.
pub(super) fn request<K: Kind>(
    server: &Server,
    selector: &Selector,
    version: &str,
) -> Result<http::Request<Vec<u8>>, Fault> {
    let params = WatchParams {
        label_selector: selector.labels.clone(),
        field_selector: selector.fields.clone(),
        ..WatchParams::default().timeout(WATCH_SECONDS)
    };
    let request = Request::new(K::RESOURCE.path()).watch(&params, version);
    request.map_err(|error| server.fault(Task::watch(&K::RESOURCE), &kube::Error::BuildRequest(error)))
}

/// The events of one watch.
pub(super) struct Events<'a, K> {
    server: &'a Server,
    splitter: Splitter,
    /// What is to be stored.
    pub(super) updates: Vec<Update<K>>,
    /// Up to where the objects are known.
    pub(super) version: Option<String>,
}

/// Either that or an error of the text.
enum Failure {
    Text(String),
    Status(Box<Status>),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<'a, K: Kind> Events<'a, K> {
    pub(super) fn of(server: &'a Server) -> Self {
        Self { server, splitter: Splitter::watch(), updates: Vec::new(), version: None }
    }

    /// Takes a part of the stream; what is before an error counts.
    ///
    /// # Errors
    /// The server ends the watch with an error, or says something else.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let Self { server, splitter, updates, version } = self;
        let pushed = splitter.push(chunk, |json| event(json, updates, version));
        let task = Task::watch(&K::RESOURCE);
        pushed.map_err(|failure| match failure {
            Failure::Text(why) => Fault::unusable(&server.place, task, &why),
            Failure::Status(status) => server.fault(task, &kube::Error::Api(status)),
        })
    }

    /// Whether the stream may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.splitter.rest().is_some()
    }
}

fn event<K: Kind>(
    json: &[u8],
    updates: &mut Vec<Update<K>>,
    version: &mut Option<String>,
) -> Result<(), Failure> {
    let text = |error: serde_json::Error| Failure::Text(error.to_string());
    let Event { kind, object } = serde_json::from_slice(json).map_err(text)?;
    match kind {
        "ADDED" | "MODIFIED" => updates.push(Update::Set(Entry::read(|| object)?)),
        "DELETED" => updates.push(Update::Delete(Entry::<K>::read(|| object)?.key)),
        "BOOKMARK" => {}
        "ERROR" => {
            let status: Status = serde_json::from_str(object.get()).map_err(text)?;
            return Err(Failure::Status(Box::new(status)));
        }
        other => return Err(Failure::Text(format!("it has an event of the unknown type {other:?}"))),
    }
    let reached: Versioned = serde_json::from_str(object.get()).map_err(text)?;
    if let Some(reached) = reached.metadata.resource_version.filter(|version| !version.is_empty()) {
        *version = Some(reached);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: Option<String>,
}
