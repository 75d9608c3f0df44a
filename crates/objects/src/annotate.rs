mod manifest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::name::is_name;
use crate::server::Server;
use crate::task::{PATCH_NODE_STATUS, PATCH_POD_STATUS, Task};
use crate::{ApiErrors, Reason, Verb};

/// A write that has no answer by then failed.
const ANSWER: Duration = Duration::from_secs(10);

/// A Pod to be annotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, if it is known: another Pod of that name is then left alone.
    pub uid: Option<String>,
}

/// Writes annotations to where the objects come from.
#[derive(Clone)]
pub struct Annotator(Target);

#[derive(Clone)]
enum Target {
    Api(Server, ApiErrors),
    Directory(PathBuf),
}

impl fmt::Debug for Annotator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Api(..) => f.write_str("Annotator(Api)"),
            Target::Directory(path) => write!(f, "Annotator({})", path.display()),
        }
    }
}

/// A Pod or a Node was not annotated.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot annotate {object}: {cause}")]
pub struct AnnotateError {
    object: String,
    cause: String,
    reason: String,
    retry: bool,
    after: Option<Duration>,
    kind: Reason,
}

impl AnnotateError {
    /// Why, without the object: the same for every Pod while the API server is away.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Whether trying again may help; it does not when the object is gone or another one.
    pub fn is_retriable(&self) -> bool {
        self.retry
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.after
    }

    /// The Kubernetes API's reason (metav1.StatusReason), such as "NotFound".
    pub fn reason(&self) -> &str {
        &self.reason
    }

    fn new(object: &str, reason: &str, retry: bool, cause: String) -> Self {
        let object = object.to_owned();
        Self { object, cause, reason: reason.into(), retry, after: None, kind: Reason::Other }
    }

    fn api(object: &str, server: &Server, task: Task, error: &kube::Error) -> Self {
        let (reason, retry) = match error {
            kube::Error::Api(status) => (status.reason.as_str(), !is_final(status)),
            _ => ("ServiceUnavailable", true),
        };
        let fault = server.fault(task, error);
        let (after, kind) = (fault.retry_after(), fault.reason());
        Self { after, kind, ..Self::new(object, reason, retry, fault.to_string()) }
    }

    fn timeout(object: &str, server: &Server, task: Task) -> Self {
        let fault = Fault::no_answer(&server.place, task, ANSWER);
        Self { kind: Reason::Timeout, ..Self::new(object, "Timeout", true, fault.to_string()) }
    }
}

impl Annotator {
    pub(crate) fn api(server: Server, errors: ApiErrors) -> Self {
        Self(Target::Api(server, errors))
    }

    /// Annotations go beside the manifests, into a directory that is not read as input.
    pub(crate) fn directory(manifests: &Path) -> Self {
        Self(Target::Directory(manifests.join("annotations")))
    }

    /// Sets annotations of a Pod, removes those without a value and leaves the others, in one write.
    ///
    /// # Errors
    /// [`AnnotateError`] says whether trying again may help.
    pub async fn annotate_pod(
        &self,
        pod: &PodRef,
        annotations: &BTreeMap<String, Option<String>>,
    ) -> Result<(), AnnotateError> {
        // Names come from a CNI call: they must not lead to another object or out of the directory.
        if !is_name(&pod.namespace) || !is_name(&pod.name) {
            let why = "this is no name of a Pod (RFC 1123 subdomain)";
            let object = format!("Pod {:?}/{:?}", pod.namespace, pod.name);
            return Err(AnnotateError::new(&object, "Invalid", false, why.into()));
        }
        let object = format!("Pod {}/{}", pod.namespace, pod.name);
        match &self.0 {
            Target::Api(server, errors) => {
                // By the subresource: who may patch a Pod itself may give it another image.
                let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
                let patch = patch(pod.uid.as_deref(), annotations);
                send(server, errors, PATCH_POD_STATUS, &object, &path, &patch).await
            }
            Target::Directory(directory) => manifest::write_pod(directory, pod, annotations)
                .map_err(|error| AnnotateError::new(&object, "InternalError", true, error)),
        }
    }

    /// The same of a Node, whichever has that name.
    ///
    /// # Errors
    /// [`AnnotateError`] says whether trying again may help.
    pub async fn annotate_node(
        &self,
        node: &str,
        annotations: &BTreeMap<String, Option<String>>,
    ) -> Result<(), AnnotateError> {
        if !is_name(node) {
            let why = "this is no name of a Node (RFC 1123 subdomain)";
            return Err(AnnotateError::new(&format!("Node {node:?}"), "Invalid", false, why.into()));
        }
        let object = format!("Node {node}");
        match &self.0 {
            Target::Api(server, errors) => {
                let path = format!("/api/v1/nodes/{node}/status");
                let patch = patch(None, annotations);
                send(server, errors, PATCH_NODE_STATUS, &object, &path, &patch).await
            }
            Target::Directory(directory) => manifest::write_node(directory, node, annotations)
                .map_err(|error| AnnotateError::new(&object, "InternalError", true, error)),
        }
    }
}

/// Sends a patch, and waits for its answer, but not for long.
async fn send(
    server: &Server,
    errors: &ApiErrors,
    task: Task,
    object: &str,
    path: &str,
    patch: &Value,
) -> Result<(), AnnotateError> {
    let written = server.patch(path, "application/merge-patch+json", patch);
    let failure = match tokio::time::timeout(ANSWER, written).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => AnnotateError::api(object, server, task, &error),
        Err(_) => AnnotateError::timeout(object, server, task),
    };
    // That an object is gone by now is no error.
    if failure.retry {
        errors.count(Verb::Patch, failure.kind);
    }
    Err(failure)
}

/// 404: no such object. 422: the request itself is not acceptable. 409: another Pod of that name if it speaks of
/// the UID, else somebody else's write came first.
fn is_final(status: &kube::core::Status) -> bool {
    match status.code {
        404 | 422 => true,
        409 => status.message.contains("UID") || status.message.contains("uid"),
        _ => false,
    }
}

/// A merge patch (RFC 7386). The UID in it is a precondition: the API server refuses to change it.
fn patch(uid: Option<&str>, annotations: &BTreeMap<String, Option<String>>) -> Value {
    let mut metadata = json!({"annotations": annotations});
    if let (Some(uid), Some(metadata)) = (uid, metadata.as_object_mut()) {
        metadata.insert("uid".into(), json!(uid));
    }
    json!({"metadata": metadata})
}
