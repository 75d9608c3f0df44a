use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::listing::{ListError, Listing};
use crate::options::{ApiOptions, ConnectError};
use crate::server::Server;
use crate::target::Target;
use crate::{Annotator, EventRecorder, Health, Kind, Recorder, Reporter, Watch, Writer};

/// Where objects come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Kubernetes API server.
    Api(ApiOptions),
    /// A directory of Kubernetes manifests, which is watched.
    Directory(PathBuf),
}

/// A source that can be used.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    health: Health,
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

    /// Creates Events about Pods in the name of this node's agent; `None` with a directory of manifests.
    pub fn recorder(&self, node: &str) -> Option<Recorder> {
        match &self.target {
            Target::Api(server, _) => Some(Recorder::new(server.clone(), &self.health, node)),
            Target::Directory(_) => None,
        }
    }

    /// Creates, changes and deletes objects; `None` with a directory of manifests.
    pub fn writer(&self) -> Option<Writer> {
        match &self.target {
            Target::Api(server, _) => Some(Writer::new(server.clone())),
            Target::Directory(_) => None,
        }
    }

    /// Creates Events about any object in the name of a program, of which this is one instance; `None` with a directory of
    /// manifests.
    pub fn event_recorder(&self, controller: &'static str, instance: &str) -> Option<EventRecorder> {
        match &self.target {
            Target::Api(server, _) => Some(EventRecorder::new(server.clone(), controller, instance)),
            Target::Directory(_) => None,
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
