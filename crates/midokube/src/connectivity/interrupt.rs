//! Waiting for the cluster, with a deadline, and only until Ctrl-C: a test that is interrupted removes what it made.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::nodes::Nodes;

/// How long the API server, or a node, may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Signals that end a test.
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on they do not end the program.
    ///
    /// # Errors
    /// They cannot be caught.
    pub(super) fn new(nodes: &Nodes) -> Result<Self> {
        nodes.block_on(async {
            let catch = |kind| signal(kind).context("cannot catch signals");
            Ok(Self {
                interrupt: catch(SignalKind::interrupt())?,
                terminate: catch(SignalKind::terminate())?,
            })
        })
    }

    /// Waits for something, for so long at most, and unless a signal comes.
    ///
    /// # Errors
    /// One came, it took longer, or what is waited for failed.
    pub(super) fn within<T>(
        &mut self,
        nodes: &Nodes,
        limit: Duration,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        nodes.block_on(async {
            tokio::select! {
                biased;
                () = self.came() => bail!("interrupted"),
                result = within(limit, future) => result,
            }
        })
    }

    /// # Errors
    /// A signal came.
    pub(super) fn check(&mut self, nodes: &Nodes) -> Result<()> {
        self.within(nodes, PATIENCE, async { Ok(()) })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for something, for so long at most.
///
/// # Errors
/// It took longer, or failed.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, future).await.map_err(|_| anyhow!("the API server did not answer within {limit:?}"))?
}
