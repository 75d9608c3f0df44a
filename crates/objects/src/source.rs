use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures::future::Either;
use futures::{Stream, StreamExt};
use tokio::time::timeout;

use crate::cache::Bound;
use crate::fault::Fault;
use crate::server::Server;
use crate::{Annotator, Cache, Change, Health, Node, Reporter, api, folder};

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
    /// There is no such folder.
    #[error("cannot watch the folder {}: {reason}", .path.display())]
    Folder {
        /// The folder.
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
            Self::Folder { .. } => "make the folder, or correct the setting that names it",
        }
    }
}

/// A source that can be used.
#[derive(Debug)]
pub struct Connection {
    kind: Kind,
    health: Health,
}

/// What one look at a source gave: see [`Connection::look`].
#[derive(Debug, Default)]
pub struct Look {
    /// The Nodes that could be read; `None` if they may not be listed.
    pub nodes: Option<Vec<Node>>,
    /// What is wrong with the others, or with files.
    pub problems: Vec<String>,
    /// What the API server does not allow, of what [`Connection::changes`] and annotating need.
    pub denied: Vec<Fault>,
}

/// A source did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The API server did not.
    #[error(transparent)]
    Api(#[from] Fault),
    /// The folder did not.
    #[error("the folder {} was not read within {limit:?}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
}

enum Kind {
    Api(Server, Option<Cache>),
    Folder(PathBuf),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(server, _) => write!(f, "Api({})", server.place.url),
            Self::Folder(path) => write!(f, "Folder({})", path.display()),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Api(server, _) => {
                write!(f, "API server {} by {}", server.place.url, server.place.credentials)
            }
            Kind::Folder(path) => write!(f, "manifests in {}", path.display()),
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
            Self::Api(options) => Kind::Api(Server::new(options).await?, options.cache.clone()),
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
            Kind::Api(server, cache) => {
                let cache = cache.clone().map(|cache| Bound::new(cache, server));
                Either::Left(api::changes(server.clone(), self.health.clone(), cache))
            }
            Kind::Folder(path) => Either::Right(folder::changes(path.clone(), self.health.clone())),
        }
    }

    /// Writes annotations to where the objects come from.
    pub fn annotator(&self) -> Annotator {
        match &self.kind {
            Kind::Api(server, _) => Annotator::api(server.clone(), self.health.api_errors().clone()),
            Kind::Folder(path) => Annotator::folder(path),
        }
    }

    /// Writes to the Node of this name what is wrong there; with a folder of manifests it does nothing.
    pub fn reporter(&self, node: &str) -> Reporter {
        match &self.kind {
            Kind::Api(server, _) => Reporter::api(server.clone(), &self.health, node),
            Kind::Folder(_) => Reporter::nowhere(),
        }
    }

    /// Reads the source once and asks what it allows; the cache is left alone.
    ///
    /// # Errors
    /// The source did not answer, or not within the limit.
    pub async fn look(&self, limit: Duration) -> Result<Look, LookError> {
        match &self.kind {
            Kind::Api(server, _) => match timeout(limit, look(server)).await {
                Ok(look) => Ok(look?),
                Err(_) => Err(Fault::no_answer(&server.place, "list nodes", limit).into()),
            },
            Kind::Folder(path) => {
                let health = Health::default();
                let mut changes = pin!(folder::changes(path.clone(), health.clone()));
                match timeout(limit, changes.next()).await {
                    Ok(Some(Change::Replace(objects) | Change::Known(objects))) => {
                        let nodes = objects.into_iter().map(|crate::Object::Node(node)| node).collect();
                        let problems = health.error().into_iter().collect();
                        Ok(Look { nodes: Some(nodes), problems, denied: Vec::new() })
                    }
                    _ => Err(LookError::Folder { path: path.clone(), limit }),
                }
            }
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

async fn look(server: &Server) -> Result<Look, Fault> {
    let mut look = Look::default();
    let mut refused = None;
    match server.nodes().await {
        Ok(nodes) => {
            let (good, bad): (Vec<_>, Vec<_>) =
                nodes.into_iter().map(Node::try_from).partition(Result::is_ok);
            look.nodes = Some(good.into_iter().flatten().collect());
            look.problems = bad.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        }
        Err(fault) if fault.is_forbidden() => refused = Some(fault),
        Err(fault) => return Err(fault),
    }
    look.denied = server.denied().await;
    // A server that refuses to review permissions, too, tells of none.
    look.denied.extend(refused.filter(|_| look.denied.is_empty()));
    Ok(look)
}
