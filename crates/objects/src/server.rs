//! An API server as the configuration has it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node as ApiNode};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use crate::client::client;
use crate::fault::{Fault, quote, unusable};
use crate::source::{ApiOptions, ConnectError};

/// A server that takes longer for one answer does not answer: a list's page, a watch's beginning, a write.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// So many objects are listed in one request, as client-go does.
const PAGE: u32 = 500;

/// No list has more pages: Kubernetes is made for 5,000 Nodes.
const PAGES: u32 = 100;

/// No list takes longer: the server keeps the version that a list began with for five minutes.
const LIST: Duration = Duration::from_secs(5 * 60);

/// The namespace that every cluster has from its beginning on: its UID is taken for the cluster's, as
/// OpenTelemetry's k8s.cluster.uid is.
const KUBE_SYSTEM: &str = "kube-system";

/// What the agent does: it needs these permissions, and none besides. The ClusterRole in deploy/midonet-kube.yaml has them.
const TASKS: [Task; 6] = [
    Task { name: LIST_NODES, verb: "list", resource: "nodes", ..Task::NONE },
    Task { name: WATCH_NODES, verb: "watch", resource: "nodes", ..Task::NONE },
    Task {
        name: PATCH_POD_STATUS,
        verb: "patch",
        resource: "pods",
        subresource: Some("status"),
        ..Task::NONE
    },
    Task { name: GET_CLUSTER, verb: "get", resource: "namespaces", object: Some(KUBE_SYSTEM), ..Task::NONE },
    Task {
        name: PATCH_NODE_STATUS,
        verb: "patch",
        resource: "nodes",
        subresource: Some("status"),
        ..Task::NONE
    },
    Task {
        name: CREATE_EVENTS,
        verb: "create",
        resource: "events",
        group: Some("events.k8s.io"),
        ..Task::NONE
    },
];

pub(crate) const LIST_NODES: &str = "list nodes";
pub(crate) const WATCH_NODES: &str = "watch nodes";
pub(crate) const PATCH_POD_STATUS: &str = "patch pods/status";
pub(crate) const PATCH_NODE_STATUS: &str = "patch nodes/status";
pub(crate) const CREATE_EVENTS: &str = "create events";
const GET_CLUSTER: &str = "get namespaces/kube-system";

/// A request of a kind, as RBAC knows it.
struct Task {
    name: &'static str,
    verb: &'static str,
    group: Option<&'static str>,
    resource: &'static str,
    subresource: Option<&'static str>,
    /// The one object that it is about.
    object: Option<&'static str>,
}

impl Task {
    const NONE: Self =
        Self { name: "", verb: "", group: None, resource: "", subresource: None, object: None };
}

/// Where a server is and how one is known to it: for messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// Where the credentials are from.
    pub(crate) credentials: String,
}

/// Asks for the metadata of an object alone.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// A client and what it was made from.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) place: Arc<Place>,
    /// The SHA-256 of each certificate authority that is configured, in hexadecimal; empty with the system's own.
    pub(crate) authorities: Vec<String>,
}

impl Server {
    /// A client from the options; nothing is sent yet.
    pub(crate) async fn new(options: &ApiOptions) -> Result<Self, ConnectError> {
        let (mut config, credentials) = match &options.kubeconfig {
            Some(path) => {
                let fail = |error: &_| ConnectError::Kubeconfig { path: path.clone(), reason: reason(error) };
                let file = Kubeconfig::read_from(path).map_err(|error| fail(&error))?;
                let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
                (config.map_err(|error| fail(&error))?, format!("the kubeconfig {}", path.display()))
            }
            None => (Config::incluster()?, "the Pod's service account".to_owned()),
        };
        if let Some(server) = &options.server {
            let url = || ConnectError::Url(server.clone());
            config.cluster_url = server.parse().map_err(|_| url())?;
            if !matches!(config.cluster_url.scheme_str(), Some("http" | "https")) {
                return Err(url());
            }
        }
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let authorities = config.root_cert.iter().flatten().map(|der| hex(&Sha256::digest(der))).collect();
        let client = client(&config).map_err(|error| ConnectError::Client {
            url: url.clone(),
            credentials: credentials.clone(),
            reason: unusable(&error),
        })?;
        Ok(Self { client, place: Arc::new(Place { url, credentials }), authorities })
    }

    /// Waits for an answer, but not for ever.
    pub(crate) async fn answer<T>(
        &self,
        task: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        match timeout(ANSWER, request).await {
            Ok(answer) => answer.map_err(|error| self.fault(task, &error)),
            Err(_) => Err(Fault::no_answer(&self.place, task, ANSWER)),
        }
    }

    pub(crate) fn fault(&self, task: &'static str, error: &kube::Error) -> Fault {
        Fault::new(&self.place, task, error)
    }

    /// Patches an object or a subresource. It is not sent back: of a Node that would be much.
    pub(crate) async fn patch(&self, path: &str, kind: &'static str, patch: &Value) -> kube::Result<()> {
        let request = http::Request::patch(path).header(CONTENT_TYPE, kind).header(ACCEPT, METADATA);
        self.send(request, patch).await
    }

    /// Creates an object.
    pub(crate) async fn post(&self, path: &str, object: &Value) -> kube::Result<()> {
        let request = http::Request::post(path).header(CONTENT_TYPE, "application/json");
        self.send(request.header(ACCEPT, METADATA), object).await
    }

    async fn send(&self, request: http::request::Builder, body: &Value) -> kube::Result<()> {
        let body = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
        let request = request.body(body).map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await.map(drop)
    }

    /// The UID of the cluster.
    pub(crate) async fn cluster(&self) -> Result<String, Fault> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = self.answer(GET_CLUSTER, namespaces.get_metadata(KUBE_SYSTEM)).await?;
        let uid = found.metadata.uid.filter(|uid| !uid.is_empty());
        uid.ok_or_else(|| Fault::unusable(&self.place, GET_CLUSTER, "it has no UID"))
    }

    /// All Nodes, once.
    pub(crate) async fn nodes(&self) -> Result<Vec<ApiNode>, Fault> {
        let api: Api<ApiNode> = Api::all(self.client.clone());
        let mut pages = Pages::default();
        let mut nodes = Vec::new();
        loop {
            let page = self.answer(LIST_NODES, api.list(&pages.params)).await?;
            nodes.extend(page.items);
            if !pages.next(self, page.metadata.continue_)? {
                return Ok(nodes);
            }
        }
    }

    /// What of the agent's work the server does not allow, as far as it tells.
    pub(crate) async fn denied(&self) -> Vec<Fault> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let mut denied = Vec::new();
        for task in TASKS {
            let attributes = ResourceAttributes {
                verb: Some(task.verb.into()),
                group: task.group.map(Into::into),
                resource: Some(task.resource.into()),
                subresource: task.subresource.map(Into::into),
                name: task.object.map(Into::into),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let answer = self.answer(task.name, reviews.create(&PostParams::default(), &review)).await;
            if let Some(status) = answer.ok().and_then(|review| review.status)
                && !status.allowed
            {
                let why = status.reason.filter(|reason| !reason.is_empty());
                let why = why.unwrap_or_else(|| "no role allows it".into());
                denied.push(Fault::forbidden(&self.place, task.name, &why));
            }
        }
        denied
    }
}

/// Where a list is that comes in pages: bounded, since a server may name one more after each.
pub(crate) struct Pages {
    /// Of the request for the next page.
    pub(crate) params: ListParams,
    asked: u32,
    began: Instant,
}

impl Default for Pages {
    fn default() -> Self {
        Self { params: ListParams::default().limit(PAGE), asked: 1, began: Instant::now() }
    }
}

impl Pages {
    /// Turns to the page that the server names by this token; `false` if there is none.
    pub(crate) fn next(&mut self, server: &Server, token: Option<String>) -> Result<bool, Fault> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(false) };
        if self.asked == PAGES {
            let why = format!("the list has no end after {PAGES} pages of {PAGE}");
            return Err(Fault::unusable(&server.place, LIST_NODES, &why));
        }
        if self.began.elapsed() >= LIST {
            return Err(Fault::no_answer(&server.place, LIST_NODES, LIST));
        }
        self.asked += 1;
        self.params.continue_token = Some(token);
        Ok(true)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a kubeconfig cannot be used. Its path is said by whoever asks.
fn reason(error: &KubeconfigError) -> String {
    let file = |error: &kube::config::LoadDataError| match error {
        kube::config::LoadDataError::ReadFile(error, path) => named(path, error),
        error => error.to_string(),
    };
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::LoadCertificateAuthority(error) => format!("certificate-authority: {}", file(error)),
        KubeconfigError::LoadClientCertificate(error) => format!("client-certificate: {}", file(error)),
        KubeconfigError::LoadClientKey(error) => format!("client-key: {}", file(error)),
        error => quote(&error.to_string()),
    }
}

fn named(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
