//! A Service as programs get it: see docs/reference.md.

use nodeapi::v1;
use serde::Serialize;

use crate::API_VERSION;
use crate::answer::{Problem, number, some};
use crate::services::Port;

/// Everything about a Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) service_type: String,
    /// Why nothing of it is served; `None`: it is served.
    pub(super) ignored: Option<String>,
    pub(super) health_check_node_port: Option<u32>,
    pub(super) ports: Vec<Details>,
    pub(super) problems: Vec<Problem>,
}

/// A port with its backends.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    #[serde(flatten)]
    pub(super) port: Port,
    pub(super) backends: Vec<Backend>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backend {
    pub(super) address: String,
    /// `None`: its EndpointSlice has no such port.
    pub(super) port: Option<u32>,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
    /// Why policy Cluster does not use it; `None`: it does.
    pub(super) not_in_cluster: Option<String>,
    /// Why policy Local does not use it; `None`: it does.
    pub(super) not_in_local: Option<String>,
    pub(super) active_connections: u64,
}

impl From<v1::GetServiceReply> for View {
    fn from(reply: v1::GetServiceReply) -> Self {
        let details = |v1::ServiceDetails { port, backends }| Details {
            port: port.unwrap_or_default().into(),
            backends: backends.into_iter().map(Backend::from).collect(),
        };
        Self {
            api_version: API_VERSION,
            kind: "Service",
            namespace: reply.namespace,
            name: reply.name,
            service_type: reply.r#type,
            ignored: some(reply.ignored),
            health_check_node_port: number(reply.health_check_node_port),
            ports: reply.ports.into_iter().map(details).collect(),
            problems: reply.problems.into_iter().map(Problem::from).collect(),
        }
    }
}

impl From<v1::Backend> for Backend {
    fn from(backend: v1::Backend) -> Self {
        Self {
            address: backend.address,
            port: number(backend.port),
            node: some(backend.node),
            zone: some(backend.zone),
            ready: backend.ready,
            serving: backend.serving,
            terminating: backend.terminating,
            not_in_cluster: some(backend.not_in_cluster),
            not_in_local: some(backend.not_in_local),
            active_connections: backend.active_connections,
        }
    }
}
