//! What a row of the table of Services is in the map `services`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::layout::Address;
use crate::layout::services::{
    List, SCOPE_ADDRESS, SCOPE_HOST_PORT, SCOPE_NODE_PORT, SERVICE_ADDRESS, SERVICE_LOCAL, SERVICE_REFUSE,
    Service, ServiceKey,
};

use super::maglev::MOST_BACKENDS;
use super::served::Bit;
use super::types::{Family, Frontend, FrontendKind, Policy, ServicePort, ServicePortKey};

/// What of a row stands elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) number: u32,
    pub(super) cluster: List,
    pub(super) local: List,
    pub(super) ranges: u32,
}

impl Parts {
    fn list(&self, policy: Policy) -> List {
        match policy {
            Policy::Cluster => self.cluster,
            Policy::Local => self.local,
        }
    }
}

/// The keys of a row: of its frontends, and of the marks of their addresses.
pub(super) fn keys(key: &ServicePortKey, port: &ServicePort) -> BTreeSet<ServiceKey> {
    port.frontends
        .iter()
        .flat_map(|frontend| [Some(frontend_key(key, frontend)), mark(frontend)])
        .flatten()
        .collect()
}

/// The entries of a row.
pub(super) fn entries(
    key: &ServicePortKey,
    port: &ServicePort,
    parts: &Parts,
) -> BTreeMap<ServiceKey, Service> {
    let mut entries = BTreeMap::new();
    for frontend in &port.frontends {
        if let Some(mark) = mark(frontend) {
            entries.insert(mark, Service { flags: SERVICE_ADDRESS, ..Service::default() });
        }
        let limited = frontend.kind == FrontendKind::LoadBalancer;
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let service = Service {
            number: parts.number,
            flags: flag(port.refuse, SERVICE_REFUSE) | flag(frontend.outside == Policy::Local, SERVICE_LOCAL),
            affinity: port.affinity.unwrap_or(0),
            ranges: if limited { parts.ranges } else { 0 },
            inside: parts.list(frontend.inside),
            outside: parts.list(frontend.outside),
        };
        entries.insert(frontend_key(key, frontend), service);
    }
    entries
}

/// The ports at which packets from outside may be for a row. A ClusterIP is reached from inside.
pub(super) fn bits(key: &ServicePortKey, port: &ServicePort) -> BTreeSet<Bit> {
    let outside = port.frontends.iter().filter(|frontend| frontend.kind != FrontendKind::ClusterIp);
    outside.map(|frontend| Bit::new(key.protocol, frontend.port)).collect()
}

/// Why a row cannot be right, if it cannot.
pub(super) fn wrong(key: &ServicePortKey, port: &ServicePort) -> Option<String> {
    for frontend in &port.frontends {
        let Frontend { kind, address, port, .. } = frontend;
        if *port == 0 {
            return Some("a frontend has port 0".to_owned());
        }
        let fits = match kind {
            FrontendKind::NodePort => address.is_none(),
            FrontendKind::HostPort => true,
            _ => address.is_some(),
        };
        if !fits {
            return Some(format!("a frontend of kind {kind:?} has the address {address:?}"));
        }
        if let Some(address) = address.filter(|address| !is_of(key.family, *address)) {
            return Some(format!("the frontend {address} cannot be an {} address", key.family));
        }
    }
    for backends in [&port.cluster, &port.local] {
        if backends.len() > MOST_BACKENDS {
            return Some(format!("it has {} backends, and {MOST_BACKENDS} are supported", backends.len()));
        }
        let is_right = |address, port| port != 0 && is_of(key.family, address);
        if let Some(backend) = backends.iter().find(|backend| !is_right(backend.address, backend.port)) {
            return Some(format!(
                "its backend {} port {} cannot be an {} one",
                backend.address, backend.port, key.family
            ));
        }
    }
    None
}

/// An IPv4-mapped address is none of IPv6: in the maps it stands for IPv4.
fn is_of(family: Family, address: IpAddr) -> bool {
    Family::of(address) == family
        && address.to_canonical() == address
        && !address.is_unspecified()
        && !address.is_multicast()
}

fn frontend_key(key: &ServicePortKey, frontend: &Frontend) -> ServiceKey {
    let anywhere = match key.family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let scope = match (frontend.address, frontend.kind) {
        (Some(_), _) => SCOPE_ADDRESS,
        (None, FrontendKind::HostPort) => SCOPE_HOST_PORT,
        (None, _) => SCOPE_NODE_PORT,
    };
    ServiceKey {
        address: frontend.address.unwrap_or(anywhere).into(),
        port: frontend.port.to_be_bytes(),
        protocol: key.protocol.number(),
        scope,
    }
}

/// The mark of a frontend's address, if it is a Service's. That of a host port is the node's.
fn mark(frontend: &Frontend) -> Option<ServiceKey> {
    let address = frontend.address.filter(|_| frontend.kind != FrontendKind::HostPort)?;
    Some(ServiceKey { address: Address::from(address), ..ServiceKey::default() })
}
