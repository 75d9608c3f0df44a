//! One look at what the datapath tells.

use std::time::Duration;

use anyhow::Result;
use datapath::records::{Place, Record, What};
use datapath::uptime;
use model::Problem;

use super::export::Export;
use super::flow::Flow;
use super::names;
use super::otlp::Queue;
use super::shared::Flows;
use super::store::Known;
use crate::agent::Agent;
use crate::config::FlowLog;

/// So many events are taken in before others get the store: they fit into a processor's cache.
const SLICE: usize = 256;

/// So many slices are read at one look: the ring has no more of them, unless it is filled while it is read.
const SLICES: usize = 1024;

/// A flow that has no record any more, and of which nothing was heard for so long, had its record evicted.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// Takes in what the datapath tells.
#[derive(Debug)]
pub(super) struct Reader {
    flows: Flows,
    export: Export,
}

impl Reader {
    pub(super) fn new(node: &str, flows: Flows, log: &FlowLog, collector: Option<Queue>) -> Self {
        let export = Export::new(node, log, flows.lines(), collector);
        Self { flows, export }
    }

    /// Reads all events, and, if asked for, all records. Returns what is wrong with the file.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn read(&mut self, agent: &Agent, sweeps: bool) -> Result<Vec<Problem>> {
        let mut events = Vec::with_capacity(SLICE);
        for _ in 0..SLICES {
            events.clear();
            self.flows.events().read_some(&mut events, SLICE)?;
            if events.is_empty() {
                break;
            }
            let records = events.iter().map(|event| (&event.record, event.what == What::End));
            self.take_in(agent, records, false)?;
        }
        if sweeps {
            self.sweep(agent)?;
        }
        Ok(self.export.write())
    }

    /// Reads all records: they have what events could not tell, and those that are over have all of it.
    fn sweep(&mut self, agent: &Agent) -> Result<()> {
        let flows = self.flows.clone();
        let (records, mut place) = (flows.records(), Place::default());
        flows.store().look();
        while let Some(rows) = records.next(&mut place)? {
            for rows in rows.chunks(SLICE) {
                let (mut known, mut over) = (Vec::with_capacity(rows.len()), Vec::new());
                for row in rows {
                    match records.remove_if_over(row)? {
                        Some(last) => over.push(last),
                        None => known.push(row),
                    }
                }
                self.take_in(agent, known.into_iter().map(|row| (row, false)), true)?;
                self.finish(agent, &over)?;
            }
        }
        let now = uptime();
        let gone = flows.store().without_record(FORGOTTEN, now);
        self.finish(agent, &gone)?;
        flows.store().expire(now);
        Ok(())
    }

    /// Puts records into the store, each with whether its flow has ended. What is known of one and has not changed is not touched.
    /// `renames`: flows that lack names may get them now.
    fn take_in<'a>(
        &mut self,
        agent: &Agent,
        records: impl Iterator<Item = (&'a Record, bool)>,
        renames: bool,
    ) -> Result<()> {
        let (mut unnamed, mut unknown, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut store = self.flows.store();
            for (record, is_over) in records {
                match store.renew(record, is_over) {
                    // One that has ended gets them when it is over.
                    Known::Same(flow) if !renames || flow.ended || flow.is_named() => {}
                    Known::Same(_) => unnamed.push(*record),
                    Known::Changed(flow) if renames && !flow.is_named() => unnamed.push(*record),
                    Known::Changed(flow) => self.export.tell(flow, false),
                    Known::No => {
                        unknown.push(*record);
                        ended.push(is_over);
                    }
                }
            }
        }
        let (unnamed, unknown) = (names::of(agent, &unnamed)?, names::of(agent, &unknown)?);
        let mut store = self.flows.store();
        for flow in unnamed {
            if let Some(flow) = store.name(flow) {
                self.export.tell(flow, false);
            }
        }
        for (flow, ended) in unknown.into_iter().zip(ended) {
            if let Some(flow) = store.put(Flow { ended, ..flow }) {
                self.export.tell(flow, false);
            }
        }
        Ok(())
    }

    /// Puts records of flows that are over into the store, and into the file. Who was not known when a flow began may be by now.
    fn finish(&mut self, agent: &Agent, records: &[Record]) -> Result<()> {
        let (mut unnamed, mut unknown) = (Vec::new(), Vec::new());
        {
            let mut store = self.flows.store();
            for record in records {
                match store.renew(record, true) {
                    Known::Same(flow) | Known::Changed(flow) if flow.is_named() => {
                        self.export.tell(flow, true);
                    }
                    Known::Same(_) | Known::Changed(_) => unnamed.push(*record),
                    Known::No => unknown.push(*record),
                }
            }
        }
        let (unnamed, unknown) = (names::of(agent, &unnamed)?, names::of(agent, &unknown)?);
        let mut store = self.flows.store();
        for flow in unnamed {
            if let Some(flow) = store.name(flow) {
                self.export.tell(flow, true);
            }
        }
        for flow in unknown {
            if let Some(flow) = store.put(Flow { ended: true, ..flow }) {
                self.export.tell(flow, true);
            }
        }
        Ok(())
    }
}
