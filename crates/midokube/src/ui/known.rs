//! What is known of all nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use serde_json::Value;
use ui::Place;

use super::asker::Answers;
use super::flows::Flows;
use crate::flows::{End, Flow, Node, View};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) flows: Flows,
    nodes: BTreeMap<String, NodeState>,
    /// Nodes' own addresses.
    addresses: BTreeMap<IpAddr, String>,
    /// Why nobody could be asked.
    pub(super) error: Option<String>,
    /// Whether somebody was asked at all.
    pub(super) is_asked: bool,
}

/// What is known of a node.
#[derive(Debug, Default)]
pub(super) struct NodeState {
    /// What it says of its flows, or why it says nothing.
    pub(super) flows: Option<Result<Node, String>>,
    /// Flows that it had and that were too many to be told.
    pub(super) unlisted: u64,
    /// What it said of itself last.
    pub(super) status: Option<Value>,
    /// Why it says nothing of itself now.
    pub(super) status_error: Option<String>,
}

impl NodeState {
    /// Why it cannot be asked. A node that says something of itself can, whatever is with its flows.
    pub(super) fn error(&self) -> Option<&str> {
        self.status_error.as_deref()
    }

    /// Whether nothing comes from it, so that it is asked more seldom.
    pub(super) fn is_silent(&self) -> bool {
        self.status_error.is_some() && !matches!(self.flows, Some(Ok(_)))
    }
}

impl Known {
    /// The nodes, by name.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        self.nodes.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// A node.
    pub(super) fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    /// Whether nothing comes from a node.
    pub(super) fn is_silent(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(NodeState::is_silent)
    }

    /// What nodes say of flows.
    pub(super) fn hear_flows(&mut self, answers: Answers<View>, now: Instant) {
        for (name, said) in answers {
            let node = self.nodes.entry(name).or_default();
            match said {
                Ok(mut view) => {
                    node.unlisted = view.matching.saturating_sub(view.flows.len() as u64);
                    node.flows = view.nodes.pop().map(Ok);
                    view.flows.into_iter().for_each(|flow| self.flows.add(flow, now));
                }
                Err(error) => node.flows = Some(Err(error)),
            }
        }
        self.flows.forget(now);
    }

    /// What nodes say of themselves.
    pub(super) fn hear_statuses(&mut self, answers: Answers<Value>) {
        for (name, said) in answers {
            let node = self.nodes.entry(name).or_default();
            match said {
                Ok(status) => (node.status, node.status_error) = (Some(status), None),
                Err(error) => node.status_error = Some(error),
            }
        }
        let addresses = self.nodes.iter().flat_map(|(name, node)| {
            let network = node.status.as_ref().and_then(|status| status.get("network"));
            let own = network.and_then(|network| network.get("nodeAddresses")).and_then(Value::as_array);
            let tunnel = network.and_then(|network| network.get("tunnelAddress"));
            let all = own.into_iter().flatten().chain(tunnel);
            all.filter_map(|address| Some((address.as_str()?.parse().ok()?, name.clone())))
        });
        self.addresses = addresses.collect();
    }

    /// Forgets the nodes that are not there any more.
    pub(super) fn keep(&mut self, names: &[String]) {
        let is_there = |name: &str| names.iter().any(|known| known == name);
        let before = self.nodes.len();
        self.nodes.retain(|name, _| is_there(name));
        if self.nodes.len() < before {
            self.flows.keep_nodes(is_there);
        }
    }

    /// Where both ends of a flow are.
    pub(super) fn places<'a>(&'a self, flow: &'a Flow) -> (Place<'a>, Place<'a>) {
        (self.place(&flow.client), self.place(&flow.backend))
    }

    fn place<'a>(&'a self, end: &'a End) -> Place<'a> {
        if let Some((namespace, name)) = end.pod.as_deref().and_then(|pod| pod.split_once('/')) {
            return Place::Pod(namespace, name);
        }
        let node = end.address.parse().ok().and_then(|address: IpAddr| self.addresses.get(&address));
        node.map_or(Place::Outside, |name| Place::Node(name))
    }

    /// The node and the port of a Pod.
    pub(super) fn port(&self, namespace: &str, name: &str) -> Option<(&str, &NodeState, &Value)> {
        self.nodes().find_map(|(node, state)| {
            let ports = state.status.as_ref()?.get("ports")?.as_array()?;
            let is_it = |port: &&Value| {
                port.get("namespace").is_some_and(|of| of == namespace)
                    && port.get("name").is_some_and(|own| own == name)
            };
            Some((node, state, ports.iter().find(is_it)?))
        })
    }
}
