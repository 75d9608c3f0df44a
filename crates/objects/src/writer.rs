//! Creating, changing and deleting objects of any kind.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::kind::{Key, Resource};
use crate::name::is_name;
use crate::server::{METADATA, Server};
use crate::task::Task;

/// What the server says of an object that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Written {
    /// Its UID.
    pub uid: String,
    /// The version that the write gave it.
    pub resource_version: String,
    /// When its deletion was asked for, if it was: it is there as long as it has finalizers.
    pub deletion_timestamp: Option<String>,
}

/// How a patch is merged into an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386: lists are replaced.
    Merge,
    /// By the kind's own rules. Custom resources have none.
    Strategic,
}

/// Writes objects. Nothing is tried again.
#[derive(Clone)]
pub struct Writer(Server);

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({})", self.0.place.url)
    }
}

impl Writer {
    pub(crate) fn new(server: Server) -> Self {
        Self(server)
    }

    /// Creates an object of this name.
    ///
    /// # Errors
    /// [`Fault::is_conflict`]: it exists. [`Fault::is_missing`]: its namespace does not.
    pub async fn create(&self, resource: &Resource, key: &Key, object: &Value) -> Result<Written, Fault> {
        let task = Task::of("create", resource);
        let path = self.collection(task, resource, key)?;
        self.send(task, http::Request::post(path), "application/json", object).await
    }

    /// Changes a part of an object. With `metadata.resourceVersion` in it, only if it has that version.
    ///
    /// # Errors
    /// [`Fault::is_missing`]: there is none. [`Fault::is_conflict`]: it has another version.
    pub async fn patch(
        &self,
        resource: &Resource,
        key: &Key,
        how: Patch,
        patch: &Value,
    ) -> Result<Written, Fault> {
        let task = Task::of("patch", resource);
        let kind = match how {
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
        };
        let path = self.item(task, resource, key)?;
        self.send(task, http::Request::patch(path), kind, patch).await
    }

    /// Replaces an object of the version that `metadata.resourceVersion` says.
    ///
    /// # Errors
    /// As [`Self::patch`].
    pub async fn replace(&self, resource: &Resource, key: &Key, object: &Value) -> Result<Written, Fault> {
        let task = Task::of("update", resource);
        let path = self.item(task, resource, key)?;
        self.send(task, http::Request::put(path), "application/json", object).await
    }

    /// Deletes the object of this name, UID and version. One with finalizers stays until it has none. That there is none is no error.
    ///
    /// # Errors
    /// [`Fault::is_conflict`]: it was changed, or another object has the name by now.
    pub async fn delete(
        &self,
        resource: &Resource,
        key: &Key,
        uid: &str,
        version: &str,
    ) -> Result<(), Fault> {
        let task = Task::of("delete", resource);
        let preconditions = json!({"uid": uid, "resourceVersion": version});
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
        let path = self.item(task, resource, key)?;
        let request = http::Request::delete(path).header(CONTENT_TYPE, "application/json");
        let answer = self.0.answer(task, self.0.text(request.header(ACCEPT, METADATA), &options)).await;
        match answer {
            Err(fault) if fault.is_missing() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// An object as the server has it, if it has one.
    ///
    /// # Errors
    /// The server did not give it.
    pub async fn get(&self, resource: &Resource, key: &Key) -> Result<Option<Value>, Fault> {
        let task = Task::of("get", resource);
        let request = http::Request::get(self.item(task, resource, key)?).header(ACCEPT, "application/json");
        match self.0.answer(task, self.0.text(request, &Value::Null)).await {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| Fault::unusable(&self.0.place, task, &error.to_string())),
            Err(fault) if fault.is_missing() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the server knows a kind.
    ///
    /// # Errors
    /// The server did not say so.
    pub async fn serves(&self, resource: &Resource) -> Result<bool, Fault> {
        let task = Task::list(resource);
        let request =
            http::Request::get(format!("{}?limit=1", resource.path())).header(ACCEPT, METADATA_LIST);
        match self.0.answer(task, self.0.text(request, &Value::Null)).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_missing() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn collection(&self, task: Task, resource: &Resource, key: &Key) -> Result<String, Fault> {
        let usable = key.namespace().is_none_or(is_name) && is_name(key.name());
        if !usable {
            return Err(Fault::unusable(&self.0.place, task, &format!("{key:?} is no name of an object")));
        }
        let path = resource.path();
        let Some(namespace) = key.namespace() else { return Ok(path) };
        let (version, plural) = path.rsplit_once('/').unwrap_or_default();
        Ok(format!("{version}/namespaces/{namespace}/{plural}"))
    }

    fn item(&self, task: Task, resource: &Resource, key: &Key) -> Result<String, Fault> {
        Ok(format!("{}/{}", self.collection(task, resource, key)?, key.name()))
    }

    /// The answer has the metadata alone.
    async fn send(
        &self,
        task: Task,
        request: http::request::Builder,
        kind: &'static str,
        body: &Value,
    ) -> Result<Written, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            metadata: Written,
        }
        let request = request.header(CONTENT_TYPE, kind).header(ACCEPT, METADATA);
        let text = self.0.answer(task, self.0.text(request, body)).await?;
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|error| Fault::unusable(&self.0.place, task, &error.to_string()))?;
        Ok(answer.metadata)
    }
}

/// Asks for the metadata of a list's objects alone.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
