//! Calls that take turns: each of them may take much memory, or a probe that two must not make at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::{Response, Status};

use super::answers::internal;
use crate::agent::Agent;

/// One call at a time.
#[derive(Debug)]
pub(super) struct Turn {
    what: &'static str,
    patience: Duration,
    semaphore: Arc<Semaphore>,
}

impl Turn {
    /// For calls of a kind, which wait so long for each other.
    pub(super) fn new(what: &'static str, patience: Duration) -> Self {
        Self { what, patience, semaphore: Arc::new(Semaphore::new(1)) }
    }

    /// Waits for it. It is this call's until what is returned is dropped.
    ///
    /// # Errors
    /// Others take too long.
    pub(super) async fn wait(&self) -> Result<OwnedSemaphorePermit, Status> {
        let turn = timeout(self.patience, Arc::clone(&self.semaphore).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            Status::resource_exhausted(format!(
                "other calls for {} took longer than {:?}: try again",
                self.what, self.patience
            ))
        })
    }

    /// Answers when it is this call's turn, away from the threads that serve calls. The turn lasts until the work is done, also
    /// if the caller has gone.
    ///
    /// # Errors
    /// Others take too long, or what the work says.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        agent: &Agent,
        work: impl FnOnce(&Agent) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let turn = self.wait().await?;
        let done = agent.blocking(move |agent| {
            let _turn = turn;
            Ok(work(agent))
        });
        done.await.map_err(|error| internal(&error))?.map(Response::new)
    }
}
