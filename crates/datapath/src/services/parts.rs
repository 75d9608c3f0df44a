//! What a row needs besides its entries: a number, two lists and a set of source ranges. What is there already is used.

use std::collections::BTreeSet;

use crate::layout::services::{Backend as RawBackend, List, Service, ServiceCounter, ServiceKey};

use super::entries::Parts;
use super::hash::raw;
use super::lists::Full;
use super::types::{Backend, FrontendKind, Policy, ServicePort, ServicePortKey};
use super::writer::Services;
use super::writes::Writes;

impl Services {
    /// Makes or finds the parts of a row, each with one more use. Nothing is used if one cannot be had.
    pub(super) fn parts(
        &mut self,
        key: &ServicePortKey,
        port: &ServicePort,
        keys: &BTreeSet<ServiceKey>,
        shorter: bool,
        writes: &mut Writes,
    ) -> Result<Parts, Full> {
        // What may be the same: of the row before, and of entries that an agent before this one left.
        let old = self.rows.get(key).map(|row| (row.parts, row.port.clone()));
        let of_nobody = |one: &ServiceKey| self.entries.get(one).filter(|entry| entry.claimants.is_empty());
        let found: Vec<Service> = keys.iter().filter_map(of_nobody).map(|entry| entry.value).collect();
        let old_number = old.as_ref().map(|(parts, _)| parts.number).filter(|number| *number > 0);
        let adopted = || {
            found
                .iter()
                .map(|one| one.number)
                .find(|number| !self.by_number.contains_key(number) && *number > 0)
        };
        let number = match old_number.or_else(adopted).filter(|number| self.numbers.hold(*number)) {
            Some(number) => number,
            None => {
                let number = self.numbers.take();
                let number = number.ok_or(Full("service_counts", self.numbers.limit()))?;
                writes.counters.push(number, ServiceCounter::default());
                number
            }
        };
        let mut parts = Parts { number, ..Parts::default() };
        let mut lists: Vec<(List, Vec<RawBackend>)> = Vec::new();
        if let Some((parts, port)) = &old {
            lists.push((parts.cluster, to_raw(&port.cluster).collect()));
            lists.push((parts.local, to_raw(&port.local).collect()));
        }
        let left = found.iter().flat_map(|one| [one.inside, one.outside]);
        for list in left {
            if let Some(backends) = self.found.list(&list) {
                lists.push((list, backends.to_vec()));
            }
        }
        let made = self.lists_of(port, lists, shorter, writes).and_then(|[cluster, local]| {
            (parts.cluster, parts.local) = (cluster, local);
            let limits = port.frontends.iter().any(|one| one.kind == FrontendKind::LoadBalancer);
            let Some(wanted) = port.source_ranges.as_ref().filter(|_| limits) else { return Ok(0) };
            let before = old.iter().map(|(parts, _)| parts.ranges).chain(found.iter().map(|one| one.ranges));
            if let Some(number) = before.into_iter().find(|number| self.ranges.is(*number, wanted)) {
                self.ranges.hold(number);
                return Ok(number);
            }
            self.ranges.add(wanted, writes)
        });
        match made {
            Ok(ranges) => Ok(Parts { ranges, ..parts }),
            Err(full) => {
                // Nothing ever pointed to it, and it is not written.
                for one in self.unused_of(parts) {
                    self.free(one, &mut Writes::default());
                }
                Err(full)
            }
        }
    }

    /// The two lists of a row, each with one more use: those that are there already, or new ones.
    fn lists_of(
        &mut self,
        port: &ServicePort,
        mut known: Vec<(List, Vec<RawBackend>)>,
        shorter: bool,
        writes: &mut Writes,
    ) -> Result<[List; 2], Full> {
        let mut made = [List::default(); 2];
        for (index, policy) in [Policy::Cluster, Policy::Local].into_iter().enumerate() {
            let wanted: Vec<RawBackend> = to_raw(port.list(policy)).collect();
            if wanted.is_empty() || !port.uses(policy) {
                continue;
            }
            let same = known.iter().find(|(list, backends)| {
                list.count > 0
                    && *backends == wanted
                    && (list.size == 0 || self.lists.has_table(*list, &wanted, || self.found.table(list)))
            });
            let list = match same.map(|(list, _)| *list) {
                Some(list) => {
                    self.lists.hold(list);
                    list
                }
                None => self.lists.add(&wanted, shorter, writes).inspect_err(|_| {
                    for list in made.into_iter().filter(|list| list.count > 0) {
                        if self.lists.release(list) {
                            self.lists.free(list, &mut Writes::default());
                        }
                    }
                })?,
            };
            if let Some(slot) = made.get_mut(index) {
                *slot = list;
            }
            known.push((list, wanted));
        }
        Ok(made)
    }
}

/// Backends as they are in the map.
pub(super) fn to_raw(backends: &[Backend]) -> impl Iterator<Item = RawBackend> {
    backends.iter().map(|backend| raw(backend.address.into(), backend.port))
}
