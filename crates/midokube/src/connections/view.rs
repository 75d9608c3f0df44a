//! Connections as programs get them: see docs/reference.md.

use std::fmt;

use nodeapi::v1;
use serde::{Deserialize, Serialize};

use crate::API_VERSION;
use crate::services::socket;

/// The connections that match, as many as were asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: &'static str,
    /// How many match, listed or not.
    pub(super) matching: u64,
    pub(super) connections: Vec<Connection>,
}

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connection {
    pub(crate) protocol: String,
    pub(crate) client: Endpoint,
    pub(crate) frontend: Endpoint,
    pub(crate) backend: Endpoint,
    /// `None`: the server sees the client itself.
    pub(crate) translated_client: Option<Endpoint>,
    /// `None`: it goes through none.
    pub(crate) service: Option<Service>,
    pub(crate) state: String,
    pub(crate) idle_seconds: u64,
}

/// An address and a port; of an ICMP echo its identifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    pub(crate) port: u32,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&socket(&self.address, self.port))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, port } = self;
        let colon = if port.is_empty() { "" } else { ":" };
        write!(f, "{namespace}/{name}{colon}{port}")
    }
}

impl From<v1::ListConnectionsReply> for View {
    fn from(reply: v1::ListConnectionsReply) -> Self {
        let connections = reply.connections.into_iter().map(Connection::from).collect();
        Self { api_version: API_VERSION, kind: "Connections", matching: reply.matching, connections }
    }
}

impl From<v1::Connection> for Connection {
    fn from(connection: v1::Connection) -> Self {
        let end = |end: Option<v1::Endpoint>| Endpoint::from(end.unwrap_or_default());
        let port = connection.service_port;
        let service = |v1::ServiceName { namespace, name }| Service { namespace, name, port };
        Self {
            protocol: connection.protocol,
            client: end(connection.client),
            frontend: end(connection.frontend),
            backend: end(connection.backend),
            translated_client: connection.translated_client.map(Endpoint::from),
            service: connection.service.map(service),
            state: connection.state,
            idle_seconds: connection.idle_seconds,
        }
    }
}

impl From<v1::Endpoint> for Endpoint {
    fn from(v1::Endpoint { address, port }: v1::Endpoint) -> Self {
        Self { address, port }
    }
}
