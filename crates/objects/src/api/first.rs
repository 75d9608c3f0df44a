//! Which list is asked for, and what there is to go on with until the first one is there.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use super::Reflector;
use super::list::{At, List, list};
use crate::fault::Fault;
use crate::kind::Kind;

/// A server that takes longer for its first list is away: what is on disk serves meanwhile.
const PROMPT: Duration = Duration::from_secs(2);

impl<K: Kind> Reflector<K> {
    /// The list. While the first one is missing, the objects on disk are given.
    pub(super) async fn listed(&mut self) -> Result<List<K>, Fault> {
        let (server, selector) = (self.server.clone(), self.selector.clone());
        let Some(reached) = self.reached.clone() else {
            let mut request = pin!(list(&server, &selector, &At::Cache));
            if self.cache.is_none() {
                return request.await;
            }
            return match timeout(PROMPT, &mut request).await {
                Ok(Ok(list)) => Ok(list),
                Ok(Err(fault)) => {
                    self.restore(true).await;
                    Err(fault)
                }
                Err(_) => {
                    self.restore(true).await;
                    request.await
                }
            };
        };
        match list(&server, &selector, &At::NotOlderThan(reached)).await {
            Err(fault) if fault.refuses_version() => {
                debug!("{fault}: listing the latest state");
                list(&server, &selector, &At::Latest).await
            }
            listed => listed,
        }
    }

    /// Takes in what is on disk; `known`: to go on with it until the server answers.
    pub(super) async fn restore(&mut self, known: bool) {
        let Some(cache) = &self.cache else { return };
        let found = match cache.load().await {
            Ok(found) => found,
            Err(error) => {
                // It is read again: a clock that is wrong may be set.
                if self.unusable.as_ref() != Some(&error) {
                    warn!(file = %cache.path().display(), error, "the cached objects are not used");
                    self.unusable = Some(error);
                }
                return;
            }
        };
        self.cache = None;
        let Some(found) = found else { return };
        if known {
            let age_seconds = found.saved.elapsed().unwrap_or_default().as_secs();
            let (kind, count) = (K::RESOURCE.kind, found.objects.len());
            warn!(
                kind,
                count, age_seconds, "the API server does not answer: going on with the cached objects"
            );
            self.health.set_from_disk(kind, Some(found.saved));
        }
        self.store.restore(found.objects, known);
    }
}
