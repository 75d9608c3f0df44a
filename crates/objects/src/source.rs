use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::listing::{ListError, Listing};
use crate::server::Server;
use crate::{Annotator, Cache, Health, Kind, Reporter, Watch};

/// Where objects come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Kubernetes API server.
    Api(ApiOptions),
    /// A directory of Kubernetes manifests, which is watched.
    Directory(PathBuf),
}

/// How an API server is found.
#[derive(Debug, Clone, Default)]
pub struct ApiOptions {
    /// A kubeconfig file; without it, the service account of the Pod this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The server's own URL, instead of the one found by the above.
    pub server: Option<String>,
    /// Where the last known objects are cached, for a start while the server is away.
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
    #[error("cannot use the Pod's service account: {0}")]
    ServiceAccount(#[from] kube::config::InClusterError),
    /// The explicit address is no URL.
    #[error("\"{0}\" is no URL of an API server")]
    Url(String),
    /// The certificates or tokens cannot be used.
    #[error("cannot make a client for the API server {url} from {credentials}: {reason}")]
    Client {
        /// The server's URL.
        url: String,
        /// Where the certificates or tokens are from.
        credentials: String,
        /// Why not.
        reason: String,
    },
    /// There is no such directory.
    #[error("cannot watch the directory {}: {reason}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl ConnectError {
    /// What helps.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Kubeconfig { .. } => "correct the file, or the setting that names it",
            Self::ServiceAccount(_) => "outside of Kubernetes give --kubeconfig or --manifests",
            Self::Url(_) => "write one like https://192.0.2.10:6443",
            Self::Client { .. } => "correct the certificates, keys and tokens there",
            Self::Directory { .. } => "make the directory, or correct the setting that names it",
        }
    }
}

/// A source that can be used.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    health: Health,
}

/// What it is.
#[derive(Clone)]
pub(crate) enum Target {
    Api(Server, Option<Cache>),
    Directory(PathBuf),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(server, _) => write!(f, "Api({})", server.place.url),
            Self::Directory(path) => write!(f, "Directory({})", path.display()),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Api(server, _) => {
                write!(f, "API server {} by {}", server.place.url, server.place.credentials)
            }
            Target::Directory(path) => write!(f, "manifests in {}", path.display()),
        }
    }
}

impl Source {
    /// Prepares the source. An API server need not be reachable yet.
    ///
    /// # Errors
    /// [`ConnectError`]: trying again will not help.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let target = match self {
            Self::Api(options) => Target::Api(Server::new(options).await?, options.cache.clone()),
            Self::Directory(path) => {
                check_directory(path)?;
                Target::Directory(path.clone())
            }
        };
        Ok(Connection { target, health: Health::default() })
    }
}

impl Connection {
    /// Begins to watch objects: first the kinds are named, then it is [started](Watch::start).
    pub fn watch(&self) -> Watch {
        Watch::new(self.target.clone(), self.health.clone())
    }

    /// Writes annotations to where the objects come from.
    pub fn annotator(&self) -> Annotator {
        match &self.target {
            Target::Api(server, _) => Annotator::api(server.clone(), self.health.api_errors().clone()),
            Target::Directory(path) => Annotator::directory(path),
        }
    }

    /// Writes to the Node of this name what is wrong there; with a directory of manifests it does nothing.
    pub fn reporter(&self, node: &str) -> Reporter {
        match &self.target {
            Target::Api(server, _) => Reporter::api(server.clone(), &self.health, node),
            Target::Directory(_) => Reporter::nowhere(),
        }
    }

    /// Reads all objects of a kind once, and asks what the source allows; the cache is left alone.
    ///
    /// # Errors
    /// The source did not answer, or not within the limit.
    pub async fn list<K: Kind>(&self, limit: Duration) -> Result<Listing<K>, ListError> {
        Listing::read(&self.target, limit).await
    }

    /// What is wrong with the source.
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

fn check_directory(path: &Path) -> Result<(), ConnectError> {
    let fail = |reason: String| ConnectError::Directory { path: path.to_owned(), reason };
    let meta = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if meta.is_dir() { Ok(()) } else { Err(fail("it is no directory".into())) }
}
