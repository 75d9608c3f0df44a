//! The whole computation at once, as plainly as it can be written.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::*;
use crate::{Frontend, FrontendKind, HealthCheck, Policy, Ranges};

/// All objects, as they are now.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) services: BTreeMap<String, Arc<Service>>,
    pub(super) slices: BTreeMap<Key, EndpointSlice>,
    pub(super) cidrs: BTreeMap<Key, Arc<ServiceCidr>>,
}

#[derive(Debug, Default)]
pub(super) struct All {
    pub(super) services: BTreeMap<ServicePortKey, Arc<ServicePort>>,
    pub(super) service_cidrs: BTreeMap<IpNet, ()>,
    pub(super) service_addresses: BTreeMap<IpAddr, ()>,
    pub(super) health_checks: BTreeMap<Arc<str>, HealthCheck>,
    /// Of which objects something is told.
    pub(super) told: BTreeSet<String>,
}

/// Where: the address or none, family, protocol, port.
type Place = (Option<IpAddr>, Family, Protocol, u16);

/// This node, and the addresses of all.
pub(super) struct Here<'a> {
    pub(super) name: &'a str,
    pub(super) zone: Option<&'a str>,
    pub(super) addresses: &'a [IpAddr],
    pub(super) nodes: BTreeSet<IpAddr>,
    pub(super) ranges: &'a Ranges,
}

fn wanted(service: &Service, spec: &PortSpec, family: Family) -> Vec<(FrontendKind, Option<IpAddr>, u16)> {
    let of = |all: &[IpAddr]| {
        all.iter().copied().filter(|one| one.is_ipv4() == (family == Family::V4)).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    let Some(own) = of(&service.cluster_ips).first().copied() else { return all };
    all.push((FrontendKind::ClusterIp, Some(own), spec.port));
    if spec.node_port > 0 {
        all.push((FrontendKind::NodePort, None, spec.node_port));
    }
    all.extend(
        of(&service.load_balancer_ips)
            .into_iter()
            .map(|one| (FrontendKind::LoadBalancer, Some(one), spec.port)),
    );
    all.extend(
        of(&service.external_ips).into_iter().map(|one| (FrontendKind::ExternalIp, Some(one), spec.port)),
    );
    all
}

fn asks(service: &Service) -> bool {
    let asked = service.external_local && service.health_check_node_port > 0;
    service.kind == ServiceType::LoadBalancer && asked && !service.ports.is_empty()
}

/// Who has each place.
fn owners(objects: &Objects) -> BTreeMap<Place, (bool, Arc<str>)> {
    let mut claims = BTreeMap::<Place, Vec<(bool, Option<i64>, Arc<str>)>>::new();
    for service in objects.services.values() {
        let mut claim = |place, external| {
            claims.entry(place).or_default().push((external, service.created, service.id.clone()));
        };
        for family in Family::ALL {
            for spec in &service.ports {
                for (kind, address, port) in wanted(service, spec, family) {
                    claim((address, family, spec.protocol, port), kind != FrontendKind::ClusterIp);
                }
            }
            if asks(service) {
                claim((None, family, Protocol::Tcp, service.health_check_node_port), true);
            }
        }
    }
    let first = |claims: Vec<(bool, Option<i64>, Arc<str>)>| {
        let (external, _, id) = claims.into_iter().min().unwrap();
        (external, id)
    };
    claims.into_iter().map(|(place, claims)| (place, first(claims))).collect()
}

fn usable(address: IpAddr, here: &Here<'_>) -> bool {
    let good = match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast() && v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let good = good && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    good && !here.ranges.cluster.iter().any(|range| range.contains(&address))
        && !here.nodes.contains(&address)
}

/// The Cluster list, the Local list, those that serve.
fn lists(objects: &Objects, id: &str, spec: &PortSpec, family: Family, here: &Here<'_>) -> [Vec<Backend>; 3] {
    let mut best = BTreeMap::<Backend, &Endpoint>::new();
    let mut slices: Vec<&EndpointSlice> = objects.slices.values().collect();
    slices.retain(|slice| slice.service.as_deref() == Some(id) && slice.family == family);
    for slice in slices {
        for port in slice.ports.iter().filter(|port| port.name == spec.name && port.protocol == spec.protocol)
        {
            for endpoint in &slice.endpoints {
                let backend = Backend { address: endpoint.address, port: port.port };
                let better = |one: &Endpoint| (one.terminating, !one.ready, !one.serving);
                if best.get(&backend).is_none_or(|known| better(endpoint) < better(known)) {
                    best.insert(backend, endpoint);
                }
            }
        }
    }
    let ready: Vec<_> = best.iter().filter(|(_, one)| one.ready).collect();
    let hints = |one: &Endpoint| one.hints.as_deref().cloned().unwrap_or_default();
    let for_node = |one: &Endpoint| hints(one).nodes.iter().any(|node| **node == *here.name);
    let for_zone = |one: &Endpoint| hints(one).zones.iter().any(|zone| Some(&**zone) == here.zone);
    let mut cluster: Vec<Backend> = ready.iter().map(|(backend, _)| **backend).collect();
    if ready.iter().all(|(_, one)| !hints(one).nodes.is_empty()) && ready.iter().any(|(_, one)| for_node(one))
    {
        cluster.retain(|backend| for_node(best[backend]));
    } else if ready.iter().all(|(_, one)| !hints(one).zones.is_empty())
        && ready.iter().any(|(_, one)| for_zone(one))
    {
        cluster.retain(|backend| for_zone(best[backend]));
    }
    let last = |all: &BTreeMap<Backend, &Endpoint>| -> Vec<Backend> {
        all.iter().filter(|(_, one)| one.serving && one.terminating).map(|(backend, _)| *backend).collect()
    };
    if cluster.is_empty() {
        cluster = last(&best);
    }
    let serving =
        best.iter().filter(|(_, one)| one.serving || one.ready).map(|(backend, _)| *backend).collect();
    best.retain(|_, one| one.node.as_deref() == Some(here.name));
    let mut local: Vec<Backend> =
        best.iter().filter(|(_, one)| one.ready).map(|(backend, _)| *backend).collect();
    if local.is_empty() {
        local = last(&best);
    }
    [cluster, local, serving]
}

fn source_ranges(service: &Service, family: Family, here: &Here<'_>) -> Option<Arc<[IpNet]>> {
    let is_of = |address: IpAddr| Family::of(address) == family;
    let mut ranges: BTreeSet<IpNet> =
        service.source_ranges.iter().copied().filter(|range| is_of(range.addr())).collect();
    let is_open = ranges.is_empty() && !service.has_unreadable_range;
    if is_open || ranges.iter().any(|range| range.prefix_len() == 0) {
        return None;
    }
    let node = here.addresses.iter().find(|address| is_of(**address));
    if ranges.iter().any(|range| node.is_some_and(|node| range.contains(node))) {
        ranges
            .extend(service.load_balancer_ips.iter().filter(|one| is_of(**one)).map(|one| IpNet::from(*one)));
    }
    Some(ranges.into_iter().collect())
}

pub(super) fn all(objects: &Objects, here: &Here<'_>) -> All {
    let (mut all, owners) = (All::default(), owners(objects));
    for service in
        objects.services.values().filter(|service| service.ignored.is_none() && !service.ports.is_empty())
    {
        let mut own = BTreeMap::<Place, &PortSpec>::new();
        let families: Vec<Family> = service.cluster_ips.iter().map(|address| Family::of(*address)).collect();
        let named = service.cluster_ips.iter().chain(&service.load_balancer_ips).chain(&service.external_ips);
        let is_wrong =
            |address: &IpAddr| !usable(*address, here) || !families.contains(&Family::of(*address));
        if named.clone().any(is_wrong) {
            all.told.insert(format!("Service {}", service.id));
        }
        for family in Family::ALL.into_iter().filter(|family| families.contains(family)) {
            for spec in &service.ports {
                let mut frontends = Vec::new();
                for (kind, address, port) in wanted(service, spec, family) {
                    let place = (address, family, spec.protocol, port);
                    if address.is_some_and(|address| !usable(address, here)) {
                        continue;
                    }
                    let is_taken = own.get(&place).is_some_and(|other| *other != spec);
                    if owners[&place].1 != service.id || is_taken {
                        all.told.insert(format!("Service {}", service.id));
                    } else if own.insert(place, spec).is_none() {
                        let policy = |local| if local { Policy::Local } else { Policy::Cluster };
                        let (inside, outside) = match kind {
                            FrontendKind::ClusterIp => {
                                (policy(service.internal_local), policy(service.internal_local))
                            }
                            _ => (Policy::Cluster, policy(service.external_local)),
                        };
                        frontends.push(Frontend { kind, address, port, inside, outside });
                        if kind == FrontendKind::LoadBalancer || kind == FrontendKind::ExternalIp {
                            all.service_addresses.insert(address.unwrap(), ());
                        }
                    }
                }
                frontends.sort();
                if frontends.is_empty() {
                    continue;
                }
                let key = ServicePortKey {
                    service: service.id.clone(),
                    port: spec.name.clone(),
                    protocol: spec.protocol,
                    family,
                };
                let [cluster, local, serving] = lists(objects, &service.id, spec, family, here);
                let slices = objects
                    .slices
                    .values()
                    .filter(|one| one.service.as_ref() == Some(&service.id) && one.family == family);
                let is_balanced = frontends.iter().any(|one| one.kind == FrontendKind::LoadBalancer);
                let row = ServicePort {
                    frontends,
                    refuse: cluster.is_empty() && local.is_empty(),
                    cluster: cluster.into(),
                    local: local.into(),
                    serving: serving.into(),
                    affinity: service.affinity,
                    source_ranges: source_ranges(service, family, here).filter(|_| is_balanced),
                    triggered: slices.filter_map(|slice| slice.triggered).max(),
                };
                all.services.insert(key, Arc::new(row));
            }
        }
        if asks(service) {
            let port = service.health_check_node_port;
            let places = Family::ALL.map(|family| (None, family, Protocol::Tcp, port));
            if places.iter().all(|place| owners[place].1 == service.id && !own.contains_key(place)) {
                let count = |family| {
                    let slices = objects
                        .slices
                        .values()
                        .filter(|one| one.service.as_ref() == Some(&service.id) && one.family == family);
                    let endpoints =
                        slices.filter(|slice| !slice.ports.is_empty()).flat_map(|slice| &slice.endpoints);
                    let ready = endpoints.filter(|one| one.ready && one.node.as_deref() == Some(here.name));
                    u32::try_from(ready.map(|one| one.address).collect::<BTreeSet<_>>().len()).unwrap()
                };
                let local_endpoints = count(Family::V4).max(count(Family::V6));
                all.health_checks.insert(service.id.clone(), HealthCheck { port, local_endpoints });
            } else {
                all.told.insert(format!("Service {}", service.id));
            }
        }
    }
    all.service_cidrs.extend(here.ranges.service.iter().map(|cidr| (cidr.trunc(), ())));
    for (key, object) in &objects.cidrs {
        for cidr in &object.cidrs {
            let overlaps =
                here.ranges.cluster.iter().any(|cluster| cluster.contains(cidr) || cidr.contains(cluster));
            if overlaps || here.nodes.iter().any(|address| cidr.contains(address)) {
                all.told.insert(format!("ServiceCIDR {key}"));
            } else {
                all.service_cidrs.insert(*cidr, ());
            }
        }
    }
    all
}
