//! Keeps the tables of Services as the cluster's Services, EndpointSlices and ServiceCIDRs want them.
//!
//! A change names the Services that have to be computed again: the one it is of, and those that name a place of it. What is
//! read of other objects is this node's zone and addresses, with whose change all is computed again, and the nodes'
//! addresses, whose changes concern the Services that name them.

mod addresses;
mod choice;
mod cidrs;
mod last;
mod places;
mod rows;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use objects::{EndpointSlice, Family, Key, Protocol, Service, ServiceCidr};

use crate::facts::Facts;
use crate::service::ServicePortKey;
use crate::{Desired, Ranges};
use addresses::fault;
use choice::Here;
use cidrs::Cidrs;
use last::Last;
use places::{Places, places};
use rows::{Context, Outcome};

pub use choice::Unused;
pub use view::{EndpointView, PortView, ServiceView};

/// What of Services is up to the node's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Whether `spec.externalIPs` are served. Whoever may create Services takes any address with them (CVE-2020-8554).
    pub external_ips: bool,
}

/// This node, as Services are seen from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) ranges: &'a Ranges,
    pub(crate) own_name: &'a str,
    pub(crate) own: &'a Facts,
}

/// The objects, and which of the tables' rows are due.
#[derive(Debug)]
pub(crate) struct Services {
    options: ServiceOptions,
    entries: BTreeMap<Arc<str>, Entry>,
    /// The Service of each slice that has one.
    slices: BTreeMap<Key, Arc<str>>,
    cidrs: Cidrs,
    places: Places,
    /// Whether all Services and slices are known.
    is_complete: bool,
    /// The Services that have to be computed again.
    due: BTreeSet<Arc<str>>,
    /// The addresses that may have become external ones, or are none any more.
    addresses_due: BTreeSet<IpAddr>,
    last: Last,
}

/// What is known of a Service: it may come before its slices, or after them.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Arc<Service>>,
    /// By name.
    slices: Vec<Arc<EndpointSlice>>,
}

impl Services {
    pub(crate) fn new(options: ServiceOptions) -> Self {
        let mut cidrs = Cidrs::default();
        cidrs.invalidate();
        Self {
            options,
            entries: BTreeMap::new(),
            slices: BTreeMap::new(),
            cidrs,
            places: Places::default(),
            is_complete: false,
            due: BTreeSet::new(),
            addresses_due: BTreeSet::new(),
            last: Last::default(),
        }
    }

    pub(crate) fn set_complete(&mut self, is_complete: bool) {
        self.is_complete |= is_complete;
    }

    pub(crate) fn set_service(&mut self, id: &Arc<str>, service: Option<&Arc<Service>>) {
        let entry = self.entries.entry(Arc::clone(id)).or_default();
        if entry.service.as_ref() == service {
            return self.forget(id);
        }
        let before = std::mem::replace(&mut entry.service, service.cloned());
        if let Some(before) = &before {
            self.places.remove(before, self.options.external_ips);
        }
        if let Some(service) = service {
            self.places.insert(service, self.options.external_ips);
        }
        for service in before.iter().chain(service) {
            self.invalidate_others(service);
        }
        self.due.insert(Arc::clone(id));
        self.forget(id);
    }

    /// Whoever names a place of a Service may have got or lost it.
    fn invalidate_others(&mut self, service: &Service) {
        let health_check = places::Place::health_check(service);
        let places = places(service, self.options.external_ips).map(|(place, _)| place).chain(health_check);
        for place in places {
            self.due.extend(self.places.claims(place).map(|rank| Arc::clone(&rank.service)));
        }
        self.addresses_due.extend(service.cluster_ips.iter().chain(externals(service)));
    }

    pub(crate) fn set_slice(&mut self, key: &Key, slice: Option<&Arc<EndpointSlice>>) {
        let service = slice.and_then(|slice| slice.service.clone());
        let before = match &service {
            Some(service) => self.slices.insert(key.clone(), Arc::clone(service)),
            None => self.slices.remove(key),
        };
        if let Some(before) = before.filter(|before| service.as_ref() != Some(before)) {
            self.change_slices(&before, key, None);
        }
        if let (Some(service), Some(slice)) = (service, slice) {
            self.change_slices(&service, key, Some(slice));
        }
    }

    fn change_slices(&mut self, service: &Arc<str>, key: &Key, slice: Option<&Arc<EndpointSlice>>) {
        let slices = &mut self.entries.entry(Arc::clone(service)).or_default().slices;
        let place = slices.binary_search_by(|other| other.key.cmp(key));
        match (place, slice) {
            (Ok(place), Some(slice)) => {
                let known = slices.get_mut(place);
                if known.is_none_or(|known| std::mem::replace(known, Arc::clone(slice)) == *slice) {
                    return;
                }
            }
            (Ok(place), None) => drop(slices.remove(place)),
            (Err(place), Some(slice)) => {
                slices.reserve_exact(1);
                slices.insert(place, Arc::clone(slice));
            }
            (Err(_), None) => {}
        }
        self.due.insert(Arc::clone(service));
        self.forget(service);
    }

    /// Drops what is known of a Service if that is nothing.
    fn forget(&mut self, id: &Arc<str>) {
        if self.entries.get(id).is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            self.entries.remove(id);
        }
    }

    pub(crate) fn set_cidr(&mut self, key: &Key, cidr: Option<Arc<ServiceCidr>>) {
        self.cidrs.set(key, cidr);
    }

    /// Has everything computed again: this node changed, and the tables were cleared.
    pub(crate) fn invalidate(&mut self) {
        self.due.extend(self.entries.keys().cloned());
        for service in self.entries.values().filter_map(|entry| entry.service.as_ref()) {
            self.addresses_due.extend(externals(service));
        }
        self.cidrs.invalidate();
    }

    /// Brings the tables up to date; returns how many Services were computed for it.
    pub(crate) fn solve(&mut self, desired: &mut Desired, seen: Seen<'_>) -> usize {
        self.follow_nodes(desired);
        self.cidrs.solve(desired, seen.ranges);
        desired.services_complete = self.is_complete;
        if !self.is_complete {
            return 0;
        }
        let due = std::mem::take(&mut self.due);
        for id in &due {
            self.solve_one(id, desired, seen);
        }
        for address in std::mem::take(&mut self.addresses_due) {
            let is_served =
                self.places.is_external(address) && fault(address, seen.ranges, &desired.nodes).is_none();
            desired.service_addresses.set(&address, is_served.then_some(()));
        }
        due.len()
    }

    /// An address that has become a node's, or is none any more, concerns the Services that name it.
    fn follow_nodes(&mut self, desired: &Desired) {
        let mut is_any = false;
        for address in desired.nodes.changed() {
            is_any = true;
            self.due.extend(self.places.at(*address).cloned());
            if desired.service_addresses.contains_key(address) || self.places.is_external(*address) {
                self.addresses_due.insert(*address);
            }
        }
        if is_any {
            self.cidrs.invalidate();
        }
    }

    fn solve_one(&mut self, id: &Arc<str>, desired: &mut Desired, seen: Seen<'_>) {
        let entry = self.entries.get(id);
        let known = entry.and_then(|entry| Some((entry.service.as_ref()?, &*entry.slices)));
        let context = self.context(seen, desired);
        let outcome = known.map(|(service, slices)| rows::solve(context, service, slices));
        let mut outcome = outcome.unwrap_or_default();
        self.last.keep(id, &mut outcome);
        let Outcome { rows, health_check, problems } = outcome;
        let gone: Vec<ServicePortKey> =
            rows_of(desired, id).filter(|key| !rows.contains_key(key)).cloned().collect();
        for key in gone {
            desired.services.set(&key, None);
        }
        for (key, row) in rows {
            desired.services.set(&key, Some(Arc::new(row)));
        }
        desired.health_checks.set(id, health_check);
        desired.problems.set(&problem_key(id).into(), Some(problems).filter(|all| !all.is_empty()));
    }

    fn context<'a>(&'a self, seen: Seen<'a>, desired: &'a Desired) -> Context<'a> {
        let of_family = |is_ipv4: bool| {
            seen.own.internal_ips.iter().copied().find(move |address| address.is_ipv4() == is_ipv4)
        };
        Context {
            ranges: seen.ranges,
            here: here(seen),
            node_addresses: [of_family(true), of_family(false)],
            nodes: &desired.nodes,
            places: &self.places,
            external_ips: self.options.external_ips,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.entries.values().filter_map(|entry| entry.service.as_ref())
    }

    pub(crate) fn view(
        &self,
        id: &str,
        nodes: &BTreeMap<Arc<str>, Facts>,
        desired: Option<&Desired>,
        seen: Seen<'_>,
    ) -> Option<ServiceView> {
        let entry = self.entries.get(id)?;
        let service = entry.service.as_ref()?;
        Some(view::view(service, &entry.slices, here(seen), nodes, desired, &problem_key(id)))
    }
}

fn here(seen: Seen<'_>) -> Here<'_> {
    Here { node: seen.own_name, zone: seen.own.zone.as_deref() }
}

fn problem_key(id: &str) -> String {
    format!("Service {id}")
}

fn externals(service: &Service) -> impl Iterator<Item = &IpAddr> {
    service.load_balancer_ips.iter().chain(&service.external_ips)
}

/// The rows of a Service in the table.
fn rows_of<'a>(desired: &'a Desired, id: &'a Arc<str>) -> impl Iterator<Item = &'a ServicePortKey> {
    let (service, port) = (Arc::clone(id), Arc::from(""));
    let first = ServicePortKey { service, port, protocol: Protocol::Tcp, family: Family::V4 };
    desired.services.range(first..).map(|(key, _)| key).take_while(|key| key.service == *id)
}
