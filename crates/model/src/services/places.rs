//! Where Services are reached, and which of several that name one place has it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;

use objects::{Family, PortSpec, Protocol, Service, ServiceType};

use crate::service::{Frontend, FrontendKind, Policy};

/// A port of an address, or of every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// `None`: a NodePort.
    address: Option<IpAddr>,
    family: Family,
    protocol: Protocol,
    port: u16,
}

impl Place {
    pub(crate) fn of(frontend: &Frontend, family: Family, protocol: Protocol) -> Self {
        Self { address: frontend.address, family, protocol, port: frontend.port }
    }

    /// The port of nodes where load balancers ask for a Service: TCP, in both families.
    pub(crate) fn health_check(service: &Service) -> impl Iterator<Item = Self> {
        let port = service.health_check_node_port;
        let asks = service.kind == ServiceType::LoadBalancer && service.external_local && port != 0;
        let asks = asks && !service.ports.is_empty();
        let places = Family::ALL.map(|family| Self { address: None, family, protocol: Protocol::Tcp, port });
        places.into_iter().filter(move |_| asks)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, family, protocol, port } = self;
        match address {
            Some(address) => write!(f, "{}/{protocol}", SocketAddr::new(*address, *port)),
            None => write!(f, "node port {port}/{protocol} ({family})"),
        }
    }
}

/// The order in which Services get a place: the one first that has the address as its ClusterIP, which the API server
/// gives to nobody else; then the oldest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    is_external: bool,
    created: Option<i64>,
    pub(crate) service: Arc<str>,
}

/// The places that Services name, each with those who do. No claim has a rank of `None`: it comes before all of a place.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeSet<(Place, Option<Rank>)>);

impl Places {
    pub(crate) fn insert(&mut self, service: &Service, external_ips: bool) {
        self.0.extend(claims(service, external_ips));
    }

    pub(crate) fn remove(&mut self, service: &Service, external_ips: bool) {
        for claim in claims(service, external_ips) {
            self.0.remove(&claim);
        }
    }

    /// Who names a place, in order.
    pub(crate) fn claims(&self, place: Place) -> impl Iterator<Item = &Rank> {
        let from = self.0.range((place, None)..);
        from.take_while(move |(at, _)| *at == place).filter_map(|(_, rank)| rank.as_ref())
    }

    /// Who has a place.
    pub(crate) fn owner(&self, place: Place) -> Option<&Arc<str>> {
        self.claims(place).next().map(|rank| &rank.service)
    }

    /// Who names a place of an address.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Arc<str>> {
        self.of_address(address).filter_map(|(_, rank)| Some(&rank.as_ref()?.service))
    }

    /// Whether somebody has a place of an address that is not its own ClusterIP.
    pub(crate) fn is_external(&self, address: IpAddr) -> bool {
        let mut place = None;
        self.of_address(address).any(|(at, rank)| {
            let is_owner = place.replace(*at) != Some(*at);
            is_owner && rank.as_ref().is_some_and(|rank| rank.is_external)
        })
    }

    fn of_address(&self, address: IpAddr) -> impl Iterator<Item = &(Place, Option<Rank>)> {
        let family = Family::of(address);
        let first = Place { address: Some(address), family, protocol: Protocol::Tcp, port: 0 };
        let from = self.0.range((Bound::Included((first, None)), Bound::Unbounded));
        from.take_while(move |(place, _)| place.address == Some(address))
    }
}

/// What a Service names.
fn claims(service: &Service, external_ips: bool) -> impl Iterator<Item = (Place, Option<Rank>)> {
    let claim = |place, is_external| {
        let rank = Rank { is_external, created: service.created, service: Arc::clone(&service.id) };
        (place, Some(rank))
    };
    let health_check = Place::health_check(service).map(move |place| claim(place, true));
    places(service, external_ips)
        .map(move |(place, is_external)| claim(place, is_external))
        .chain(health_check)
}

/// The places of a Service's frontends, each with whether it is another than its ClusterIP.
pub(crate) fn places(service: &Service, external_ips: bool) -> impl Iterator<Item = (Place, bool)> {
    let ports = service.ports.iter().flat_map(|port| Family::ALL.map(|family| (port, family)));
    ports.flat_map(move |(port, family)| {
        frontends(service, port, family, external_ips).map(move |frontend| {
            let is_external = frontend.kind != FrontendKind::ClusterIp;
            (Place::of(&frontend, family, port.protocol), is_external)
        })
    })
}

/// Where a port of a Service is reached in a family, if nobody else has it.
pub(crate) fn frontends(
    service: &Service,
    spec: &PortSpec,
    family: Family,
    external_ips: bool,
) -> impl Iterator<Item = Frontend> {
    let policy = |is_local| if is_local { Policy::Local } else { Policy::Cluster };
    let (internal, external) = (policy(service.internal_local), policy(service.external_local));
    let (port, node_port) = (spec.port, spec.node_port);
    let cluster_ip = service.cluster_ip(family);
    let own = cluster_ip.map(|address| {
        let (kind, address) = (FrontendKind::ClusterIp, Some(address));
        Frontend { kind, address, port, inside: internal, outside: internal }
    });
    // A client in the cluster is as good as at every endpoint: nothing is lost by another one's node.
    let others = move |kind, address, port| Frontend {
        kind,
        address,
        port,
        inside: Policy::Cluster,
        outside: external,
    };
    let is_served = move |address: &IpAddr| cluster_ip.is_some() && Family::of(*address) == family;
    let at_node =
        (cluster_ip.is_some() && node_port != 0).then(|| others(FrontendKind::NodePort, None, node_port));
    let load_balancer = service.load_balancer_ips.iter().copied().filter(is_served);
    let load_balancer =
        load_balancer.map(move |address| others(FrontendKind::LoadBalancer, Some(address), port));
    let external = service.external_ips.iter().copied().filter(move |one| external_ips && is_served(one));
    let external = external.map(move |address| others(FrontendKind::ExternalIp, Some(address), port));
    own.into_iter().chain(at_node).chain(load_balancer).chain(external)
}
