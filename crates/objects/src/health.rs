use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tracing::{info, warn};

use crate::ApiErrors;

/// What is wrong with a source, if anything. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
    errors: ApiErrors,
}

#[derive(Debug, Default)]
struct State {
    error: Option<String>,
    from_disk: Option<SystemTime>,
}

impl Health {
    /// Why objects do not arrive, or not all of them; `None` when they do.
    pub fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    /// Since when the objects are those that were kept on disk, the source having been away since the start;
    /// `None` when they are the source's own.
    pub fn from_disk(&self) -> Option<SystemTime> {
        self.lock().from_disk
    }

    /// Which requests failed, from the start on.
    pub fn api_errors(&self) -> &ApiErrors {
        &self.errors
    }

    pub(crate) fn set_from_disk(&self, saved: Option<SystemTime>) {
        self.lock().from_disk = saved;
    }

    /// Notes the state; says so in the log when it changed.
    pub(crate) fn set(&self, error: Option<String>) {
        let now = &mut self.lock().error;
        if *now == error {
            return;
        }
        match &error {
            Some(error) => warn!(error, "objects do not arrive, or not all: the last known state stays"),
            None => info!("objects arrive again"),
        }
        *now = error;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
