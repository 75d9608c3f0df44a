//! A cluster that nobody has, for tests of the page: what its nodes would say.

#![allow(dead_code, reason = "every test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

pub(crate) mod cluster;
mod flow;
pub(crate) mod serving;

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};
use ui::{Fault, Focus, Map, Packet, Place, Question, Selection, Source, Traffic, Verdict};

pub(crate) use flow::{Flow, flow};

/// The version of documents.
pub(crate) const API_VERSION: &str = "midokube.midonet.org/v1";

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) version: u64,
    /// As of `midokube flows`: name and error of each.
    pub(crate) nodes: Vec<(String, Option<String>)>,
    pub(crate) lost_events: u64,
    pub(crate) flows: Vec<Flow>,
    /// As of `midokube status`, by node.
    pub(crate) statuses: HashMap<String, Value>,
    /// As of `midokube policy`, by Pod.
    pub(crate) policies: HashMap<String, Value>,
}

/// A source of it, which a test changes meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Planted(Mutex<Known>);

impl Planted {
    pub(crate) fn new(known: Known) -> Self {
        Self(Mutex::new(known))
    }

    /// Changes what is known.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.0.lock().unwrap();
        change(&mut known);
        known.version += 1;
    }
}

impl Source for Planted {
    fn version(&self) -> u64 {
        self.0.lock().unwrap().version
    }

    fn answer(&self, question: &Question) -> Result<Vec<u8>, Fault> {
        let known = self.0.lock().unwrap();
        match question {
            Question::Nodes => Ok(known.node_list()),
            Question::Node(name) => {
                if let Some(error) =
                    known.nodes.iter().find(|(node, _)| node == name).and_then(|(_, error)| error.clone())
                {
                    return Err(Fault::Unreachable(error));
                }
                known
                    .statuses
                    .get(name)
                    .map(bytes)
                    .ok_or_else(|| Fault::Unknown(format!("there is no node {name}")))
            }
            Question::Pod(name) => known.pod(name),
            Question::Trace(packet) => known.trace(packet),
            Question::Flows(selection) => {
                let flows = known.selected(selection)?;
                let listed: Vec<_> = flows.iter().take(selection.limit).map(|flow| flow.document()).collect();
                let head = known.head("Flows", flows.len());
                Ok(bytes(&merged(head, json!({"flows": listed}))))
            }
            Question::Map(selection) => {
                let flows = known.selected(selection)?;
                let mut map = Map::new(selection.focus.clone());
                flows.iter().for_each(|flow| flow.add_to(&mut map));
                let document = map.document(API_VERSION, selection.limit).unwrap();
                Ok(bytes(&merged(
                    known.head("FlowMap", flows.len()),
                    serde_json::from_slice(&document).unwrap(),
                )))
            }
        }
    }
}

impl Known {
    fn head(&self, kind: &str, matching: usize) -> Value {
        let node = |(node, error): &(String, Option<String>)| json!({"node": node, "error": error, "events": 1000, "lostEvents": self.lost_events, "dropped": 0});
        let nodes: Vec<_> = self.nodes.iter().map(node).collect();
        json!({"apiVersion": API_VERSION, "kind": kind, "nodes": nodes, "matching": matching, "known": self.flows.len(), "unlisted": 0})
    }

    fn node_list(&self) -> Vec<u8> {
        let node = |(name, error): &(String, Option<String>)| {
            let status = self.statuses.get(name).cloned().unwrap_or_default();
            let length = |list: &str| status[list].as_array().map_or(0, Vec::len);
            json!({
                "node": name, "error": error, "ready": error.is_none(), "notReadyReason": null, "version": "0.1.0",
                "problems": length("problems"), "pods": length("ports"), "podCIDRs": status["network"]["podCIDRs"].as_array().cloned().unwrap_or_default(),
                "fullestTable": status["services"]["tables"][0],
            })
        };
        let nodes: Vec<_> = self.nodes.iter().map(node).collect();
        bytes(&json!({"apiVersion": API_VERSION, "kind": "Nodes", "nodes": nodes}))
    }

    fn pod(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let (namespace, pod) = name.split_once('/').unwrap_or(("", name));
        for (node, status) in &self.statuses {
            let ports = status["ports"].as_array().into_iter().flatten();
            if let Some(port) =
                ports.into_iter().find(|port| port["namespace"] == namespace && port["name"] == pod)
            {
                return Ok(bytes(&json!({
                    "apiVersion": API_VERSION, "kind": "Pod", "node": node, "port": port, "policies": self.policies.get(name),
                    "policiesError": null, "problems": [], "notes": [],
                })));
            }
        }
        Err(Fault::Unknown(format!("no node that can be asked has a Pod {name}")))
    }

    /// A packet is denied, if a flow between the two is.
    fn trace(&self, Packet { from, to, port }: &Packet) -> Result<Vec<u8>, Fault> {
        if !port.contains('/') {
            return Err(Fault::Invalid(format!("{port} is no port: tcp/PORT is expected")));
        }
        let denied = |flow: &&Flow| flow.client == *from && flow.server == *to && flow.verdict == "deny";
        let denied = self.flows.iter().find(denied);
        let ends = json!({"source": "10.244.1.3", "sourcePort": 49_152, "destination": "10.244.2.5", "destinationPort": 5432});
        let step = |what: &str, detail: String| json!({"what": what, "detail": detail, "policies": []});
        let hop = |node: &str, steps: Vec<Value>| json!({"node": node, "sent": ends, "steps": steps});
        let first = hop(
            "node1",
            vec![
                step("source", format!("{from} may send from 10.244.1.3")),
                step("tunnel", "to node2 at 192.0.2.2".to_owned()),
            ],
        );
        let decided =
            denied.map_or_else(|| "allowed".to_owned(), |flow| flow.why.clone().unwrap_or_default());
        let second = hop("node2", vec![step("policy", decided.clone())]);
        let outcome = match denied {
            Some(_) => json!({
                "answered": false, "reason": "policy_ingress", "why": format!("the packet is dropped on node node2: {decided}"),
                "remedy": format!("see `midokube policy {to}`"),
            }),
            None => {
                json!({"answered": true, "why": format!("at Pod {to} on node2, and a reply would come back"), "remedy": ""})
            }
        };
        Ok(bytes(&json!({
            "apiVersion": API_VERSION, "kind": "Trace", "network": "embedded", "from": {"name": from, "address": "10.244.1.3"},
            "to": {"name": to, "address": "10.244.2.5"}, "protocol": "tcp", "port": 5432,
            "parts": [{"what": "packet", "trace": {"hops": [first, second]}, "lines": []}], "outcome": outcome, "problems": [],
        })))
    }

    fn selected(&self, selection: &Selection) -> Result<Vec<&Flow>, Fault> {
        let mut selected = Vec::new();
        for flow in &self.flows {
            let (client, server) = flow.places();
            let mut wanted = selection.focus == Focus::Cluster || selection.focus.includes(client, server);
            for (conditions, holds) in [(&selection.all, true), (&selection.none, false)] {
                for condition in conditions {
                    wanted &= flow.meets(condition)? == holds;
                }
            }
            if wanted {
                selected.push(flow);
            }
        }
        selected.sort_by_key(|flow| flow.last_seconds);
        Ok(selected)
    }
}

fn merged(one: Value, other: Value) -> Value {
    let (Value::Object(mut one), Value::Object(other)) = (one, other) else { panic!("no objects") };
    for (name, value) in other {
        one.entry(name).or_insert(value);
    }
    Value::Object(one)
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// What of a flow the map gets.
pub(crate) fn traffic(flow: &Flow) -> Traffic<'_> {
    Traffic {
        verdict: match flow.verdict {
            "deny" => Verdict::Deny,
            "audit" => Verdict::Audit,
            _ => Verdict::Allow,
        },
        port: flow.port.clone(),
        service: flow.service.as_deref(),
        reason: flow.reason.as_deref(),
        dropped_packets: if flow.verdict == "deny" { flow.packets } else { 0 },
        bytes_per_second: flow.rate,
        round_trip: flow.round_trip,
        last_seconds: flow.last_seconds,
    }
}

/// Where an end is.
pub(crate) fn place(end: &str) -> Place<'_> {
    match end.split_once('/') {
        Some((namespace, name)) => Place::Pod(namespace, name),
        None if end.starts_with("node") => Place::Node(end),
        None => Place::Outside,
    }
}
