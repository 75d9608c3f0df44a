//! Drops as programs get them: see docs/reference.md.

use std::fmt;

use nodeapi::v1;
use serde::Serialize;

use crate::API_VERSION;
use crate::answer::{number, some};
use crate::services::socket;

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

/// What was dropped between the same two addresses, to the same port, for the same reason.
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
    pub(super) source: End,
    pub(super) destination: End,
    /// `None`: it is not known.
    pub(super) protocol: Option<String>,
    pub(super) decided_by: String,
    pub(super) policies: Vec<String>,
    /// `None`: the default deny, or no rule decided.
    pub(super) rule: Option<u32>,
    pub(super) rule_name: Option<String>,
    pub(super) why: String,
}

/// One end of a packet.
#[derive(Debug, Serialize)]
pub(super) struct End {
    pub(super) address: String,
    /// `None`: the protocol has none, or it is not known.
    pub(super) port: Option<u32>,
    /// `None`: no Pod is known to have had the address.
    pub(super) pod: Option<Pod>,
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
    /// Its address, with its port if there is one.
    pub(super) fn socket(&self) -> String {
        self.port.map_or_else(|| self.address.clone(), |port| socket(&self.address, port))
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
        Self {
            first: drop.first,
            last: drop.last,
            last_seconds: drop.last_seconds,
            packets: drop.packets,
            bytes: drop.bytes,
            direction: drop.direction,
            verdict: drop.verdict,
            reason: drop.reason,
            source: end(drop.source),
            destination: end(drop.destination),
            protocol: some(drop.protocol),
            decided_by: drop.decided_by,
            policies: drop.policies,
            rule: drop.rule,
            rule_name: some(drop.rule_name),
            why: drop.why,
        }
    }
}

impl From<v1::DropEnd> for End {
    fn from(v1::DropEnd { address, port, pod }: v1::DropEnd) -> Self {
        let pod = pod.map(|v1::PodName { namespace, name }| Pod { namespace, name });
        Self { address, port: number(port), pod }
    }
}
