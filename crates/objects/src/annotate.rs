mod manifest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::name::is_name;
use crate::server::Server;
use crate::task::PATCH_POD_STATUS;
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

/// A Pod was not annotated.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot annotate Pod {pod}: {cause}")]
pub struct AnnotateError {
    pod: String,
    cause: String,
    reason: String,
    retry: bool,
    after: Option<Duration>,
    kind: Reason,
}

impl AnnotateError {
    /// Why, without the Pod: the same for every Pod while the API server is away.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Whether trying again may help; it does not when the Pod is gone or another one.
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

    fn new(pod: &PodRef, reason: &str, retry: bool, cause: String) -> Self {
        let pod = format!("{}/{}", pod.namespace, pod.name);
        Self { pod, cause, reason: reason.into(), retry, after: None, kind: Reason::Other }
    }

    fn api(pod: &PodRef, server: &Server, error: &kube::Error) -> Self {
        let (reason, retry) = match error {
            kube::Error::Api(status) => (status.reason.as_str(), !is_final(status)),
            _ => ("ServiceUnavailable", true),
        };
        let fault = server.fault(PATCH_POD_STATUS, error);
        let (after, kind) = (fault.retry_after(), fault.reason());
        Self { after, kind, ..Self::new(pod, reason, retry, fault.to_string()) }
    }

    fn timeout(pod: &PodRef, server: &Server) -> Self {
        let fault = Fault::no_answer(&server.place, PATCH_POD_STATUS, ANSWER);
        Self { kind: Reason::Timeout, ..Self::new(pod, "Timeout", true, fault.to_string()) }
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
            let quoted = |text: &str| format!("{text:?}");
            let pod = PodRef { namespace: quoted(&pod.namespace), name: quoted(&pod.name), uid: None };
            return Err(AnnotateError::new(&pod, "Invalid", false, why.into()));
        }
        match &self.0 {
            Target::Api(server, errors) => {
                // By the subresource: who may patch a Pod itself may give it another image.
                let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
                let patch = patch(pod, annotations);
                let written = server.patch(&path, "application/merge-patch+json", &patch);
                let failure = match tokio::time::timeout(ANSWER, written).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => AnnotateError::api(pod, server, &error),
                    Err(_) => AnnotateError::timeout(pod, server),
                };
                // That a Pod is gone by now is no error.
                if failure.retry {
                    errors.count(Verb::Patch, failure.kind);
                }
                Err(failure)
            }
            Target::Directory(directory) => manifest::write_file(directory, pod, annotations)
                .map_err(|error| AnnotateError::new(pod, "InternalError", true, error)),
        }
    }
}

/// 404: no such Pod. 422: the request itself is not acceptable. 409: another Pod of that name if it speaks of
/// the UID, else somebody else's write came first.
fn is_final(status: &kube::core::Status) -> bool {
    match status.code {
        404 | 422 => true,
        409 => status.message.contains("UID") || status.message.contains("uid"),
        _ => false,
    }
}

/// A merge patch (RFC 7386). The UID in it is a precondition: the API server refuses to change it.
fn patch(pod: &PodRef, annotations: &BTreeMap<String, Option<String>>) -> Value {
    let mut metadata = json!({"annotations": annotations});
    if let (Some(uid), Some(metadata)) = (&pod.uid, metadata.as_object_mut()) {
        metadata.insert("uid".into(), json!(uid));
    }
    json!({"metadata": metadata})
}
