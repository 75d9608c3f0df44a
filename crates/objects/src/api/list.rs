//! Listing all objects of a kind.
//!
//! The first list is what the API server has in its cache (`resourceVersion=0`, as client-go asks for it): no query of
//! etcd, however many agents start at once. It may be older than what an agent knew before it was started anew, by what
//! that API server lags behind; the watch begins at the list's version and brings the rest. A list in the same process
//! is not older than anything seen before (`resourceVersionMatch=NotOlderThan`). Only when the server refuses that
//! version, as after a restored backup of etcd, is the latest state asked for: a quorum read, in pages.

use futures::io::AsyncBufRead;
use kube::api::{ListParams, VersionMatch};
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Duration, timeout};

use super::split::Splitter;
use crate::Selector;
use crate::body::Body;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::server::Server;
use crate::task::Task;

/// So many objects are listed in one request where the latest state is asked for, as client-go does. A list from the
/// server's cache comes in one piece.
const PAGE: u32 = 500;

/// No list has more pages: Kubernetes is made for 5,000 Nodes and 150,000 Pods.
const PAGES: u32 = 400;

/// No list takes longer: the server keeps the version that a list began with for five minutes.
const LIST: Duration = Duration::from_secs(5 * 60);

/// Which state of the objects is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// Whatever the server has in its cache.
    Cache,
    /// The same, but not older than this version.
    NotOlderThan(String),
    /// The latest one.
    Latest,
}

/// All objects of a kind.
#[derive(Debug)]
pub(crate) struct List<K> {
    pub(crate) version: String,
    pub(crate) entries: Vec<Entry<K>>,
}

impl At {
    fn params(&self, selector: &Selector) -> ListParams {
        let params = ListParams {
            label_selector: selector.labels.clone(),
            field_selector: selector.fields.clone(),
            ..ListParams::default()
        };
        match self {
            Self::Cache => params.match_any(),
            Self::NotOlderThan(version) => params.at(version).matching(VersionMatch::NotOlderThan),
            Self::Latest => params.limit(PAGE),
        }
    }
}

/// Lists all objects.
///
/// # Errors
/// The server did not give them, or gave something else.
pub(crate) async fn list<K: Kind>(server: &Server, selector: &Selector, at: &At) -> Result<List<K>, Fault> {
    let task = Task::list(&K::RESOURCE);
    let whole = timeout(LIST, pages(server, task, at.params(selector))).await;
    whole.unwrap_or_else(|_| Err(Fault::no_answer(&server.place, task, LIST)))
}

async fn pages<K: Kind>(server: &Server, task: Task, mut params: ListParams) -> Result<List<K>, Fault> {
    let unusable = |why: &str| Fault::unusable(&server.place, task, why);
    let mut entries = Vec::new();
    for _ in 0..PAGES {
        let request = Request::new(K::RESOURCE.path()).list(&params).map_err(kube::Error::BuildRequest);
        let request = request.map_err(|error| server.fault(task, &error))?;
        let body = server.stream(task, request).await?;
        let end = page(server, task, body, &mut entries).await?;
        let Some(token) = end.token.filter(|token| !token.is_empty()) else {
            let version = end.resource_version.filter(|version| !version.is_empty());
            let version = version.ok_or_else(|| unusable("it has no resourceVersion"))?;
            return Ok(List { version, entries });
        };
        // The token says which state of the objects is listed.
        params = ListParams { resource_version: None, version_match: None, ..params }.limit(PAGE);
        params.continue_token = Some(token);
    }
    Err(unusable(&format!("the list has no end after {PAGES} pages of {PAGE}")))
}

/// Reads a page, each object as soon as it is there; returns what the list says of itself.
async fn page<K: Kind>(
    server: &Server,
    task: Task,
    mut body: Body<impl AsyncBufRead + Unpin>,
    entries: &mut Vec<Entry<K>>,
) -> Result<ListMeta, Fault> {
    let unusable = |why: String| Fault::unusable(&server.place, task, &why);
    let mut splitter = Splitter::list();
    loop {
        let chunk = server.answer(task, body.next()).await?;
        if chunk.is_empty() {
            break;
        }
        let found = splitter.push(chunk, |object| {
            if entries.len() >= (PAGE * PAGES) as usize {
                return Err(format!("it has more than {} objects", PAGE * PAGES));
            }
            entries.push(read(object)?);
            Ok(())
        });
        found.map_err(unusable)?;
    }
    let end = splitter.rest().ok_or_else(|| unusable("it was cut off".into()))?;
    let end: End = serde_json::from_slice(end).map_err(|error| unusable(error.to_string()))?;
    Ok(end.metadata)
}

/// An object's JSON.
pub(super) fn read<K: Kind>(json: &[u8]) -> Result<Entry<K>, String> {
    let json: &RawValue = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    Entry::read(|| json)
}

/// A list without its items.
#[derive(Deserialize)]
struct End {
    metadata: ListMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    token: Option<String>,
}
