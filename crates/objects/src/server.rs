//! An API server as the configuration has it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::io::AsyncBufRead;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE};
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::body::Body;
use crate::client::{Streamed, client};
use crate::fault::{Fault, quote, unusable};
use crate::options::{ApiOptions, ConnectError};
use crate::place::Place;
use crate::task::{GET_CLUSTER, KUBE_SYSTEM, Task};

/// A server that takes longer for one answer does not answer: a part of a list, a watch's beginning, a write.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// Asks for the metadata of an object alone.
pub(crate) const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

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
        task: Task,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        match timeout(ANSWER, request).await {
            Ok(answer) => answer.map_err(|error| self.fault(task, &error)),
            Err(_) => Err(Fault::no_answer(&self.place, task, ANSWER)),
        }
    }

    pub(crate) fn fault(&self, task: Task, error: &kube::Error) -> Fault {
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
        self.text(request, body).await.map(drop)
    }

    /// The answer to a request, as text. Without a body if that is null.
    pub(crate) async fn text(&self, request: http::request::Builder, body: &Value) -> kube::Result<String> {
        let body = if body.is_null() { Ok(Vec::new()) } else { serde_json::to_vec(body) };
        let request = request.body(body.map_err(kube::Error::SerdeError)?).map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await
    }

    /// The UID of the cluster.
    pub(crate) async fn cluster(&self) -> Result<String, Fault> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = self.answer(GET_CLUSTER, namespaces.get_metadata(KUBE_SYSTEM)).await?;
        let uid = found.metadata.uid.filter(|uid| !uid.is_empty());
        uid.ok_or_else(|| Fault::unusable(&self.place, GET_CLUSTER, "it has no UID"))
    }

    /// Sends a request whose answer is read as it arrives.
    pub(crate) async fn stream(
        &self,
        task: Task,
        mut request: http::Request<Vec<u8>>,
    ) -> Result<Body<impl AsyncBufRead + Unpin + Send + use<>>, Fault> {
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        request.extensions_mut().insert(Streamed);
        let reader = self.answer(task, self.client.request_stream(request)).await?;
        Ok(Body::new(Box::pin(reader)))
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
