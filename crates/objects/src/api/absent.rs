//! A kind that a server may lack.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::{Duration, Instant};
use tracing::debug;

use super::Reflector;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::task::Task;

/// A server that had objects of the kind and seems to have lost it is believed only after so long. With its definition it
/// deletes a kind's objects first.
const DOUBT: Duration = Duration::from_secs(60);

/// A list of objects of whatever version.
#[derive(Deserialize)]
struct Found {
    items: Vec<IgnoredAny>,
}

impl<K: Kind> Reflector<K> {
    /// Takes in that the server does not know the kind, as this fault says: there are no objects of it.
    ///
    /// # Errors
    /// That is not certain.
    pub(super) async fn absent(&mut self, fault: Fault) -> Result<(), Fault> {
        if K::CUSTOM {
            self.no_other_version().await?;
        }
        let since = *self.absent_since.get_or_insert_with(Instant::now);
        if self.store.has_any() && since.elapsed() < DOUBT {
            return Err(fault);
        }
        debug!("{fault}: there are no objects of this kind");
        self.take_list(Vec::new());
        Ok(())
    }

    /// Looks whether the server has objects of the kind in a version that cannot be read.
    async fn no_other_version(&self) -> Result<(), Fault> {
        let (resource, server) = (&K::RESOURCE, &self.server);
        let group = format!("/apis/{}", resource.group);
        let Some(served) = self.get::<APIGroup>(&group).await? else { return Ok(()) };
        for other in served.versions.iter().map(|one| &one.version) {
            let path = format!("{group}/{other}");
            let Some(resources) = self.get::<APIResourceList>(&path).await? else { continue };
            if *other == resource.version || resources.resources.iter().all(|one| one.name != resource.plural)
            {
                continue;
            }
            let found = self.get::<Found>(&format!("{path}/{}?limit=1", resource.plural)).await?;
            if found.is_none_or(|found| !found.items.is_empty()) {
                let task = Task::list(resource);
                return Err(Fault::other_version(&server.place, task, other, resource.version));
            }
        }
        Ok(())
    }

    /// What the server has at this path; `None`: nothing, or it does not say.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Fault> {
        let task = Task::list(&K::RESOURCE);
        let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let request = request.map_err(|error| self.server.fault(task, &error))?;
        match self.server.answer(task, self.server.client.request::<T>(request)).await {
            Ok(found) => Ok(Some(found)),
            Err(fault) if fault.is_unknown() || fault.is_forbidden() => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
