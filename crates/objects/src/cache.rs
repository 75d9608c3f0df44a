//! The last known objects on disk, each kind in a file of its own: what an agent goes on with that starts while its API
//! server is away.
//!
//! Which cluster an API server is of is known only once it answers. So while it is away a file is bound to what is
//! configured: the server's URL and certificate authority, and the node's name; and to an age. Once it answers, its
//! objects replace the file's, each by its UID, and the file gets the UIDs of the cluster and of this node's Node.

mod contents;
mod keep;

use std::fs::{self, DirBuilder};
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use atomic_file::Durability;
use tokio::task::spawn_blocking;

use crate::kind::{Kind, Resource};
use crate::kinds;

use contents::{Binding, Contents, FORMAT, parse};
pub(crate) use keep::Confirmed;

/// Clocks that are set while the node runs differ by less. A file from further in the future is not used: how old
/// it is cannot be known.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Where the last known objects are cached, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The directory of the files, such as `nodes.json`. It is made; it and they are root's alone.
    pub directory: PathBuf,
    /// This node's name: a file of another node, or one of Nodes without this one, is not used.
    pub node: String,
    /// An older file is not used.
    pub max_age: Duration,
}

impl Cache {
    /// Every file that there may be in the directory, those of former builds included.
    pub fn files(directory: &Path) -> Vec<PathBuf> {
        let files = kinds::ALL.iter().map(|resource| file(directory, resource));
        files.flat_map(|file| [file.with_extension("new"), file]).collect()
    }
}

fn file(directory: &Path, resource: &Resource) -> PathBuf {
    directory.join(format!("{}.json", resource.plural))
}

/// The cache of one kind of objects, and the API server that it is for.
#[derive(Debug)]
pub(crate) struct Bound<K> {
    cache: Cache,
    path: PathBuf,
    server: String,
    authorities: Vec<String>,
    kind: PhantomData<fn() -> K>,
}

/// What was known, and when.
#[derive(Debug, PartialEq)]
pub(crate) struct Cached<K> {
    pub(crate) objects: Vec<K>,
    pub(crate) saved: SystemTime,
}

// Not derived: that would ask the kind to be one, too.
impl<K> Clone for Bound<K> {
    fn clone(&self) -> Self {
        let (server, authorities) = (self.server.clone(), self.authorities.clone());
        Self { cache: self.cache.clone(), path: self.path.clone(), server, authorities, kind: PhantomData }
    }
}

impl<K: Kind> Bound<K> {
    /// The cache of objects from a server's URL; `authorities` are the digests of its certificate authorities.
    pub(crate) fn new(cache: Cache, server: String, authorities: Vec<String>) -> Self {
        let path = file(&cache.directory, &K::RESOURCE);
        Self { cache, path, server, authorities, kind: PhantomData }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says; `None` if there is none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) async fn load(&self) -> Result<Option<Cached<K>>, String> {
        let bound = self.clone();
        let read = spawn_blocking(move || bound.read(SystemTime::now())).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn read(&self, now: SystemTime) -> Result<Option<Cached<K>>, String> {
        let Some((binding, objects)) = self.contents()? else { return Ok(None) };
        let Cache { node, max_age, .. } = &self.cache;
        if binding.server != self.server {
            return Err(format!("it is from the API server {}, this one is {}", binding.server, self.server));
        }
        if !share(&binding.authorities, &self.authorities) {
            return Err("its API server had another certificate authority".into());
        }
        if binding.node != *node {
            return Err(format!("it is of the node {}, this one is {node}", binding.node));
        }
        let saved = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(binding.saved));
        let saved = saved.ok_or("its time is impossible")?;
        if let Some(own) = K::of_node(node) {
            let own = objects.iter().find(|known| known.key() == own);
            if own.is_none_or(|own| own.uid() != binding.node_uid.as_deref()) {
                return Err(format!("it lacks the {} {node}", K::RESOURCE.kind));
            }
        }
        let age = match now.duration_since(saved) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= SKEW => Duration::ZERO,
            Err(ahead) => return Err(format!("it is from the future by {}", rough(ahead.duration()))),
        };
        if age >= *max_age {
            return Err(format!("it is {} old, the limit is {}", rough(age), rough(*max_age)));
        }
        Ok(Some(Cached { objects, saved }))
    }

    fn contents(&self) -> Result<Option<(Binding, Vec<K>)>, String> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        parse::<K>(&text).map(Some)
    }

    /// Writes the file: whole, or not at all.
    fn write(&self, objects: &[Arc<K>], saved: SystemTime, cluster_uid: &str) -> io::Result<()> {
        let own = K::of_node(&self.cache.node);
        let own = own.and_then(|own| objects.iter().find(|object| object.key() == own));
        let since = saved.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let binding = Binding {
            format: FORMAT,
            server: self.server.clone(),
            authorities: self.authorities.clone(),
            node: self.cache.node.clone(),
            cluster_uid: cluster_uid.to_owned(),
            node_uid: own.and_then(|own| own.uid()).map(str::to_owned),
            saved: since.as_secs(),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.cache.directory)?;
        let contents = serde_json::to_vec(&Contents { binding: &binding, objects })?;
        atomic_file::replace(&self.path, &contents, 0o600, Durability::Synced)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// One in common is enough: authorities are renewed one after the other.
fn share(some: &[String], others: &[String]) -> bool {
    some == others || some.iter().any(|one| others.contains(one))
}

/// In its largest units: "7days", "3h 20m".
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = if seconds >= 3600 { 3600 } else { 1 };
    humantime::format_duration(Duration::from_secs(seconds - seconds % unit)).to_string()
}

#[cfg(test)]
mod tests;
