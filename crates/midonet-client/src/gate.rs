//! How much goes on at once, and the pause while MidoNet is out of reach.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::{Error, Limits};

/// Lets operations in.
pub(crate) struct Gate {
    slots: Semaphore,
    /// Held by the one operation that tries whether a pause can end, until it knows.
    trial: tokio::sync::Mutex<()>,
    pause: Mutex<Option<Pause>>,
    limits: Limits,
}

/// MidoNet is out of reach.
struct Pause {
    until: Instant,
    delays: ExponentialBackoff,
    why: Error,
}

/// The permission to go on with an operation, until it is dropped.
pub(crate) struct Turn<'a> {
    _slot: SemaphorePermit<'a>,
    trial: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Turn<'_> {
    /// The operation knows whether MidoNet is within reach: those that wait for it need not wait for its end.
    pub(crate) fn tried(&mut self) {
        self.trial = None;
    }
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        let slots = limits.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            slots: Semaphore::new(slots),
            trial: tokio::sync::Mutex::default(),
            pause: Mutex::default(),
            limits,
        }
    }

    /// Waits for a turn, but not longer than this. In a pause it comes to one operation when the pause is over, and to
    /// the others when that one was answered.
    ///
    /// # Errors
    /// The error that the pause began with; none if there is no pause, but too much to do.
    pub(crate) async fn turn(&self, limit: Duration) -> Result<Turn<'_>, Option<Error>> {
        match timeout(limit, self.wait()).await {
            Ok(Some(turn)) => Ok(turn),
            Ok(None) | Err(_) => Err(self.pause().as_ref().map(|pause| pause.why.clone())),
        }
    }

    async fn wait(&self) -> Option<Turn<'_>> {
        let slot = self.slots.acquire().await.ok()?;
        if self.until().is_none() {
            return Some(Turn { _slot: slot, trial: None });
        }
        let trial = self.trial.lock().await;
        let Some(until) = self.until() else { return Some(Turn { _slot: slot, trial: None }) };
        sleep_until(until).await;
        Some(Turn { _slot: slot, trial: Some(trial) })
    }

    /// MidoNet answered: the pause ends.
    pub(crate) fn reached(&self) {
        *self.pause() = None;
    }

    /// MidoNet is out of reach: a pause begins, or the next, longer one. During a pause it is no news.
    pub(crate) fn out_of_reach(&self, why: &Error) {
        let now = Instant::now();
        let mut pause = self.pause();
        if pause.as_ref().is_some_and(|pause| now < pause.until) {
            return;
        }
        let mut delays = pause.take().map_or_else(|| self.delays(), |pause| pause.delays);
        let delay = delays.next().unwrap_or(self.limits.pause_max).min(self.limits.pause_max);
        tracing::warn!("{why}; nothing is sent to MidoNet for {:.1} s", delay.as_secs_f32());
        *pause = Some(Pause { until: now + delay, delays, why: why.clone() });
    }

    fn delays(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.limits.pause_min)
            .with_max_delay(self.limits.pause_max)
            .without_max_times()
            .with_jitter()
            .build()
    }

    fn until(&self) -> Option<Instant> {
        self.pause().as_ref().map(|pause| pause.until)
    }

    fn pause(&self) -> MutexGuard<'_, Option<Pause>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("paused", &self.until().is_some()).finish_non_exhaustive()
    }
}
