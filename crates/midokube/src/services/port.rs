//! A port of a Service as programs get it.

use std::fmt;

use nodeapi::v1;
use serde::Serialize;

use crate::answer::{number, some};

/// A port of a Service in one family.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: String,
    pub(crate) protocol: String,
    pub(crate) family: String,
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) cluster_backends: u32,
    pub(crate) local_backends: u32,
    pub(crate) endpoints: u32,
    pub(crate) affinity_seconds: Option<u32>,
    /// Whether `source_ranges` are all that reaches its load balancer's addresses.
    pub(crate) limits_sources: bool,
    pub(crate) source_ranges: Vec<String>,
    /// `None`: the datapath does not have it.
    pub(crate) counters: Option<Counters>,
}

/// What became of connections.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Counters {
    pub(crate) connections: u64,
    pub(crate) refused: u64,
}

/// Where a port is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Frontend {
    pub(crate) kind: String,
    /// `None`: any of a node.
    pub(crate) address: Option<String>,
    pub(crate) port: u32,
    pub(crate) inside: String,
    pub(crate) outside: String,
}

/// The policy that uses the whole cluster's backends.
pub(crate) const CLUSTER: &str = "Cluster";
/// The policy that uses this node's backends alone.
pub(crate) const LOCAL: &str = "Local";

impl Port {
    /// Whether some frontend leads to the backends of a policy.
    pub(crate) fn uses(&self, policy: &str) -> bool {
        self.frontends.iter().any(|frontend| frontend.inside == policy || frontend.outside == policy)
    }

    /// How many backends are in use: those of the cluster, unless all frontends lead to this node's alone.
    pub(crate) fn backends(&self) -> u32 {
        let all_local = |one: &Frontend| one.inside == LOCAL && one.outside == LOCAL;
        let is_local = !self.frontends.is_empty() && self.frontends.iter().all(all_local);
        if is_local { self.local_backends } else { self.cluster_backends }
    }
}

/// `address:port`, and `*:port` at any address of a node.
impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.as_deref() {
            None => write!(f, "*:{}", self.port),
            Some(address) => f.write_str(&socket(address, self.port)),
        }
    }
}

/// An address and a port, as they are written together.
pub(crate) fn socket(address: &str, port: u32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// A Service's name, as it is written.
pub(crate) fn service_name(v1::ServiceName { namespace, name }: v1::ServiceName) -> String {
    format!("{namespace}/{name}")
}

impl From<v1::ServicePort> for Port {
    fn from(port: v1::ServicePort) -> Self {
        Self {
            namespace: port.namespace,
            name: port.name,
            port: port.port,
            protocol: port.protocol,
            family: port.family,
            frontends: port.frontends.into_iter().map(Frontend::from).collect(),
            cluster_backends: port.cluster_backends,
            local_backends: port.local_backends,
            endpoints: port.endpoints,
            affinity_seconds: number(port.affinity_seconds),
            limits_sources: port.has_source_ranges,
            source_ranges: port.source_ranges,
            counters: port
                .counters
                .map(|counters| Counters { connections: counters.connections, refused: counters.refused }),
        }
    }
}

impl From<v1::Frontend> for Frontend {
    fn from(frontend: v1::Frontend) -> Self {
        let v1::Frontend { kind, address, port, inside, outside } = frontend;
        Self { kind, address: some(address), port, inside, outside }
    }
}
