//! The datapath's table of Services.

mod convert;
pub(super) mod host_ports;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use datapath::{Error, Purge};
use model::{Diff, Problem, ServicePort, ServicePortKey};
use tracing::debug;

pub(super) use self::convert::protocol_of;
use self::convert::{key_of, model_key, port_of, serving};
use super::connections::Tracking;
use super::tables::{SLICE, Tables};
use crate::backend::ServiceRecord;
use crate::drift::Drift;
use crate::reconcile::RETRY;

/// So many backends of rows are written before others get their turn, but for a row that has more: a table of choices for as
/// many takes milliseconds.
const BACKENDS: usize = 2_000;

/// So many rows are compared with the table at once, twice a minute: one of ten backends takes some 15 microseconds. What
/// somebody else changed of 10,000 rows is found within 40 minutes.
pub(super) const COMPARED: usize = 128;

/// What should be in the table.
#[derive(Debug, Default)]
pub(super) struct Services {
    wanted: BTreeMap<ServicePortKey, Arc<ServicePort>>,
    /// What is in the table.
    applied: BTreeMap<ServicePortKey, Arc<ServicePort>>,
    /// Has to be written or removed.
    due: BTreeSet<ServicePortKey>,
    /// Whether what nobody wants was removed once.
    pruned: bool,
}

impl Services {
    /// Takes in what changed. It is in the table after the next [`apply`](Self::apply).
    pub(super) fn change(&mut self, changes: Diff<ServicePortKey, Arc<ServicePort>>) {
        for (key, port) in changes.upserts {
            self.wanted.insert(key.clone(), port);
            self.due.insert(key);
        }
        for key in changes.removals {
            self.wanted.remove(&key);
            self.due.insert(key);
        }
    }

    /// Makes the table agree: in what changed, or, with `all`, in everything. Once the Services are `complete`, what an
    /// agent before this one left and nobody wants is removed. Connections that a change ends are removed afterwards, beside.
    /// What could not be served as it should stays due, and costs the others nothing.
    ///
    /// # Errors
    /// The kernel does not tell what is there.
    pub(super) fn apply(
        &mut self,
        all: bool,
        complete: bool,
        tables: &Tables,
        tracking: &Tracking,
    ) -> Result<Unserved> {
        if all {
            self.restore(tables)?;
        }
        let mut purge = Purge::default();
        let mut failed = self.write(tables, &mut purge);
        failed.extend(self.remove(tables, &mut purge));
        let mut pruned = Ok(());
        if complete && !self.pruned {
            pruned = tables.lock().datapath.services().prune().map(|gone| {
                gone.into_iter().for_each(|number| purge.remove(number));
                self.pruned = true;
            });
        }
        // Also if nothing could be pruned: the rows are written.
        tracking.purge(purge);
        pruned.context("cannot remove the Services of an agent before this one")?;
        Ok(Unserved::new(failed))
    }

    /// Writes the rows that are due. What cannot be written stays due and is returned.
    fn write(&mut self, tables: &Tables, purge: &mut Purge) -> Vec<(ServicePortKey, Error)> {
        let due = self.due.iter().filter_map(|key| Some((key.clone(), Arc::clone(self.wanted.get(key)?))));
        let due: Vec<_> = due.collect();
        let mut failed = Vec::new();
        for slice in slices(&due) {
            let rows: Vec<_> = slice.iter().map(|(key, port)| (key_of(key), port_of(port))).collect();
            let (refused, numbers) = {
                let mut held = tables.lock();
                let services = held.datapath.services();
                let refused = services.set_all(rows.iter().map(|(key, port)| (key, port)));
                let numbers: Vec<_> = rows.iter().map(|(key, _)| services.number(key)).collect();
                (refused, numbers)
            };
            let mut refused: BTreeMap<_, _> = refused.into_iter().collect();
            for (((key, port), (raw, row)), number) in slice.iter().zip(&rows).zip(numbers) {
                if let Some(error) = refused.remove(raw) {
                    failed.push((key.clone(), error));
                    continue;
                }
                debug!(%key, frontends = port.frontends.len(), backends = port.cluster.len(), "Service set");
                self.due.remove(key);
                let before = self.applied.insert(key.clone(), Arc::clone(port));
                purge.add(raw, before.as_deref().map(port_of).as_ref(), row);
                if let Some(number) = number
                    && before.is_none_or(|before| before.serving != port.serving)
                {
                    purge.change(raw, number, serving(port));
                }
            }
        }
        failed
    }

    /// Removes the rows that are due and not wanted. What cannot be removed stays due and is returned.
    fn remove(&mut self, tables: &Tables, purge: &mut Purge) -> Vec<(ServicePortKey, Error)> {
        let due: Vec<_> = self.due.iter().filter(|key| !self.wanted.contains_key(*key)).cloned().collect();
        let mut failed = Vec::new();
        for slice in due.chunks(SLICE) {
            let mut held = tables.lock();
            let services = held.datapath.services();
            for key in slice {
                let raw = key_of(key);
                let number = services.number(&raw);
                match services.remove(&raw) {
                    Ok(()) => {
                        debug!(%key, "Service removed");
                        self.due.remove(key);
                        self.applied.remove(key);
                    }
                    Err(error) => failed.push((key.clone(), error)),
                }
                if let Some(number) = number {
                    purge.remove(number);
                }
            }
        }
        failed
    }

    /// Writes again the rows that somebody else changed.
    fn restore(&self, tables: &Tables) -> Result<()> {
        for slice in self.certain().chunks(SLICE) {
            let mut held = tables.lock();
            let services = held.datapath.services();
            for key in slice {
                let raw = key_of(key);
                if !services.is_whole(&raw)? {
                    services.restore(&raw)?;
                }
            }
        }
        Ok(())
    }

    /// What the table has otherwise than it should, in [`COMPARED`] rows after the first `skipped`, and in the first ones after
    /// the last. What is not used any more is cleared on this occasion.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn drift(&self, skipped: usize, tables: &Tables, found: &mut Vec<Drift>) -> Result<()> {
        tables.lock().datapath.services().collect()?;
        let certain = self.certain();
        let skipped = skipped.checked_rem(certain.len()).unwrap_or(0);
        let rows: Vec<_> =
            certain.iter().cycle().skip(skipped).take(COMPARED.min(certain.len())).copied().collect();
        for slice in rows.chunks(SLICE) {
            let mut held = tables.lock();
            let services = held.datapath.services();
            for key in slice {
                if !services.is_whole(&key_of(key))? {
                    let detail = format!("the entries of Service {key} are missing or wrong");
                    found.push(Drift::new("datapath_service", detail));
                }
            }
        }
        Ok(())
    }

    /// What should be there for certain.
    fn certain(&self) -> Vec<&ServicePortKey> {
        self.applied.keys().filter(|key| !self.due.contains(*key)).collect()
    }
}

/// What is not served as it should be.
#[derive(Debug, Default)]
pub(super) struct Unserved {
    /// What somebody has to do something about.
    pub(super) problems: Vec<Problem>,
    /// After how long to try again.
    pub(super) retry: Option<Duration>,
}

impl Unserved {
    /// A row that waits for space that others have just left is no problem: what it had before serves meanwhile.
    fn new(failed: Vec<(ServicePortKey, Error)>) -> Self {
        let mut unserved = Self::default();
        for (key, error) in failed {
            let retry = match error {
                Error::Busy { after, .. } => after + Duration::from_millis(1),
                error => {
                    let problem =
                        format!("it is not served as it should be, what was served before goes on: {error}");
                    let problem =
                        Problem::new("service", format!("Service {key}"), problem, "correct what is named");
                    unserved.problems.push(problem);
                    RETRY
                }
            };
            unserved.retry = Some(unserved.retry.map_or(retry, |other| other.min(retry)));
        }
        unserved
    }
}

/// Cuts rows into slices, each to be written at once.
fn slices<K>(rows: &[(K, Arc<ServicePort>)]) -> Vec<&[(K, Arc<ServicePort>)]> {
    let (mut slices, mut rest, mut count, mut backends) = (Vec::new(), rows, 0, 0);
    for (_, row) in rows {
        let more = row.cluster.len() + row.local.len();
        if count == SLICE || count > 0 && backends + more > BACKENDS {
            let (slice, others) = rest.split_at(count);
            slices.push(slice);
            (rest, count, backends) = (others, 0, 0);
        }
        (count, backends) = (count + 1, backends + more);
    }
    slices.extend((!rest.is_empty()).then_some(rest));
    slices
}

/// The rows that are in the table, those of one Service or all, with their numbers and counters.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn records(service: Option<&str>, tables: &Tables) -> Result<Vec<ServiceRecord>> {
    let is_asked = |key: &&datapath::ServicePortKey| service.is_none_or(|id| *key.service == *id);
    let keys: Vec<_> = tables.lock().datapath.services().keys().filter(is_asked).cloned().collect();
    let mut records = Vec::with_capacity(keys.len());
    for slice in keys.chunks(SLICE) {
        let mut held = tables.lock();
        let services = held.datapath.services();
        for key in slice {
            // It may have gone meanwhile.
            if let (Some(number), Some(counters)) = (services.number(key), services.counters(key)?) {
                records.push(ServiceRecord { key: model_key(key), number, counters });
            }
        }
    }
    Ok(records)
}

/// The ports that have these numbers now, in their order.
pub(super) fn ports(numbers: &[u32], tables: &Tables) -> Vec<Option<ServicePortKey>> {
    let mut ports = Vec::with_capacity(numbers.len());
    for slice in numbers.chunks(SLICE) {
        let mut held = tables.lock();
        let services = held.datapath.services();
        ports.extend(slice.iter().map(|number| services.named(*number).map(model_key)));
    }
    ports
}

#[cfg(test)]
mod tests {
    use model::{Family, Protocol};

    use super::*;

    fn key(name: &str) -> ServicePortKey {
        ServicePortKey {
            service: format!("default/{name}").into(),
            port: "".into(),
            protocol: Protocol::Tcp,
            family: Family::V4,
        }
    }

    fn port() -> Arc<ServicePort> {
        Arc::new(ServicePort {
            frontends: Vec::new(),
            cluster: Arc::default(),
            local: Arc::default(),
            serving: Arc::default(),
            refuse: true,
            affinity: None,
            source_ranges: None,
            triggered: None,
        })
    }

    #[test]
    fn slices_have_so_many_rows_and_backends_and_together_all_rows() {
        let row = |backends: usize| {
            let backend = model::Backend { address: "10.0.0.1".parse().unwrap(), port: 80 };
            Arc::new(ServicePort { cluster: vec![backend; backends].into(), ..ServicePort::clone(&port()) })
        };
        let cut = |sizes: &[usize]| {
            let rows: Vec<_> = sizes.iter().map(|size| ((), row(*size))).collect();
            let slices = slices(&rows);
            assert_eq!(slices.concat().len(), rows.len());
            slices.iter().map(|slice| slice.len()).collect::<Vec<_>>()
        };
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[0; 300]), [SLICE, 300 - SLICE]);
        assert_eq!(cut(&[BACKENDS * 2, 1, BACKENDS - 1, 1, BACKENDS * 2]), [1, 2, 1, 1]);
    }

    #[test]
    fn what_waits_for_space_is_tried_soon_and_is_no_problem() {
        let busy = |after| Error::Busy { what: "backends".into(), after: Duration::from_millis(after) };
        let wrong = || Error::Service { key: "b".into(), reason: "wrong".into() };
        let unserved = |failed: Vec<Error>| {
            let failed = failed.into_iter().map(|error| (key("a"), error)).collect();
            let Unserved { problems, retry } = Unserved::new(failed);
            (problems.len(), retry)
        };
        assert_eq!(unserved(vec![]), (0, None));
        assert_eq!(unserved(vec![busy(9), busy(700)]), (0, Some(Duration::from_millis(10))));
        assert_eq!(unserved(vec![wrong(), busy(700)]), (1, Some(Duration::from_millis(701))));
        assert_eq!(unserved(vec![wrong()]), (1, Some(RETRY)));
    }

    #[test]
    fn what_changed_is_due_and_what_is_due_is_not_certain() {
        let mut services = Services::default();
        let [a, b] = ["a", "b"].map(key);
        services.change(Diff { upserts: vec![(a.clone(), port()), (b.clone(), port())], removals: vec![] });
        assert_eq!(services.due, [a.clone(), b.clone()].into());
        services.due.clear();
        services.applied = services.wanted.clone();
        services.change(Diff { upserts: vec![], removals: vec![a.clone()] });
        assert_eq!((services.due.clone(), services.wanted.len()), ([a].into(), 1));
        assert_eq!(services.certain(), [&b]);
    }
}
