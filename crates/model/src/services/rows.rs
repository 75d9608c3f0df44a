//! The rows of one Service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use objects::{EndpointSlice, Family, Invalid, PortSpec, Service};

use super::addresses::{Nodes, fault, source_ranges};
use super::choice::{Here, Lists, candidates};
use super::places::{Place, Places, frontends};
use crate::problem::SERVICE;
use crate::service::{Frontend, FrontendKind, HealthCheck, ServicePort, ServicePortKey};
use crate::{Problem, Ranges};

/// What a Service is seen with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) ranges: &'a Ranges,
    pub(crate) here: Here<'a>,
    /// This node's first InternalIP of each family.
    pub(crate) node_addresses: [Option<IpAddr>; 2],
    pub(crate) nodes: &'a Nodes,
    pub(crate) places: &'a Places,
    /// Whether external addresses are served.
    pub(crate) external_ips: bool,
}

/// What a Service comes to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rows: BTreeMap<ServicePortKey, ServicePort>,
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) problems: Vec<Problem>,
}

/// Computes a Service's rows.
pub(crate) fn solve(context: Context<'_>, service: &Service, slices: &[Arc<EndpointSlice>]) -> Outcome {
    let mut outcome = Outcome::default();
    if service.ignored.is_some() {
        return outcome;
    }
    let mut told = Told { service, problems: Vec::new() };
    told.defects(format_args!("Service {}", service.id), &service.defects);
    for slice in slices {
        told.defects(format_args!("EndpointSlice {}", slice.key), &slice.defects);
    }
    if service.ports.is_empty() {
        return Outcome { problems: told.problems, ..outcome }; // nothing to reach there
    }
    let faults = told.addresses(context);
    let mut taken = Taken { context, id: &service.id, own: BTreeMap::new(), lost: BTreeMap::new() };
    for family in Family::ALL.into_iter().filter(|family| service.cluster_ip(*family).is_some()) {
        let ranges = source_ranges(service, family == Family::V4, context.node_address(family));
        let ranges: Option<Arc<[_]>> = ranges.map(Arc::from);
        let triggered = slices.iter().filter(|slice| slice.family == family);
        let triggered = triggered.filter_map(|slice| slice.triggered).max();
        for spec in &service.ports {
            let all = frontends(service, spec, family, context.external_ips);
            let all = all.filter(|one| one.address.is_none_or(|address| !faults.contains(&address)));
            let mut frontends: Vec<Frontend> = all.filter(|one| taken.gets(one, spec, family)).collect();
            if frontends.is_empty() {
                continue;
            }
            frontends.sort_unstable();
            frontends.shrink_to_fit();
            let (protocol, port) = (spec.protocol, Arc::clone(&spec.name));
            let key = ServicePortKey { service: Arc::clone(&service.id), port, protocol, family };
            let all = candidates(slices, &spec.name, protocol, family);
            let Lists { cluster, local, serving } = Lists::of(&all, context.here);
            let is_balanced = frontends.iter().any(|one| one.kind == FrontendKind::LoadBalancer);
            let source_ranges = ranges.clone().filter(|_| is_balanced);
            let (refuse, affinity) = (cluster.is_empty(), service.affinity);
            let row = ServicePort {
                frontends,
                cluster,
                local,
                serving,
                refuse,
                affinity,
                source_ranges,
                triggered,
            };
            outcome.rows.insert(key, row);
        }
    }
    outcome.health_check = taken.health_check(service).then(|| HealthCheck {
        port: service.health_check_node_port,
        local_endpoints: local_endpoints(slices, context.here),
    });
    told.lost(taken.lost);
    outcome.problems = told.problems;
    outcome
}

impl Context<'_> {
    fn node_address(&self, family: Family) -> Option<IpAddr> {
        self.node_addresses.into_iter().flatten().find(|address| Family::of(*address) == family)
    }
}

/// How many different ready addresses there are on this node, of the family that has more: a Pod has one in each.
fn local_endpoints(slices: &[Arc<EndpointSlice>], here: Here<'_>) -> u32 {
    let mut addresses = [BTreeSet::new(), BTreeSet::new()];
    for slice in slices.iter().filter(|slice| !slice.ports.is_empty()) {
        let endpoints = slice.endpoints.iter();
        let local = endpoints.filter(|one| one.ready && one.node.as_deref() == Some(here.node));
        let [v4, v6] = &mut addresses;
        let of_family = if slice.family == Family::V4 { v4 } else { v6 };
        of_family.extend(local.map(|endpoint| endpoint.address));
    }
    let most = addresses.iter().map(BTreeSet::len).max().unwrap_or(0);
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// The places of one Service: those that it has, and those that it has not.
struct Taken<'a> {
    context: Context<'a>,
    id: &'a Arc<str>,
    /// Which of its ports has a place.
    own: BTreeMap<Place, &'a PortSpec>,
    /// By who has them.
    lost: BTreeMap<Owner, Vec<Place>>,
}

/// Who has a place that a Service wants.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Service(Arc<str>),
    /// Another port of the same Service.
    Port(Arc<str>),
}

impl<'a> Taken<'a> {
    fn gets(&mut self, frontend: &Frontend, spec: &'a PortSpec, family: Family) -> bool {
        let place = Place::of(frontend, family, spec.protocol);
        if !self.is_owner(place) {
            return false;
        }
        match self.own.get(&place) {
            None => {
                self.own.insert(place, spec);
                true
            }
            // An external address that is the load balancer's, too.
            Some(first) if *first == spec => false,
            Some(first) => {
                self.lost.entry(Owner::Port(Arc::clone(&first.name))).or_default().push(place);
                false
            }
        }
    }

    fn is_owner(&mut self, place: Place) -> bool {
        match self.context.places.owner(place) {
            Some(owner) if owner != self.id => {
                self.lost.entry(Owner::Service(Arc::clone(owner))).or_default().push(place);
                false
            }
            _ => true,
        }
    }

    /// Whether load balancers can ask for the Service.
    fn health_check(&mut self, service: &Service) -> bool {
        let places: Vec<Place> = Place::health_check(service).collect();
        let has = |place: &Place| {
            let own = self.own.get(place).map(|spec| Arc::clone(&spec.name));
            if let Some(name) = own {
                self.lost.entry(Owner::Port(name)).or_default().push(*place);
                return false;
            }
            self.is_owner(*place)
        };
        !places.is_empty() && places.iter().all(has)
    }
}

/// What is left out of a Service, and why.
struct Told<'a> {
    service: &'a Service,
    problems: Vec<Problem>,
}

impl Told<'_> {
    fn defects(&mut self, object: fmt::Arguments<'_>, defects: &[Invalid]) {
        for Invalid { problem, remedy } in defects {
            self.problems.push(Problem::new(SERVICE, object.to_string(), problem.clone(), remedy.clone()));
        }
    }

    fn tell(&mut self, problem: String, remedy: &str) {
        self.problems.push(Problem::new(SERVICE, format!("Service {}", self.service.id), problem, remedy));
    }

    /// The addresses that it cannot have.
    fn addresses(&mut self, context: Context<'_>) -> BTreeSet<IpAddr> {
        let service = self.service;
        let externals = service.external_ips.iter().filter(|_| context.external_ips);
        let externals = externals.map(|address| ("externalIP", *address));
        let balancers = service.load_balancer_ips.iter().map(|address| ("load balancer's address", *address));
        let own = service.cluster_ips.iter().map(|address| ("clusterIP", *address));
        let mut faults = BTreeSet::new();
        for (what, address) in own.chain(balancers).chain(externals) {
            let family = Family::of(address);
            let why = match service.cluster_ip(family) {
                None => Some(format!("the Service has no {family}")),
                Some(_) => fault(address, context.ranges, context.nodes),
            };
            if let Some(why) = why
                && faults.insert(address)
            {
                self.tell(format!("its {what} {address} is not served: {why}"), CORRECT_ADDRESS);
            }
        }
        faults
    }

    fn lost(&mut self, lost: BTreeMap<Owner, Vec<Place>>) {
        for (owner, places) in lost {
            let Some((first, more)) = places.split_first() else { continue };
            let more = match more.len() {
                0 => String::new(),
                more => format!(" and {more} more places"),
            };
            let who = match owner {
                Owner::Service(other) => {
                    format!("Service {other} has it, whose ClusterIP it is or which is older")
                }
                Owner::Port(port) => format!("its port {port:?} is there already"),
            };
            self.tell(format!("it is not served at {first}{more}: {who}"), CORRECT_PLACE);
        }
    }
}

const CORRECT_ADDRESS: &str = "give the Service another address: correct spec.externalIPs, or see what sets status.loadBalancer or spec.clusterIPs";

const CORRECT_PLACE: &str = "give one of them another address or port, or delete it";
