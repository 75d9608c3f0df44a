//! What is told of a flow: a line of the file of flows, one JSON object, with the attributes' names of OpenTelemetry as far as
//! it has some.

use std::net::SocketAddr;

use objects::Key;
use serde::Serialize;

use super::flow::{Decision, Flow};
use crate::clock::Clock;
use crate::protocols::protocol_name;

/// A flow, as of a moment.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    #[serde(skip)]
    now: Clock,
    time: String,
    #[serde(rename = "event.name")]
    event: &'static str,
    #[serde(rename = "k8s.node.name")]
    node: &'a str,
    #[serde(rename = "network.transport")]
    transport: String,
    #[serde(rename = "network.type")]
    network: &'static str,
    #[serde(rename = "source.address")]
    source: String,
    #[serde(rename = "source.port", skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    #[serde(rename = "destination.address")]
    destination: String,
    #[serde(rename = "destination.port", skip_serializing_if = "Option::is_none")]
    destination_port: Option<u16>,
    #[serde(rename = "server.address")]
    backend: String,
    #[serde(rename = "server.port", skip_serializing_if = "Option::is_none")]
    backend_port: Option<u16>,
    #[serde(rename = "k8s.src.namespace", skip_serializing_if = "Option::is_none")]
    source_namespace: Option<&'a str>,
    #[serde(rename = "k8s.src.name", skip_serializing_if = "Option::is_none")]
    source_name: Option<&'a str>,
    #[serde(rename = "k8s.dst.namespace", skip_serializing_if = "Option::is_none")]
    destination_namespace: Option<&'a str>,
    #[serde(rename = "k8s.dst.name", skip_serializing_if = "Option::is_none")]
    destination_name: Option<&'a str>,
    #[serde(rename = "k8s.service.namespace", skip_serializing_if = "Option::is_none")]
    service_namespace: Option<&'a str>,
    #[serde(rename = "k8s.service.name", skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(rename = "midonet.flow.state")]
    state: &'static str,
    #[serde(rename = "midonet.flow.verdict")]
    verdict: &'static str,
    #[serde(rename = "midonet.flow.policies", skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(rename = "midonet.flow.start")]
    began: String,
    #[serde(rename = "midonet.flow.last")]
    last: String,
    #[serde(rename = "midonet.flow.late")]
    late: bool,
    #[serde(rename = "midonet.flow.rtt_us", skip_serializing_if = "Option::is_none")]
    round_trip: Option<u64>,
    #[serde(rename = "source.packets")]
    client_packets: u64,
    #[serde(rename = "source.bytes")]
    client_bytes: u64,
    #[serde(rename = "destination.packets")]
    server_packets: u64,
    #[serde(rename = "destination.bytes")]
    server_bytes: u64,
}

impl<'a> Line<'a> {
    /// A flow, as of now.
    pub(super) fn new(node: &'a str, flow: &'a Flow, last: bool, now: Clock) -> Self {
        let record = &flow.record;
        let port = |end: SocketAddr| (record.protocol != 1).then_some(end.port());
        let (client, server) = (flow.client.as_ref(), flow.server.as_ref());
        let service = flow.service.as_ref().map(|(service, _)| service);
        let rules = [&flow.egress, &flow.ingress]
            .into_iter()
            .flatten()
            .filter_map(|one: &Decision| one.rule.as_ref());
        Self {
            now,
            time: now.rfc3339(now.uptime),
            event: if last { "flow.end" } else { "flow.goes_on" },
            node,
            transport: protocol_name(record.protocol),
            network: if record.client.is_ipv4() { "ipv4" } else { "ipv6" },
            source: record.client.ip().to_string(),
            source_port: port(record.client),
            destination: record.frontend.ip().to_string(),
            destination_port: port(record.frontend),
            backend: record.backend.ip().to_string(),
            backend_port: port(record.backend),
            source_namespace: client.and_then(Key::namespace),
            source_name: client.map(Key::name),
            destination_namespace: server.and_then(Key::namespace),
            destination_name: server.map(Key::name),
            service_namespace: service.and_then(Key::namespace),
            service: service.map(Key::name),
            state: record.state.name(),
            verdict: if flow.is_audited() { "audit" } else { "allow" },
            policies: rules.map(ToString::to_string).collect(),
            began: now.rfc3339(record.began),
            last: now.rfc3339(record.last),
            late: record.late,
            round_trip: record.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            client_packets: record.client_sent.packets,
            client_bytes: record.client_sent.bytes,
            server_packets: record.server_sent.packets,
            server_bytes: record.server_sent.bytes,
        }
    }

    /// The line of the file.
    pub(super) fn json(&self) -> String {
        // Strings and numbers alone: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The moment, in nanoseconds since 1970.
    pub(super) fn now_nanoseconds(&self) -> u128 {
        self.now.nanoseconds(self.now.uptime)
    }
}

#[cfg(test)]
mod tests;
