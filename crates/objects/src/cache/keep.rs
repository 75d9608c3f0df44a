//! Writing the file: beside everything else, and no more often than needed.

use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::Bound;
use crate::fault::Fault;
use crate::kind::Kind;
use crate::store::View;

/// So long changes are gathered before the file is written: a new cluster has hundreds in a second.
pub(super) const GATHER: Duration = Duration::from_secs(1);

/// The file is not written more often than that: with thousands of objects it takes some milliseconds.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// A file that cannot be written is tried again after so long, or with the next change.
const RETRY: Duration = Duration::from_secs(60);

/// While nothing changes the file is written so often, for its age; more often if the limit of that is short.
pub(super) const REFRESH: Duration = Duration::from_secs(60 * 60);

/// The objects in the store are what the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmed {
    /// When it last said so.
    pub(crate) at: SystemTime,
    /// Another number after each list: the server may be another cluster's by now.
    pub(crate) list: u64,
}

/// What was written last.
#[derive(Debug, Clone, Copy)]
struct Written {
    confirmed: Confirmed,
    revision: u64,
}

impl<K: Kind> Bound<K> {
    /// Writes the store's objects whenever they changed, until nobody confirms them any more. Nothing else waits for it
    /// or fails with it. `identify` gives the cluster's UID.
    pub(crate) async fn keep(
        self,
        view: View<K>,
        identify: impl Fn() -> BoxFuture<'static, Result<String, Fault>>,
        mut told: watch::Receiver<Option<Confirmed>>,
    ) {
        let (refresh, kind) = (REFRESH.min(self.cache.max_age / 2), K::RESOURCE.kind);
        let mut complaint: Option<String> = None;
        let mut cluster: Option<(u64, String)> = None;
        let mut written: Option<Written> = None;
        let mut next = Instant::now();
        loop {
            let changed = if complaint.is_some() {
                timeout(RETRY, told.changed()).await.unwrap_or(Ok(()))
            } else {
                told.changed().await
            };
            if changed.is_err() {
                return;
            }
            sleep_until(next.max(Instant::now() + GATHER)).await;
            let Some(confirmed) = *told.borrow_and_update() else { continue };
            let now = Written { confirmed, revision: view.revision() };
            // Somebody may have removed it.
            let is_there = self.path.exists();
            if is_there && written.is_some_and(|written| written.is_fresh(now, refresh)) {
                continue;
            }
            let kept = self.keep_once(&view, &identify, &mut cluster, confirmed).await;
            next = Instant::now() + PERIOD;
            let file = self.path.display();
            match &kept {
                Ok(_) if complaint.is_some() => info!(%file, kind, "the objects are cached on disk again"),
                Ok(_) => debug!(%file, kind, "the objects are cached on disk"),
                Err(error) if complaint.as_ref() == Some(error) => {
                    debug!(error, kind, "the objects still cannot be cached");
                }
                Err(error) => warn!(
                    %file, kind, error,
                    "cannot cache the objects on disk: an agent that starts while the API server is away would lack them"
                ),
            }
            written = kept.as_ref().ok().map(|revision| Written { confirmed, revision: *revision });
            complaint = kept.err();
        }
    }

    /// Writes the file; returns which revision of the store it has.
    async fn keep_once(
        &self,
        view: &View<K>,
        identify: &impl Fn() -> BoxFuture<'static, Result<String, Fault>>,
        cluster: &mut Option<(u64, String)>,
        confirmed: Confirmed,
    ) -> Result<u64, String> {
        let known = cluster.take().filter(|(list, _)| *list == confirmed.list);
        let is_new = known.is_none();
        let uid = match known {
            Some((_, uid)) => uid,
            None => identify().await.map_err(|fault| format!("which cluster is it? {fault}"))?,
        };
        *cluster = Some((confirmed.list, uid.clone()));
        let own = K::of_node(&self.cache.node);
        let own_is_invalid = own.as_ref().is_some_and(|own| view.is_invalid(own));
        let (objects, revision) = view.objects();
        let bound = self.clone();
        let written = spawn_blocking(move || {
            let found = own.as_ref().and_then(|own| objects.iter().find(|object| object.key() == *own));
            if is_new {
                bound.compare(&uid, found.and_then(|found| found.uid()));
            }
            match own {
                // One that is there but invalid may be corrected: what was known of it stays.
                Some(_) if found.is_none() && own_is_invalid => Ok(()),
                Some(_) if found.is_none() => bound.remove(),
                _ => bound.write(&objects, confirmed.at, &uid),
            }
        });
        let written = written.await.unwrap_or_else(|error| Err(error.into()));
        written.map(|()| revision).map_err(|error| error.to_string())
    }

    /// Logs if the file is of another cluster or of a former Node.
    fn compare(&self, cluster: &str, own: Option<&str>) {
        let Ok(Some((before, _))) = self.contents() else { return };
        let (file, kind) = (self.path.display(), K::RESOURCE.kind);
        if before.cluster_uid != cluster {
            warn!(
                %file, kind, before = before.cluster_uid, now = cluster,
                "the cached objects are of another cluster, by the UID of kube-system: all are replaced"
            );
        } else if own.is_some() && own != before.node_uid.as_deref() {
            warn!(
                %file, kind, node = self.cache.node,
                "the cached object of this node is a former one of this name: it is replaced"
            );
        }
    }
}

impl Written {
    /// Whether a file with this need not be written anew for that.
    fn is_fresh(&self, now: Self, refresh: Duration) -> bool {
        let age = now.confirmed.at.duration_since(self.confirmed.at).unwrap_or(refresh);
        self.confirmed.list == now.confirmed.list && self.revision == now.revision && age < refresh
    }
}
