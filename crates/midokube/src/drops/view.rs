//! Drops as programs get them: see docs/reference.md.

use std::fmt;

use nodeapi::v1;
use serde::Serialize;

use crate::API_VERSION;
use crate::answer::{number, some};
use crate::services::{service_name, socket};

/// The drops that match, as many as were asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: &'static str,
    /// How many match, listed or not.
    pub(super) matching: u64,
    pub(super) drops: Vec<Drop>,
}

/// What was dropped between the same two ends, to the same port, for the same reason.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drop {
    pub(super) first: String,
    pub(super) last: String,
    pub(super) last_seconds: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) direction: String,
    pub(super) verdict: String,
    pub(super) reason: String,
    /// `None`: policy dropped it, or the interface is gone.
    pub(super) interface: Option<String>,
    pub(super) source: End,
    pub(super) destination: End,
    /// The Services of which the destination is an endpoint.
    endpoint_of: Vec<String>,
    /// `None`: it is not known.
    pub(super) protocol: Option<String>,
    /// `None`: the source in the packet's header was its sender's own.
    pub(super) claimed: Option<Claimed>,
    /// All those of one sender that were too many to be told apart.
    pub(super) others: bool,
    pub(super) decided_by: String,
    pub(super) policies: Vec<String>,
    /// `None`: the default deny, or no rule decided.
    pub(super) rule: Option<u32>,
    pub(super) rule_name: Option<String>,
    pub(super) why: String,
    pub(super) remedy: String,
}

/// What the last packet said of its sender.
#[derive(Debug, Serialize)]
pub(super) struct Claimed {
    /// `None`: it had no source that can be read.
    pub(super) address: Option<String>,
    /// `None`: it came from no Pod of this node.
    pub(super) mac: Option<String>,
}

/// One end of a packet.
#[derive(Debug, Serialize)]
pub(super) struct End {
    /// `None`: it is not known.
    pub(super) address: Option<String>,
    /// `None`: the protocol has none, or it is not known.
    pub(super) port: Option<u32>,
    /// `None`: no Pod is known to have had the address.
    pub(super) pod: Option<Pod>,
    /// The node that has the address.
    pub(super) node: Option<String>,
    /// The Service that has the address.
    pub(super) service: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl End {
    /// Its address, with its port if there is one; `None`: it is not known.
    pub(super) fn socket(&self) -> Option<String> {
        let address = self.address.as_ref()?;
        Some(self.port.map_or_else(|| address.clone(), |port| socket(address, port)))
    }

    /// The Pod, the node or the Service that has the address, if one has it.
    pub(super) fn name(&self) -> Option<String> {
        let pod = self.pod.as_ref().map(ToString::to_string);
        let node = || self.node.as_ref().map(|node| format!("node {node}"));
        let service = || self.service.as_ref().map(|service| format!("service {service}"));
        pod.or_else(node).or_else(service)
    }
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.address.iter().chain(&self.mac).map(String::as_str);
        f.write_str(&parts.collect::<Vec<_>>().join(" "))
    }
}

impl From<v1::ListDropsReply> for View {
    fn from(reply: v1::ListDropsReply) -> Self {
        let drops = reply.drops.into_iter().map(Drop::from).collect();
        Self { api_version: API_VERSION, kind: "Drops", matching: reply.matching, drops }
    }
}

impl From<v1::Drop> for Drop {
    fn from(drop: v1::Drop) -> Self {
        let end = |end: Option<v1::DropEnd>| End::from(end.unwrap_or_default());
        let claimed = Claimed { address: some(drop.claimed_address), mac: some(drop.claimed_mac) };
        Self {
            first: drop.first,
            last: drop.last,
            last_seconds: drop.last_seconds,
            packets: drop.packets,
            bytes: drop.bytes,
            direction: drop.direction,
            verdict: drop.verdict,
            reason: drop.reason,
            interface: some(drop.interface),
            source: end(drop.source),
            destination: end(drop.destination),
            endpoint_of: drop.endpoint_of.into_iter().map(service_name).collect(),
            protocol: some(drop.protocol),
            claimed: Some(claimed).filter(|claimed| claimed.address.is_some() || claimed.mac.is_some()),
            others: drop.others,
            decided_by: drop.decided_by,
            policies: drop.policies,
            rule: drop.rule,
            rule_name: some(drop.rule_name),
            why: drop.why,
            remedy: drop.remedy,
        }
    }
}

impl From<v1::DropEnd> for End {
    fn from(v1::DropEnd { address, port, pod, node, service }: v1::DropEnd) -> Self {
        let pod = pod.map(|v1::PodName { namespace, name }| Pod { namespace, name });
        let service = service.map(service_name);
        Self { address: some(address), port: number(port), pod, node: some(node), service }
    }
}
