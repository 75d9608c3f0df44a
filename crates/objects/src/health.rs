use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

/// What is wrong with a source, if anything. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// Why objects do not arrive, or not all of them; `None` when they do.
    pub fn error(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Notes the state; says so in the log when it changed.
    pub(crate) fn set(&self, error: Option<String>) {
        let mut now = self.lock();
        if *now == error {
            return;
        }
        match &error {
            Some(error) => warn!(error, "objects do not arrive, or not all: the last known state stays"),
            None => info!("objects arrive again"),
        }
        *now = error;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
