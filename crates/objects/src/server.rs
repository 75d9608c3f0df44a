//! An API server as the configuration has it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node as ApiNode};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::fault::{Fault, quote, unusable};
use crate::source::{ApiOptions, ConnectError};

/// A server that takes longer to be reached is out of reach.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// A server that takes longer for one answer does not answer: a list's page, a watch's beginning, a write.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// So many objects are listed in one request, as client-go does.
pub(crate) const PAGE: u32 = 500;

/// The namespace that every cluster has from its beginning on: its UID is taken for the cluster's, as
/// OpenTelemetry's k8s.cluster.uid is.
const KUBE_SYSTEM: &str = "kube-system";

/// What the agent does: a task's name, verb, resource, and the one object that it is done to.
const TASKS: [(&str, &str, &str, Option<&str>); 4] = [
    ("list nodes", "list", "nodes", None),
    ("watch nodes", "watch", "nodes", None),
    ("patch pods", "patch", "pods", None),
    (GET_CLUSTER, "get", "namespaces", Some(KUBE_SYSTEM)),
];

const GET_CLUSTER: &str = "get namespaces/kube-system";

/// Where a server is and how one is known to it: for messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// Where the credentials are from.
    pub(crate) credentials: String,
}

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
        config.connect_timeout = Some(CONNECT);
        // kube would try again by itself for minutes after a 429, 503 or 504, and nobody would be told.
        config.default_retry = false;
        // No read timeout: it would hold for idle watches too. Each request has its own bound where it is made.
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let authorities = config.root_cert.iter().flatten().map(|der| hex(&Sha256::digest(der))).collect();
        let client = Client::try_from(config).map_err(|error| ConnectError::Client {
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
        let mut params = ListParams::default().limit(PAGE);
        let mut nodes = Vec::new();
        loop {
            let page = self.answer("list nodes", api.list(&params)).await?;
            nodes.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(nodes),
            }
        }
    }

    /// What of the agent's work the server does not allow, as far as it tells.
    pub(crate) async fn denied(&self) -> Vec<Fault> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let mut denied = Vec::new();
        for (task, verb, resource, name) in TASKS {
            let attributes = ResourceAttributes {
                verb: Some(verb.into()),
                resource: Some(resource.into()),
                name: name.map(Into::into),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let answer = self.answer(task, reviews.create(&PostParams::default(), &review)).await;
            if let Some(status) = answer.ok().and_then(|review| review.status)
                && !status.allowed
            {
                let why = status.reason.filter(|reason| !reason.is_empty());
                let why = why.unwrap_or_else(|| "no role allows it".into());
                denied.push(Fault::forbidden(&self.place, task, &why));
            }
        }
        denied
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
