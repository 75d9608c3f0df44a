//! What the task of flows and those who ask for flows share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datapath::records::{Events, Records, Totals};

use super::store::{Page, Store};
use crate::outcomes::Outcomes;

/// What the agent knows of flows. Clones share one state.
#[derive(Debug, Clone)]
pub struct Flows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records: Arc<Records>,
    events: Mutex<Events>,
    store: Mutex<Store>,
    lines: Outcomes,
    sent: Outcomes,
}

impl Flows {
    /// Those of the datapath; as many are kept as it has records.
    pub fn new(records: Arc<Records>, events: Events) -> Self {
        let store = Store::new(usize::try_from(records.size()).unwrap_or(usize::MAX));
        let (events, store) = (Mutex::new(events), Mutex::new(store));
        let (lines, sent) = (Outcomes::default(), Outcomes::default());
        Self(Arc::new(Inner { records, events, store, lines, sent }))
    }

    /// How many events there were since the agent started.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn totals(&self) -> anyhow::Result<Totals> {
        Ok(self.events().totals()?)
    }

    /// The datapath's table.
    pub(super) fn records(&self) -> &Records {
        &self.0.records
    }

    /// What became of the lines of the file.
    pub fn lines(&self) -> &Outcomes {
        &self.0.lines
    }

    /// What became of those for an OpenTelemetry collector.
    pub fn sent(&self) -> &Outcomes {
        &self.0.sent
    }

    /// How many flows are kept, how many can be, and how many had to go early.
    pub fn sizes(&self) -> (usize, usize, u64) {
        let store = self.store();
        (store.len(), store.space(), store.dropped())
    }

    /// The flows that changed after a page.
    pub(crate) fn page(&self, after: u64, since: Option<Duration>) -> Page {
        self.store().page(after, since, datapath::uptime())
    }

    pub(super) fn events(&self) -> MutexGuard<'_, Events> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
