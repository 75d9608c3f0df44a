//! One reading of a source, as a check of a node makes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::api::list::{At, List, list};
use crate::fault::Fault;
use crate::permissions::denied;
use crate::server::Server;
use crate::target::Target;
use crate::task::Task;
use crate::{Health, Invalid, Key, Kind, Selector, Watch};

/// All objects of one kind, and what is wrong with them and with the source.
#[derive(Debug)]
pub struct Listing<K> {
    /// The objects that are valid; `None` if they may not be listed.
    pub objects: Option<Vec<Arc<K>>>,
    /// The others.
    pub invalid: BTreeMap<Key, Invalid>,
    /// What is wrong with manifests.
    pub error: Option<String>,
    /// What the API server does not allow, of what watching and annotating need.
    pub denied: Vec<Fault>,
}

/// A source did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The API server did not.
    #[error(transparent)]
    Api(#[from] Fault),
    /// The directory did not.
    #[error("the directory {} was not read within {limit:?}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
}

impl<K: Kind> Listing<K> {
    pub(crate) async fn read(target: &Target, limit: Duration) -> Result<Self, ListError> {
        match target {
            Target::Api(server, _) => match timeout(limit, Self::from_api(server)).await {
                Ok(listing) => Ok(listing?),
                Err(_) => Err(Fault::no_answer(&server.place, Task::list(&K::RESOURCE), limit).into()),
            },
            Target::Directory(path) => {
                let health = Health::default();
                let mut watch = Watch::new(target.clone(), health.clone());
                let mut changes = watch.of::<K>(Selector::default());
                let _watching = watch.start();
                let Ok(Some(delta)) = timeout(limit, changes.next()).await else {
                    return Err(ListError::Directory { path: path.clone(), limit });
                };
                let invalid = health.invalid_objects().borrow().get(K::RESOURCE.kind).cloned();
                let (invalid, error) = (invalid.unwrap_or_default(), health.error());
                Ok(Self { objects: Some(delta.upserted), invalid, error, denied: Vec::new() })
            }
        }
    }

    async fn from_api(server: &Server) -> Result<Self, Fault> {
        let mut listing = Self { objects: None, invalid: BTreeMap::new(), error: None, denied: Vec::new() };
        let mut refused = None;
        match list::<K>(server, &Selector::default(), &At::Cache).await {
            Ok(List { entries, .. }) => {
                let mut objects = Vec::new();
                for entry in entries {
                    match entry.object {
                        Ok(object) => objects.push(Arc::new(object)),
                        Err(invalid) => drop(listing.invalid.insert(entry.key, invalid)),
                    }
                }
                listing.objects = Some(objects);
            }
            Err(fault) if fault.is_forbidden() => refused = Some(fault),
            Err(fault) => return Err(fault),
        }
        listing.denied = denied(server).await;
        // A server that refuses to review permissions, too, tells of none.
        listing.denied.extend(refused.filter(|_| listing.denied.is_empty()));
        Ok(listing)
    }
}
