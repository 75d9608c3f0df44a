//! The table of Services: rows in the agent's words, written into the maps so that no Service ever points nowhere or to
//! the wrong place.
//!
//! A changed list goes into fresh slots, then the frontends' entries are switched to it, and the old slots are free for
//! others only [`GRACE`](crate::GRACE) later, when no program can still read of them. What an agent before this one left
//! in the maps counts until a row takes it over or [`prune`](Services::prune) removes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::layout::services::{Service, ServiceCounter, ServiceKey};

use super::entries::{self, Parts};
use super::lists::{Full, Lists};
use super::numbers::Numbers;
use super::served::ServedPorts;
use super::source_ranges::SourceRanges;
use super::sums::{ServiceCounters, Sums};
use super::take_over::{Found, read};
use super::types::{ServicePort, ServicePortKey};
use super::unused::{Unused, Waiting};
use super::writes::{Maps, Refused, Writes, failed};

/// The table of Services.
pub struct Services {
    pub(super) maps: Maps,
    pub(super) rows: BTreeMap<ServicePortKey, Row>,
    pub(super) by_number: HashMap<u32, ServicePortKey>,
    pub(super) entries: HashMap<ServiceKey, Entry>,
    pub(super) lists: Lists,
    pub(super) numbers: Numbers,
    pub(super) ranges: SourceRanges,
    pub(super) served: ServedPorts,
    sums: Sums,
    /// What an agent before this one left; empty once it is pruned.
    pub(super) found: Found,
    /// What is not written yet: nothing, but for what the kernel refused.
    pub(super) writes: Writes,
    waiting: Waiting,
}

/// A row as it is in the maps.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) port: ServicePort,
    pub(super) parts: Parts,
}

/// An entry of the map `services`.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) value: Service,
    /// The numbers of the rows that want it; the last one has it. Nobody: it was found.
    pub(super) claimants: Vec<u32>,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableUsage {
    /// Which.
    pub name: &'static str,
    /// How many entries it has.
    pub used: u64,
    /// How many it has space for.
    pub limit: u32,
}

impl Services {
    /// Goes on with what is in the maps.
    pub(crate) fn open(maps: Maps) -> Result<Self> {
        let mut found = Found::read(&maps)?;
        let mut lists = Lists::new(maps.backends.max_entries(), maps.choices.max_entries());
        let mut numbers = Numbers::new(maps.counters.max_entries().saturating_sub(1));
        let mut ranges = SourceRanges::new(found.ranges.drain(..), maps.source_ranges.max_entries());
        let mut entries = HashMap::new();
        for (key, value) in std::mem::take(&mut found.services) {
            for list in [value.inside, value.outside] {
                if list.count > 0 && lists.take_over(list) {
                    found.note(list);
                }
            }
            numbers.hold(value.number);
            if value.ranges > 0 {
                ranges.hold(value.ranges);
            }
            entries.insert(key, Entry { value, claimants: Vec::new() });
        }
        let mut writes = Writes::default();
        found.clean(&lists, &mut writes);
        let served = ServedPorts::new(std::mem::take(&mut found.served));
        let mut sums = Sums::default();
        in_use(&maps, &numbers, &mut sums.before)?;
        Ok(Self {
            maps,
            sums,
            rows: BTreeMap::new(),
            by_number: HashMap::new(),
            entries,
            lists,
            numbers,
            ranges,
            served,
            found,
            writes,
            waiting: Waiting::default(),
        })
    }

    /// Adds or replaces a row.
    ///
    /// # Errors
    ///
    /// As of [`set_all`](Self::set_all).
    pub fn set(&mut self, key: &ServicePortKey, port: &ServicePort) -> Result<()> {
        self.set_all([(key, port)]).pop().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Adds or replaces rows, by as few calls of the kernel as can be. Returns those that failed: the former row of such a
    /// key stays in force.
    ///
    /// # Errors
    ///
    /// [`Error::Full`]: a table has no space for the row. [`Error::Busy`]: it may have some after
    /// [`GRACE`](crate::GRACE). [`Error::Service`]: the row cannot be right; or the kernel did not take all of what these
    /// rows need, and the next call writes the rest. An entry that the kernel refuses fails the rows that have it alone.
    pub fn set_all<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a ServicePortKey, &'a ServicePort)>,
    ) -> Vec<(ServicePortKey, Error)> {
        let mut failures = Vec::new();
        if let Err(error) = self.collect() {
            // What is not freed now is freed later.
            tracing::warn!(%error, "cannot clear what Services do not use any more");
        }
        let mut planned = Vec::new();
        for (key, port) in rows {
            match self.plan(key, port) {
                Ok(()) => planned.push(key),
                Err(error) => failures.push((key.clone(), error)),
            }
        }
        let failed = |key: &ServicePortKey, error: &Error| {
            (key.clone(), Error::Service { key: key.to_string(), reason: error.to_string() })
        };
        match self.flush() {
            Ok(None) => (),
            Ok(Some((refused, error))) => {
                let planned = planned.into_iter().filter(|key| self.wants_any(key, &refused));
                failures.extend(planned.map(|key| failed(key, &error)));
            }
            Err(error) => failures.extend(planned.into_iter().map(|key| failed(key, &error))),
        }
        failures
    }

    /// Whether a row has one of these entries.
    fn wants_any(&self, key: &ServicePortKey, entries: &BTreeSet<ServiceKey>) -> bool {
        let row = self.rows.get(key);
        row.is_some_and(|row| !entries::keys(key, &row.port).is_disjoint(entries))
    }

    /// Removes a row; one that is not there is gone already. Connections that it has go on.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub fn remove(&mut self, key: &ServicePortKey) -> Result<()> {
        if let Some(row) = self.rows.remove(key) {
            self.by_number.remove(&row.parts.number);
            for one in entries::keys(key, &row.port) {
                self.disclaim(one, row.parts.number);
            }
            self.release(row.parts);
        }
        self.flush_all()
    }

    /// Removes what an agent before this one left and no row wants. To be called when all Services and all their
    /// endpoints are known. Returns the numbers of the rows that are gone.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub fn prune(&mut self) -> Result<BTreeSet<u32>> {
        let nobodys = |(key, entry): (&ServiceKey, &Entry)| entry.claimants.is_empty().then_some(*key);
        let mut gone = BTreeSet::new();
        for key in self.entries.iter().filter_map(nobodys).collect::<Vec<_>>() {
            if let Some(entry) = self.entries.remove(&key) {
                gone.insert(entry.value.number);
                self.release_found(&entry.value);
                self.writes.removed.push(key);
            }
        }
        self.ranges.prune(&mut self.writes);
        self.found = Found::default();
        // Entries of addresses have none.
        gone.retain(|number| *number > 0 && !self.by_number.contains_key(number));
        self.flush_all()?;
        Ok(gone)
    }

    /// Frees what was not used for [`GRACE`](crate::GRACE). Called by every change, too.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    pub fn collect(&mut self) -> Result<()> {
        let (now, mut writes) = (Instant::now(), Writes::default());
        while let Some(unused) = self.waiting.next(now) {
            if let Unused::Number(number) = unused {
                // What cannot be read is left out of the sum.
                let value = self.maps.counters.get(&number.to_ne_bytes()).ok().flatten().unwrap_or_default();
                self.sums.retired.add(counters(&value));
            }
            self.free(unused, &mut writes);
        }
        self.writes.append(writes);
        self.writes.flush(&self.maps).and_then(all)
    }

    /// The keys of all rows.
    pub fn keys(&self) -> impl Iterator<Item = &ServicePortKey> {
        self.rows.keys()
    }

    /// The number of a row.
    pub fn number(&self, key: &ServicePortKey) -> Option<u32> {
        self.rows.get(key).map(|row| row.parts.number)
    }

    /// The key of the row that has a number now.
    pub fn named(&self, number: u32) -> Option<&ServicePortKey> {
        self.by_number.get(&number)
    }

    /// What became of connections to a row.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn counters(&self, key: &ServicePortKey) -> Result<Option<ServiceCounters>> {
        let Some(row) = self.rows.get(key) else { return Ok(None) };
        let value = self.maps.counters.get(&row.parts.number.to_ne_bytes());
        let value = value.map_err(failed("read", "service_counts"))?.unwrap_or_default();
        Ok(Some(counters(&value)))
    }

    /// What became of connections to all rows since the datapath was opened, those that are gone by now included.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn totals(&self) -> Result<ServiceCounters> {
        let mut sum = ServiceCounters::default();
        in_use(&self.maps, &self.numbers, &mut sum)?;
        Ok(self.sums.total(sum))
    }

    /// How full the tables are.
    pub fn usage(&self) -> [TableUsage; 4] {
        let usage = |name, used: u32, limit| TableUsage { name, used: used.into(), limit };
        let [slots, blocks] = self.lists.used();
        let (ranges, most_ranges) = self.ranges.usage();
        let entries = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        [
            usage("services", entries, self.maps.services.max_entries()),
            usage("backends", slots, self.maps.backends.max_entries()),
            usage("choices", blocks, self.maps.choices.max_entries()),
            usage("source_ranges", ranges, most_ranges),
        ]
    }

    /// Plans what makes the row that of the key.
    fn plan(&mut self, key: &ServicePortKey, port: &ServicePort) -> Result<()> {
        if self.rows.get(key).is_some_and(|row| row.port == *port) {
            return Ok(());
        }
        if let Some(reason) = entries::wrong(key, port) {
            return Err(Error::Service { key: key.to_string(), reason });
        }
        let keys = entries::keys(key, port);
        let new = keys.iter().filter(|one| !self.entries.contains_key(*one)).count();
        let limit = self.maps.services.max_entries();
        if self.entries.len() + new > limit as usize {
            return Err(full(key, Full("services", limit)));
        }
        let mut own = Writes::default();
        let made = match self.parts(key, port, &keys, false, &mut own) {
            Err(Full("choices", _)) if self.waiting.free_after("choices", Instant::now()).is_none() => {
                own = Writes::default();
                self.parts(key, port, &keys, true, &mut own)
            }
            made => made,
        };
        let parts = made.map_err(|full_map| match self.waiting.free_after(full_map.0, Instant::now()) {
            Some(after) => Error::Busy { what: format!("{key} in table {}", full_map.0), after },
            None => full(key, full_map),
        })?;
        self.writes.append(own);
        let old = self.rows.insert(key.clone(), Row { port: port.clone(), parts });
        self.by_number.insert(parts.number, key.clone());
        for (one, value) in entries::entries(key, port, &parts) {
            self.claim(one, value, parts.number);
        }
        entries::bits(key, port).into_iter().for_each(|bit| self.served.set(bit));
        if let Some(old) = old {
            for one in entries::keys(key, &old.port).difference(&keys) {
                self.disclaim(*one, old.parts.number);
            }
            self.release(old.parts);
        }
        Ok(())
    }

    /// Has a row want an entry.
    fn claim(&mut self, key: ServiceKey, value: Service, number: u32) {
        let is_new = !self.entries.contains_key(&key);
        let entry = self.entries.entry(key).or_default();
        let found = (!is_new && entry.claimants.is_empty()).then_some(entry.value);
        if !entry.claimants.contains(&number) {
            entry.claimants.push(number);
        }
        if entry.claimants.last() == Some(&number) && (is_new || entry.value != value) {
            entry.value = value;
            self.writes.services.push(key, value);
        }
        if let Some(found) = found {
            self.release_found(&found);
        }
    }

    /// Has a row not want an entry any more: who wanted it before gets it, or it goes.
    fn disclaim(&mut self, key: ServiceKey, number: u32) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.claimants.retain(|claimant| *claimant != number);
        let Some(heir) = entry.claimants.last() else {
            self.entries.remove(&key);
            self.writes.removed.push(key);
            return;
        };
        let row = self.by_number.get(heir).and_then(|heir| self.rows.get_key_value(heir));
        let value = row.and_then(|(of, row)| entries::entries(of, &row.port, &row.parts).remove(&key));
        if let Some(value) = value.filter(|value| *value != entry.value) {
            entry.value = value;
            self.writes.services.push(key, value);
        }
    }

    /// Whether a row has an entry, and not another that wants it, too.
    pub(super) fn has(&self, key: &ServiceKey, number: u32) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.claimants.last() == Some(&number))
    }

    /// Ends the use of a row's parts. Those that nobody uses any more are free some time after all is written.
    fn release(&mut self, parts: Parts) {
        let unused = self.unused_of(parts);
        self.waiting.release(unused);
    }

    /// Ends the use of what an entry names that was found.
    fn release_found(&mut self, value: &Service) {
        let Service { number, ranges, inside, outside, .. } = *value;
        self.release(Parts { number, cluster: inside, local: outside, ranges });
    }

    /// Ends the use of a row's parts. Returns those that nobody uses any more.
    pub(super) fn unused_of(&mut self, parts: Parts) -> Vec<Unused> {
        let Parts { number, cluster, local, ranges } = parts;
        let mut unused = Vec::new();
        for list in [cluster, local] {
            unused.extend((list.count > 0 && self.lists.release(list)).then_some(Unused::List(list)));
        }
        unused.extend(self.numbers.release(number).then_some(Unused::Number(number)));
        unused.extend((ranges > 0 && self.ranges.release(ranges)).then_some(Unused::Ranges(ranges)));
        unused
    }

    /// Lets others have what nobody uses any more.
    pub(super) fn free(&mut self, unused: Unused, writes: &mut Writes) {
        match unused {
            Unused::List(list) => self.lists.free(list, writes),
            Unused::Number(number) => self.numbers.free(number),
            Unused::Ranges(number) => self.ranges.free(number, writes),
        }
    }

    /// Writes what is planned. As long as the kernel refuses an entry, nothing is freed: the one before it may point there.
    fn flush(&mut self) -> Result<Refused> {
        self.served.write(&mut self.writes);
        self.writes.removed.retain(|key| !self.entries.contains_key(key));
        let refused = self.writes.flush(&self.maps)?;
        if refused.is_none() {
            self.waiting.written(Instant::now());
        }
        Ok(refused)
    }

    /// Writes what is planned, all of it.
    pub(super) fn flush_all(&mut self) -> Result<()> {
        self.flush().and_then(all)
    }
}

fn all(refused: Refused) -> Result<()> {
    refused.map_or(Ok(()), |(_, error)| Err(error))
}

/// A value of the map of counters.
fn counters(value: &[u8]) -> ServiceCounters {
    bytemuck::try_pod_read_unaligned::<ServiceCounter>(value).unwrap_or_default().into()
}

/// Adds the counters of all numbers in use.
fn in_use(maps: &Maps, numbers: &Numbers, sum: &mut ServiceCounters) -> Result<()> {
    let counted = |count: &ServiceCounter| *count != ServiceCounter::default();
    read::<u32, ServiceCounter>(&maps.counters, "service_counts", counted)?
        .filter(|(number, _)| numbers.is_known(*number))
        .for_each(|(_, count)| sum.add(count.into()));
    Ok(())
}

fn full(key: &ServicePortKey, Full(map, limit): Full) -> Error {
    let setting = match map {
        "backends" | "choices" => "--max-backends",
        _ => "--max-services",
    };
    Error::Full { what: format!("{key} in table {map}"), limit, setting }
}
