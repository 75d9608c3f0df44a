//! Keeping the tables of connections: what is over is removed, and what a change of Services ends. A thread of its own does
//! that, so that programming a Service never waits for it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use datapath::{Connections, Kind, Position, Purge, Sweep};
use tracing::{debug, warn};

use crate::backend::Connection;

/// How often connections that are over are removed.
const PERIOD: Duration = Duration::from_secs(10);

/// The same while there is none: to read an empty table takes milliseconds, too.
const IDLE_PERIOD: Duration = Duration::from_secs(60);

/// For each part of working time, so many parts of rest follow: a fifth of a CPU at most.
const REST: u32 = 4;

/// The thread, and what it is told.
pub(super) struct Tracking {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    connections: Arc<Connections>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    purge: Purge,
    /// What could not be removed: tried again after the next sweep.
    failed: Purge,
    ending: bool,
    /// What the last whole sweep found.
    last: Arc<Sweep>,
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracking")
    }
}

impl Tracking {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(connections: Arc<Connections>) -> Result<Self> {
        let shared = Arc::new(Shared { connections, state: Mutex::default(), wake: Condvar::new() });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("connections".to_owned());
        let thread = thread.spawn(move || worker.run()).context("cannot start the thread of connections")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The tables.
    pub(super) fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.shared.connections)
    }

    /// What the last sweep found; nothing before the first one.
    pub(super) fn last(&self) -> Arc<Sweep> {
        Arc::clone(&self.shared.state().last)
    }

    /// Has connections removed, soon.
    pub(super) fn purge(&self, purge: Purge) {
        if !purge.is_empty() {
            self.shared.state().purge.extend(purge);
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.shared.state().ending = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was told already.
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until it is to end.
    fn run(&self) {
        let mut sweep_at = Instant::now() + PERIOD;
        while self.wait(sweep_at) {
            self.purge();
            if Instant::now() < sweep_at {
                continue;
            }
            let sweep = self.sweep();
            let is_idle = sweep.as_ref().is_some_and(|sweep| sweep.tables == [0; 2]);
            if let Some(sweep) = sweep {
                self.state().last = Arc::new(sweep);
            }
            {
                let state = &mut *self.state();
                let newer = std::mem::replace(&mut state.purge, std::mem::take(&mut state.failed));
                state.purge.extend(newer);
            }
            sweep_at = Instant::now() + if is_idle { IDLE_PERIOD } else { PERIOD };
        }
    }

    /// Waits until there is something to purge or until then. Whether to go on.
    fn wait(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let nothing = |state: &mut State| !state.ending && state.purge.is_empty();
        let waited = self.wake.wait_timeout_while(self.state(), left, nothing);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.ending
    }

    /// Removes what changes of Services ended.
    fn purge(&self) {
        let purge = std::mem::take(&mut self.state().purge);
        if purge.is_empty() {
            return;
        }
        let begun = Instant::now();
        match self.connections.remove_all(|connection| purge.is_wanted(connection), || !self.state().ending) {
            Ok(0) => {}
            Ok(removed) => debug!(removed, "removed connections that a change of Services ended"),
            Err(error) => {
                warn!(%error, "cannot remove connections that a change of Services ended, and tries again");
                self.state().failed.extend(purge);
            }
        }
        self.rest(begun.elapsed());
    }

    /// Removes what is over; `None` if that was cut short. What is to be purged does not wait for it.
    fn sweep(&self) -> Option<Sweep> {
        let mut begun = Instant::now();
        let mut whole = true;
        let pause = || {
            self.rest(begun.elapsed());
            self.purge();
            whole = !self.state().ending;
            begun = Instant::now();
            whole
        };
        match self.connections.sweep(pause) {
            Ok(sweep) => Some(sweep).filter(|_| whole),
            Err(error) => {
                warn!(%error, "cannot remove connections that are over");
                None
            }
        }
    }

    /// Rests after so much work, unless it is to end.
    fn rest(&self, worked: Duration) {
        let ending = |state: &mut State| !state.ending;
        let waited = self.wake.wait_timeout_while(self.state(), worked * REST, ending);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Hands over every connection that is wanted, once: of the two entries of a translated one, the client's.
///
/// # Errors
/// The kernel does not tell, or it takes until then.
pub(super) fn list(
    connections: &Connections,
    until: Instant,
    wanted: &dyn Fn(&Connection) -> bool,
    found: &mut dyn FnMut(Connection),
) -> Result<()> {
    let mut position = Position::default();
    while let Some(entries) = connections.next(&mut position)? {
        ensure!(Instant::now() < until, "reading the tables of connections takes too long: the node is busy");
        for entry in &entries {
            let connection = told(entry);
            // Without its other entry, which is evicted, a backend's stands for both.
            if wanted(&connection) && (entry.kind != Kind::Reply || connections.other(entry)?.is_none()) {
                found(connection);
            }
        }
    }
    Ok(())
}

fn told(entry: &datapath::Connection) -> Connection {
    Connection {
        idle: entry.idle,
        protocol: entry.protocol,
        client: entry.client,
        frontend: entry.frontend,
        source: entry.source,
        backend: entry.backend,
        service: entry.service,
        state: entry.state,
        translated: entry.kind != Kind::Plain,
        client_ifindex: entry.client_ifindex,
        server_ifindex: entry.server_ifindex,
    }
}
