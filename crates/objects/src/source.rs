use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;
use futures::future::Either;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::{Annotator, Cache, Change, Health, api, folder};

/// A server that takes longer to be reached is out of reach.
const CONNECT: Duration = Duration::from_secs(5);

/// Where objects come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Kubernetes API server.
    Api(ApiOptions),
    /// A folder of Kubernetes manifests, which is watched.
    Folder(PathBuf),
}

/// How an API server is found.
#[derive(Debug, Clone, Default)]
pub struct ApiOptions {
    /// A kubeconfig file; without it, the service account of the Pod this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The server's own URL, instead of the one found by the above.
    pub server: Option<String>,
    /// Where the last known objects are kept, for a start while the server is away.
    pub cache: Option<Cache>,
}

/// The source cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file cannot be read or used.
    #[error("cannot use the kubeconfig {}: {reason}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// This is no Pod, or it has no service account.
    #[error(
        "cannot use the Pod's service account: {0}; outside of Kubernetes give --kubeconfig or --manifests"
    )]
    ServiceAccount(#[from] kube::config::InClusterError),
    /// The explicit address is no URL.
    #[error("\"{0}\" is no URL of an API server: write one like https://192.0.2.10:6443")]
    Url(String),
    /// The certificates or tokens cannot be used.
    #[error("cannot make a client for the API server: {0}")]
    Client(#[source] Box<kube::Error>),
    /// There is no such folder.
    #[error("cannot watch the folder {}: {reason}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// A source that can be used.
#[derive(Debug)]
pub struct Connection {
    kind: Kind,
    health: Health,
}

enum Kind {
    Api(Client, Option<Cache>),
    Folder(PathBuf),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(..) => f.write_str("Api"),
            Self::Folder(path) => write!(f, "Folder({})", path.display()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(ApiOptions { server: Some(server), .. }) => write!(f, "API server {server}"),
            Self::Api(ApiOptions { kubeconfig: Some(path), .. }) => {
                write!(f, "API server of {}", path.display())
            }
            Self::Api(_) => f.write_str("API server of the Pod's service account"),
            Self::Folder(path) => write!(f, "manifests in {}", path.display()),
        }
    }
}

impl Source {
    /// Prepares the source. An API server need not be reachable yet.
    ///
    /// # Errors
    /// [`ConnectError`]: trying again will not help.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let kind = match self {
            Self::Api(options) => Kind::Api(client(options).await?, options.cache.clone()),
            Self::Folder(path) => {
                check_folder(path)?;
                Kind::Folder(path.clone())
            }
        };
        Ok(Connection { kind, health: Health::default() })
    }
}

impl Connection {
    /// Changes, without end: first a [`Change::Replace`] once everything was read, then what changes. A source
    /// that fails is tried again, ever more patiently; see [`health`](Self::health). Until it answers for the
    /// first time there is a [`Change::Known`] with what the [`Cache`] has.
    pub fn changes(&self) -> impl Stream<Item = Change> + Send + 'static {
        match &self.kind {
            Kind::Api(client, cache) => {
                Either::Left(api::changes(client.clone(), self.health.clone(), cache.clone()))
            }
            Kind::Folder(path) => Either::Right(folder::changes(path.clone(), self.health.clone())),
        }
    }

    /// Writes annotations to where the objects come from.
    pub fn annotator(&self) -> Annotator {
        match &self.kind {
            Kind::Api(client, _) => Annotator::api(client.clone(), self.health.api_errors().clone()),
            Kind::Folder(path) => Annotator::folder(path),
        }
    }

    /// What is wrong with the source.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

fn check_folder(path: &Path) -> Result<(), ConnectError> {
    let fail = |reason: String| ConnectError::Folder { path: path.to_owned(), reason };
    let meta = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if meta.is_dir() { Ok(()) } else { Err(fail("it is no folder".into())) }
}

async fn client(options: &ApiOptions) -> Result<Client, ConnectError> {
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let fail = |reason: String| ConnectError::Kubeconfig { path: path.clone(), reason };
            let file = Kubeconfig::read_from(path).map_err(|error| fail(error.to_string()))?;
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
            config.map_err(|error| fail(error.to_string()))?
        }
        None => Config::incluster()?,
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
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}
