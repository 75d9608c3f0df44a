//! What a node needs to know of Services: one [`ServicePort`] for each port, protocol and family of a Service.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use objects::{Family, Protocol};

/// Names one port of a Service in one family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePortKey {
    /// `namespace/name` of the Service.
    pub service: Arc<str>,
    /// The port's name; empty if the Service has one port alone.
    pub port: Arc<str>,
    /// What the port is of.
    pub protocol: Protocol,
    /// The family of the addresses.
    pub family: Family,
}

/// `namespace/name:port/TCP (IPv4)`.
impl fmt::Display for ServicePortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, port, protocol, family } = self;
        let colon = if port.is_empty() { "" } else { ":" };
        write!(f, "{service}{colon}{port}/{protocol} ({family})")
    }
}

/// One port of a Service in one family: where it is reached, and what serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Where it is reached; sorted, each once.
    pub frontends: Vec<Frontend>,
    /// The Cluster list: the ready endpoints, by topology hints; without any ready one, those that still serve while they
    /// terminate. Sorted.
    pub cluster: Arc<[Backend]>,
    /// The Local list: the same of this node's endpoints, without hints. Sorted.
    pub local: Arc<[Backend]>,
    /// Every endpoint that serves, whatever the policies: a UDP flow to another one is to end. Sorted.
    pub serving: Arc<[Backend]>,
    /// No endpoint can be used, wherever it is: new connections are refused. Otherwise an empty list drops them.
    pub refuse: bool,
    /// For how many seconds a client stays with its backend.
    pub affinity: Option<u32>,
    /// From where [`FrontendKind::LoadBalancer`] is reached; `None`: from everywhere.
    pub source_ranges: Option<Arc<[IpNet]>>,
    /// When the newest change of its EndpointSlices happened, in milliseconds since 1970.
    pub triggered: Option<i64>,
}

/// Where a Service's port is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frontend {
    /// What kind of address it has.
    pub kind: FrontendKind,
    /// Its address; `None`: any of a node, at a NodePort.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// The list for clients in the cluster: Pods and nodes.
    pub inside: Policy,
    /// The list for all others.
    pub outside: Policy,
}

/// What kind of address a frontend has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendKind {
    /// The Service's own, of a ServiceCIDR.
    ClusterIp,
    /// Any of a node.
    NodePort,
    /// A load balancer's.
    LoadBalancer,
    /// One that somebody routes to nodes.
    ExternalIp,
}

impl FrontendKind {
    /// As Kubernetes calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalIp => "externalIP",
        }
    }
}

/// Which endpoints a frontend's connections go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// [`ServicePort::cluster`].
    Cluster,
    /// [`ServicePort::local`].
    Local,
}

/// Where an endpoint is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// What load balancers ask a node for (`healthCheckNodePort`): whether a Service of type LoadBalancer with
/// `externalTrafficPolicy: Local` has endpoints there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// Where they ask.
    pub port: u16,
    /// How many different ready addresses it has on this node, of the family that has more.
    pub local_endpoints: u32,
}
