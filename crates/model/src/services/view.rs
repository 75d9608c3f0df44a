//! A Service as a person asks for it: where it is reached, and what of its endpoints is used here, and why the rest is not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use objects::{EndpointSlice, Family, Service};

use super::choice::{Candidate, Here, Unused, candidates, choose};
use crate::facts::Facts;
use crate::service::{ServicePort, ServicePortKey};
use crate::{Desired, Problem};

/// A Service on this node.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// The object.
    pub service: Arc<Service>,
    /// Its ports in each of its families.
    pub ports: Vec<PortView>,
    /// What of it and of its EndpointSlices is left out.
    pub problems: Vec<Problem>,
}

/// A port of a Service in one family.
#[derive(Debug, Clone)]
pub struct PortView {
    /// What names it.
    pub key: ServicePortKey,
    /// What the node's table has of it; `None`: nothing, as long as not all Services are known, or nothing of it can be
    /// served.
    pub row: Option<Arc<ServicePort>>,
    /// All of its endpoints.
    pub endpoints: Vec<EndpointView>,
}

/// An endpoint of a Service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None`: it has none of this name.
    pub port: Option<u16>,
    /// The node that it runs on.
    pub node: Option<Arc<str>>,
    /// The zone of that node.
    pub zone: Option<Box<str>>,
    /// Whether it is to get new connections.
    pub ready: bool,
    /// Whether it can serve.
    pub serving: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it is not in the Cluster list; `None`: it is.
    pub cluster: Option<Unused>,
    /// Why it is not in the Local list; `None`: it is.
    pub local: Option<Unused>,
}

pub(crate) fn view(
    service: &Arc<Service>,
    slices: &[Arc<EndpointSlice>],
    here: Here<'_>,
    nodes: &BTreeMap<Arc<str>, Facts>,
    desired: Option<&Desired>,
    problem_key: &str,
) -> ServiceView {
    let families = || Family::ALL.into_iter().filter(|family| service.cluster_ip(*family).is_some());
    let ports = service.ports.iter().flat_map(|spec| families().map(move |family| (spec, family)));
    let ports = ports.map(|(spec, family)| {
        let (port, protocol) = (Arc::clone(&spec.name), spec.protocol);
        let key = ServicePortKey { service: Arc::clone(&service.id), port, protocol, family };
        let row = desired.and_then(|desired| desired.services.get(&key)).cloned();
        let all = candidates(slices, &spec.name, protocol, family);
        let endpoints = all.iter().zip(choose(&all, here)).map(|(one, choice)| {
            let Candidate { endpoint, port } = one;
            EndpointView {
                address: endpoint.address,
                port: *port,
                node: endpoint.node.clone(),
                zone: endpoint.node.as_deref().and_then(|node| nodes.get(node)?.zone.clone()),
                ready: endpoint.ready,
                serving: endpoint.serving,
                terminating: endpoint.terminating,
                cluster: choice.cluster,
                local: choice.local,
            }
        });
        PortView { key, row, endpoints: endpoints.collect() }
    });
    let problems = desired.and_then(|desired| desired.problems.get(problem_key)).cloned();
    ServiceView {
        service: Arc::clone(service),
        ports: ports.collect(),
        problems: problems.unwrap_or_default(),
    }
}
