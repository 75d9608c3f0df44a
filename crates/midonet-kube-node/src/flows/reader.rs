//! One look at what the datapath tells.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use datapath::records::{Event, Place, Record, What};
use datapath::uptime;
use model::Problem;

use super::export::Export;
use super::flow::{Flow, Identity};
use super::names;
use super::otlp::Queue;
use super::shared::Flows;
use crate::agent::Agent;
use crate::config::FlowLog;

/// So many events are taken in before others get the store.
const SLICE: usize = 1024;

/// So many slices are read at one look: the ring has no more of them, unless it is filled while it is read.
const SLICES: usize = 256;

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
        for _ in 0..SLICES {
            let events = self.next_events()?;
            if events.is_empty() {
                break;
            }
            let records: Vec<Record> = events.iter().map(|event| event.record).collect();
            let ended = |index: usize| events.get(index).is_some_and(|event| event.what == What::End);
            self.take_in(agent, &records, ended)?;
        }
        if sweeps {
            self.sweep(agent)?;
        }
        Ok(self.export.write())
    }

    fn next_events(&self) -> Result<Vec<Event>> {
        let (mut events, mut ring) = (Vec::new(), self.flows.events());
        while events.len() < SLICE
            && let Some(event) = ring.read()?
        {
            events.push(event);
        }
        Ok(events)
    }

    /// Reads all records: they have what events could not tell, and those that are over have all of it.
    fn sweep(&mut self, agent: &Agent) -> Result<()> {
        let flows = self.flows.clone();
        let (records, mut place) = (flows.records(), Place::default());
        let mut found = HashSet::<Identity>::new();
        while let Some(rows) = records.next(&mut place)? {
            let (mut known, mut over) = (Vec::with_capacity(rows.len()), Vec::new());
            for row in rows {
                found.insert(Flow::identity(&row));
                match records.remove_if_over(&row)? {
                    Some(last) => over.push(last),
                    None => known.push(row),
                }
            }
            self.take_in(agent, &known, |_| false)?;
            self.finish(agent, &over)?;
        }
        let now = uptime();
        let gone: Vec<Record> = {
            let store = flows.store();
            let is_gone = |(identity, flow): &(&Identity, &Flow)| {
                !found.contains(*identity) && now.saturating_sub(flow.record.last) > FORGOTTEN
            };
            store.unended().filter(is_gone).map(|(_, flow)| flow.record).collect()
        };
        self.finish(agent, &gone)?;
        flows.store().expire(now);
        Ok(())
    }

    /// Puts records into the store. What is known of one and has not changed is not touched.
    fn take_in(&mut self, agent: &Agent, records: &[Record], ended: impl Fn(usize) -> bool) -> Result<()> {
        let flows = self.flows.clone();
        let is_news = |index: usize, record: &Record| {
            flows.store().get(record).is_none_or(|known| {
                let is_later = known.record.last <= record.last;
                is_later && (known.record != *record || known.ended != (known.ended || ended(index)))
            })
        };
        let news: Vec<(Record, bool)> = records
            .iter()
            .enumerate()
            .filter(|(index, record)| is_news(*index, record))
            .map(|(index, record)| (*record, ended(index)))
            .collect();
        let named: Vec<Record> = news.iter().map(|(record, _)| *record).collect();
        let named = names::of(agent, &named)?;
        for (mut flow, (_, ended)) in named.into_iter().zip(news) {
            flow.ended = ended;
            self.put(flow, false);
        }
        Ok(())
    }

    /// Puts records of flows that are over into the store, and into the file.
    fn finish(&mut self, agent: &Agent, records: &[Record]) -> Result<()> {
        for mut flow in names::of(agent, records)? {
            flow.ended = true;
            self.put(flow, true);
        }
        Ok(())
    }

    fn put(&mut self, mut flow: Flow, last: bool) {
        let mut store = self.flows.store();
        if let Some(known) = store.get(&flow.record) {
            // Names are those of the time when it began, unless they were not known yet.
            flow.client = known.client.clone().or(flow.client);
            flow.server = known.server.clone().or(flow.server);
            flow.service = known.service.clone().or(flow.service);
            flow.ended |= known.ended;
            flow.written = known.written;
        }
        if last || self.export.is_due(&flow) {
            self.export.add(&flow, last);
            flow.written = flow.record.last;
        }
        store.put(flow);
    }
}
