//! What the tasks of a working program share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::desk::Desk;

/// Who waits for work looks again after so long, whatever happens.
const ANYWAY: Duration = Duration::from_secs(5);

/// The desk, and how those who work at it wake each other. It is held for single steps, never while something is waited for.
#[derive(Debug)]
pub struct Shared {
    desk: Mutex<Desk>,
    news: Notify,
}

impl Shared {
    /// Around a desk.
    pub fn new(desk: Desk) -> Self {
        Self { desk: Mutex::new(desk), news: Notify::new() }
    }

    /// Looks at the desk.
    pub fn look<T>(&self, look: impl FnOnce(&Desk) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the desk: there may be more to do.
    pub fn change<T>(&self, change: impl FnOnce(&mut Desk) -> T) -> T {
        let result = change(&mut self.lock());
        self.news.notify_waiters();
        result
    }

    /// Waits until there is something to do.
    pub async fn take<T>(&self, mut take: impl FnMut(&mut Desk) -> Option<T>) -> T {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on nothing is missed.
            news.as_mut().enable();
            let due = {
                let mut desk = self.lock();
                if let Some(found) = take(&mut desk) {
                    return found;
                }
                desk.next_due()
            };
            let wait = due.map_or(ANYWAY, |due| due.saturating_duration_since(Instant::now()).min(ANYWAY));
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
