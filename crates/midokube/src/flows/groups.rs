//! Flows added up by what they have in common: pure.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use super::view::{End, Flow, Node, View};
use crate::API_VERSION;

/// By what flows are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// The namespaces of both ends.
    Namespace,
    /// The Pods of both ends, or the addresses that are no Pod's.
    Pod,
    /// The Service.
    Service,
    /// The server's port.
    Port,
    /// What policy said.
    Verdict,
    /// Why it was denied.
    Reason,
    /// Who sees it.
    Node,
}

/// Flows that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    /// What they have in common.
    pub(super) name: String,
    pub(super) flows: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) denied: u64,
}

/// All groups, those with most flows first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Groups {
    api_version: &'static str,
    kind: &'static str,
    pub(super) nodes: Vec<Node>,
    pub(super) groups: Vec<Group>,
    /// As of [`View`].
    #[serde(skip)]
    pub(super) unknown: Vec<String>,
}

/// What stands for nothing of its kind.
const NONE: &str = "-";

impl Groups {
    pub(super) fn new(by: By, view: View) -> Self {
        let mut groups = BTreeMap::<String, Group>::new();
        for flow in &view.flows {
            for name in names(by, flow) {
                let empty = || Group { name: name.clone(), flows: 0, packets: 0, bytes: 0, denied: 0 };
                let group = groups.entry(name.clone()).or_insert_with(empty);
                let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
                add(&mut group.flows, 1);
                add(&mut group.packets, flow.client_packets.saturating_add(flow.server_packets));
                add(&mut group.bytes, flow.client_bytes.saturating_add(flow.server_bytes));
                add(&mut group.denied, u64::from(flow.verdict == "deny"));
            }
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by(|one, other| other.flows.cmp(&one.flows).then_with(|| one.name.cmp(&other.name)));
        let View { nodes, unknown, .. } = view;
        Self { api_version: API_VERSION, kind: "FlowGroups", nodes, groups, unknown }
    }
}

/// The groups of a flow: one, but for its nodes, and the Services whose endpoint is denied.
fn names(by: By, flow: &Flow) -> Vec<String> {
    let namespace = |end: &End| {
        let pod = end.pod.as_deref().and_then(|pod| pod.split_once('/'));
        pod.map_or_else(|| NONE.to_owned(), |(namespace, _)| namespace.to_owned())
    };
    let some = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    vec![match by {
        By::Namespace => format!("{} -> {}", namespace(&flow.client), namespace(&flow.backend)),
        By::Pod => format!("{} -> {}", flow.client.name(), flow.backend.name()),
        By::Service => {
            let services: Vec<String> = flow.services().map(str::to_owned).collect();
            return if services.is_empty() { vec![NONE.to_owned()] } else { services };
        }
        By::Port => match (&flow.protocol, flow.backend.port) {
            (Some(protocol), Some(port)) => format!("{protocol}/{port}"),
            (protocol, _) => some(protocol),
        },
        By::Verdict => flow.verdict.clone(),
        By::Reason => some(&flow.reason),
        By::Node => return flow.nodes.clone(),
    }]
}
