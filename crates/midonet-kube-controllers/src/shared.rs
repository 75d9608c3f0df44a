//! What the tasks of a working program share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::reconciler::Reconciler;

/// Who waits for work looks again after so long, whatever happens.
const ANYWAY: Duration = Duration::from_secs(5);

/// The reconciler, and how those who work at it wake each other. It is held for single steps, never while something is waited for.
#[derive(Debug)]
pub struct Shared {
    reconciler: Mutex<Reconciler>,
    news: Notify,
}

impl Shared {
    /// Around a reconciler.
    pub fn new(reconciler: Reconciler) -> Self {
        Self { reconciler: Mutex::new(reconciler), news: Notify::new() }
    }

    /// Looks at the reconciler.
    pub fn look<T>(&self, look: impl FnOnce(&Reconciler) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the reconciler: there may be more to do.
    pub fn change<T>(&self, change: impl FnOnce(&mut Reconciler) -> T) -> T {
        let result = change(&mut self.lock());
        self.news.notify_waiters();
        result
    }

    /// Waits until there is something to do.
    pub async fn take<T>(&self, mut take: impl FnMut(&mut Reconciler) -> Option<T>) -> T {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on nothing is missed.
            news.as_mut().enable();
            let due = {
                let mut reconciler = self.lock();
                if let Some(found) = take(&mut reconciler) {
                    return found;
                }
                reconciler.next_due()
            };
            let wait = due.map_or(ANYWAY, |due| due.saturating_duration_since(Instant::now()).min(ANYWAY));
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reconciler> {
        self.reconciler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
