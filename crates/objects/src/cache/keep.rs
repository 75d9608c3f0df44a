//! Writing the file: beside everything else, and no more often than needed.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::{Bound, Known};
use crate::Object;
use crate::fault::Fault;

/// So long changes are gathered before the file is written: a new cluster has hundreds in a second.
pub(super) const GATHER: Duration = Duration::from_secs(1);

/// A file that cannot be written is tried again after so long, or with the next change.
const RETRY: Duration = Duration::from_secs(60);

/// While nothing changes the file is written so often, for its age; more often if the limit of that is short.
pub(super) const REFRESH: Duration = Duration::from_secs(60 * 60);

impl Bound {
    /// Writes what it is told, until nobody tells any more. Nothing else waits for it or fails with it. `identify`
    /// gives the cluster's UID.
    pub(crate) async fn keep(
        self,
        identify: impl Fn() -> BoxFuture<'static, Result<String, Fault>>,
        mut told: watch::Receiver<Option<Known>>,
    ) {
        let refresh = REFRESH.min(self.cache.max_age / 2);
        let mut complaint: Option<String> = None;
        let mut cluster: Option<(u64, String)> = None;
        let mut written: Option<Known> = None;
        loop {
            let changed = if complaint.is_some() {
                tokio::time::timeout(RETRY, told.changed()).await.unwrap_or(Ok(()))
            } else {
                told.changed().await
            };
            if changed.is_err() {
                return;
            }
            tokio::time::sleep(GATHER).await;
            let Some(known) = told.borrow_and_update().clone() else { continue };
            // Somebody may have removed it.
            let is_there = self.cache.path.exists();
            if is_there && written.as_ref().is_some_and(|written| written.is_fresh(&known, refresh)) {
                continue;
            }
            let kept = self.keep_once(&identify, &mut cluster, &known).await;
            let file = self.cache.path.display();
            match &kept {
                Ok(()) if complaint.is_some() => info!(%file, "the Nodes are on disk again"),
                Ok(()) => debug!(%file, "the Nodes are on disk"),
                Err(error) if complaint.as_ref() == Some(error) => {
                    debug!(error, "the Nodes still cannot be kept");
                }
                Err(error) => warn!(
                    %file, error,
                    "cannot keep the Nodes on disk: an agent that starts while the API server is away would lack them"
                ),
            }
            complaint = kept.err();
            written = complaint.is_none().then_some(known);
        }
    }

    async fn keep_once(
        &self,
        identify: &impl Fn() -> BoxFuture<'static, Result<String, Fault>>,
        cluster: &mut Option<(u64, String)>,
        known: &Known,
    ) -> Result<(), String> {
        let uid = match cluster.take().filter(|(list, _)| *list == known.list) {
            Some((_, uid)) => uid,
            None => {
                let uid = identify().await.map_err(|fault| format!("which cluster is it? {fault}"))?;
                self.compare(&uid, known);
                uid
            }
        };
        *cluster = Some((known.list, uid.clone()));
        let (bound, known) = (self.clone(), known.clone());
        let written = spawn_blocking(move || bound.write(&known, &uid)).await;
        written.unwrap_or_else(|error| Err(error.into())).map_err(|error| error.to_string())
    }

    /// Says in the log if the file is of another cluster or of a former Node.
    fn compare(&self, cluster: &str, known: &Known) {
        let Ok(Some(before)) = self.contents() else { return };
        let file = self.cache.path.display();
        let own =
            known.objects.iter().map(|Object::Node(node)| node).find(|node| node.name == self.cache.node);
        if before.cluster_uid != cluster {
            warn!(
                %file, before = before.cluster_uid, now = cluster,
                "the Nodes on disk are of another cluster, by the UID of kube-system: all are replaced"
            );
        } else if own.is_some_and(|own| own.uid != before.node_uid) {
            warn!(%file, node = self.cache.node, "the Node on disk is a former one of this name: it is replaced");
        }
    }
}

impl Known {
    /// Whether a file with this need not be written anew for that.
    fn is_fresh(&self, now: &Self, refresh: Duration) -> bool {
        let age = now.at.duration_since(self.at).unwrap_or(refresh);
        self.list == now.list && self.objects == now.objects && age < refresh
    }
}
