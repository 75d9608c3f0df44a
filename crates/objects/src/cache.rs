//! The last known objects on disk: what an agent goes on with that starts while its API server is away.
//!
//! Which cluster an API server is of is known only once it answers. So while it is away the file is bound to what
//! is configured: the server's URL and certificate authority, and the node's name; and to an age. Once it answers,
//! its objects replace the file's, each by its UID, and the file gets the UIDs of the cluster and of the Node.

mod keep;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::server::Server;
use crate::{Node, Object};

/// Another form of the file gets another number; a file with another number is not read.
const FORMAT: u32 = 2;

/// Clocks that are set while the node runs differ by less. A file from further in the future is not used: how old
/// it is cannot be known.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Where the last known objects are kept, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The file. Its folder is made; both are root's alone.
    pub path: PathBuf,
    /// This node's name: a file of another node, or without this one, is not used.
    pub node: String,
    /// An older file is not used.
    pub max_age: Duration,
}

/// A cache and the API server that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    cache: Cache,
    server: String,
    authorities: Vec<String>,
}

/// What was known, and when.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) nodes: Vec<Node>,
    pub(crate) saved: SystemTime,
}

/// What is to be remembered.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) objects: Vec<Object>,
    /// When the server last said so.
    pub(crate) at: SystemTime,
    /// Another number after each list: the server may be another cluster's by now.
    pub(crate) list: u64,
    /// The server has no Node for this node.
    pub(crate) own_is_gone: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    /// The API server's URL.
    server: String,
    /// The SHA-256 of the certificates that it is trusted by.
    authorities: Vec<String>,
    /// The name of this node.
    node: String,
    /// The UID of the namespace kube-system.
    cluster_uid: String,
    /// The UID of this node's Node.
    node_uid: Option<String>,
    /// Seconds since 1970.
    saved: u64,
    nodes: Vec<Node>,
}

impl Bound {
    pub(crate) fn new(cache: Cache, server: &Server) -> Self {
        Self { cache, server: server.place.url.clone(), authorities: server.authorities.clone() }
    }

    pub(crate) fn node(&self) -> &str {
        &self.cache.node
    }

    pub(crate) fn path(&self) -> &Path {
        &self.cache.path
    }

    /// What the file says; `None` if there is none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) async fn load(&self) -> Result<Option<Remembered>, String> {
        let bound = self.clone();
        let read = spawn_blocking(move || bound.read(SystemTime::now())).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn read(&self, now: SystemTime) -> Result<Option<Remembered>, String> {
        let Some(contents) = self.contents()? else { return Ok(None) };
        let Cache { node, max_age, .. } = &self.cache;
        if contents.server != self.server {
            return Err(format!(
                "it is from the API server {}, this one is {}",
                contents.server, self.server
            ));
        }
        if !share(&contents.authorities, &self.authorities) {
            return Err("its API server had another certificate authority".into());
        }
        if contents.node != *node {
            return Err(format!("it is of the node {}, this one is {node}", contents.node));
        }
        let own = contents.nodes.iter().find(|known| known.name == *node);
        if own.is_none_or(|own| own.uid != contents.node_uid) {
            return Err(format!("it lacks the Node {node}"));
        }
        let saved = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(contents.saved));
        let saved = saved.ok_or("its time is impossible")?;
        let age = match now.duration_since(saved) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= SKEW => Duration::ZERO,
            Err(ahead) => return Err(format!("it is from the future by {}", rough(ahead.duration()))),
        };
        if age >= *max_age {
            return Err(format!("it is {} old, the limit is {}", rough(age), rough(*max_age)));
        }
        Ok(Some(Remembered { nodes: contents.nodes, saved }))
    }

    fn contents(&self) -> Result<Option<Contents>, String> {
        let text = match fs::read_to_string(&self.cache.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let format: Format = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if format.format != FORMAT {
            return Err(format!("it is of format {}, this program's is {FORMAT}", format.format));
        }
        serde_json::from_str(&text).map(Some).map_err(|error| error.to_string())
    }

    /// Writes the file: whole, or not at all. Without this node's Node there is none.
    fn write(&self, known: &Known, cluster: &str) -> io::Result<()> {
        let path = &self.cache.path;
        let nodes: Vec<Node> = known.objects.iter().map(|Object::Node(node)| node.clone()).collect();
        let Some(own) = nodes.iter().find(|node| node.name == self.cache.node) else {
            // One that is there but says something impossible may be mended: what was known of it stays.
            return if known.own_is_gone { remove(path) } else { Ok(()) };
        };
        let since = known.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let contents = Contents {
            format: FORMAT,
            server: self.server.clone(),
            authorities: self.authorities.clone(),
            node: self.cache.node.clone(),
            cluster_uid: cluster.to_owned(),
            node_uid: own.uid.clone(),
            saved: since.as_secs(),
            nodes,
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    }
}

/// The only part that every form has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// One in common is enough: authorities are renewed one after the other.
fn share(some: &[String], others: &[String]) -> bool {
    some == others || some.iter().any(|one| others.contains(one))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// In its largest units: "7days", "3h 20m".
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = if seconds >= 3600 { 3600 } else { 1 };
    humantime::format_duration(Duration::from_secs(seconds - seconds % unit)).to_string()
}

#[cfg(test)]
mod tests;
