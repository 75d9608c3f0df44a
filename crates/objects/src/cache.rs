//! The last known objects on disk: what an agent goes on with that starts while its API server is away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use crate::{Node, Object};

/// Another form of the file gets another number; a file with another number is not read.
const FORMAT: u32 = 1;

/// So long changes are gathered before the file is written: a new cluster has hundreds in a second.
const GATHER: Duration = Duration::from_secs(1);

/// A file that cannot be written is tried again after so long, or with the next change.
const RETRY: Duration = Duration::from_secs(60);

/// Where the last known objects are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The file. Its folder is made; both are root's alone.
    pub path: PathBuf,
    /// What tells this cluster from another one: a file of another one is not used.
    pub cluster: String,
}

/// What was known, and when.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) objects: Vec<Object>,
    pub(crate) saved: SystemTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    cluster: String,
    /// Seconds since 1970.
    saved: u64,
    nodes: Vec<Node>,
}

impl Cache {
    /// What the file says; `None` if there is none that can be used, which is then said in the log.
    pub(crate) async fn load(&self) -> Option<Remembered> {
        let cache = self.clone();
        let read = spawn_blocking(move || cache.read()).await;
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(remembered) => remembered,
            Err(error) => {
                warn!(file = %self.path.display(), error, "the objects on disk cannot be used");
                None
            }
        }
    }

    fn read(&self) -> Result<Option<Remembered>, String> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let format: Format = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if format.format != FORMAT {
            return Err(format!("it is of format {}, this program's is {FORMAT}", format.format));
        }
        let contents: Contents = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if contents.cluster != self.cluster {
            return Err(format!("it is of the cluster {}, this is {}", contents.cluster, self.cluster));
        }
        let saved = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(contents.saved));
        let objects = contents.nodes.into_iter().map(Object::Node).collect();
        Ok(Some(Remembered { objects, saved: saved.unwrap_or(SystemTime::UNIX_EPOCH) }))
    }

    /// Writes the file: whole, or not at all.
    fn write(&self, objects: &[Object]) -> io::Result<()> {
        let nodes = objects.iter().map(|object| match object {
            Object::Node(node) => node.clone(),
        });
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let contents = Contents {
            format: FORMAT,
            cluster: self.cluster.clone(),
            saved: since.map(|since| since.as_secs()).unwrap_or_default(),
            nodes: nodes.collect(),
        };
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }

    /// Writes what it is told, until nobody tells any more. Nothing else waits for it or fails with it.
    pub(crate) async fn keep(self, mut objects: watch::Receiver<Vec<Object>>) {
        let mut failed = false;
        loop {
            let changed = if failed {
                tokio::time::timeout(RETRY, objects.changed()).await.unwrap_or(Ok(()))
            } else {
                objects.changed().await
            };
            if changed.is_err() {
                return;
            }
            tokio::time::sleep(GATHER).await;
            let (cache, now) = (self.clone(), objects.borrow_and_update().clone());
            let written = spawn_blocking(move || cache.write(&now)).await.unwrap_or_else(|e| Err(e.into()));
            match &written {
                Ok(()) if failed => info!(file = %self.path.display(), "the objects are on disk again"),
                Ok(()) => debug!(file = %self.path.display(), "the objects are on disk"),
                Err(error) if failed => debug!(%error, "the objects still cannot be written"),
                Err(error) => warn!(
                    file = %self.path.display(), %error,
                    "cannot keep the objects on disk: an agent that starts while the API server is away would lack them"
                ),
            }
            failed = written.is_err();
        }
    }
}

/// The only part that every form has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(names: &[&str]) -> Vec<Object> {
        let node = |name: &&str| {
            Object::Node(Node {
                name: (*name).to_owned(),
                pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd44::/64".parse().unwrap()],
                internal_ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
                annotations: [("midonet.org/a".to_owned(), "b".to_owned())].into(),
            })
        };
        names.iter().map(node).collect()
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/nodes.json");
        (folder, Cache { path, cluster: "10.244.0.0/16".into() })
    }

    #[test]
    fn what_is_written_is_read_and_roots_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, cache) = cache();
        assert!(cache.read().unwrap().is_none());
        cache.write(&objects(&["a", "b"])).unwrap();
        cache.write(&objects(&["b"])).unwrap();
        let read = cache.read().unwrap().unwrap();
        assert_eq!(read.objects, objects(&["b"]));
        assert!(read.saved.elapsed().unwrap() < Duration::from_secs(5));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cache.path), mode(cache.path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(cache.path.parent().unwrap()).unwrap().count(), 1, "no half-written file");
    }

    #[test]
    fn what_cannot_be_used_is_not_and_says_why() {
        let (_folder, cache) = cache();
        cache.write(&objects(&["a"])).unwrap();
        let other = Cache { cluster: "10.1.0.0/16".into(), ..cache.clone() };
        assert!(other.read().unwrap_err().contains("of the cluster 10.244.0.0/16"));
        let whole = fs::read_to_string(&cache.path).unwrap();
        for (text, word) in [
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            (String::new(), "EOF"),
            (whole.replace("\"format\":1", "\"format\":2"), "format 2"),
            (whole.replace("10.244.1.0/24", "10.244.1.0"), "address"),
            (whole.replace("\"nodes\"", "\"knots\""), "knots"),
            ("[]".to_owned(), "invalid length"),
        ] {
            fs::write(&cache.path, text).unwrap();
            let error = cache.read().unwrap_err();
            assert!(error.contains(word), "{word} in {error}");
        }
        fs::remove_file(&cache.path).unwrap();
        fs::create_dir(&cache.path).unwrap();
        assert!(cache.read().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_gathered_and_failures_cost_nothing() {
        let (folder, cache) = cache();
        let (tell, told) = watch::channel(Vec::new());
        // A file where its folder should be.
        fs::write(folder.path().join("state"), "").unwrap();
        let keeping = tokio::spawn(cache.clone().keep(told));
        tell.send_replace(objects(&["a"]));
        tokio::time::sleep(GATHER * 3).await;
        assert!(cache.read().is_err());
        fs::remove_file(folder.path().join("state")).unwrap();
        tokio::time::sleep(RETRY + GATHER * 2).await;
        for _ in 0..100 {
            if cache.read().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(GATHER).await;
        }
        assert_eq!(cache.read().unwrap().unwrap().objects, objects(&["a"]));
        drop(tell);
        keeping.await.unwrap();
    }
}
