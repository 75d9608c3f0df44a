//! What the page gets: documents of the shapes that `-o json` has, with what the page needs besides.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use terminal::units;
use ui::{Fault, Map, Selection, Traffic, Verdict};

use super::flows::Seen;
use super::known::{Known, NodeState};
use crate::API_VERSION;
use crate::flows::{Condition, Filter, Flow, Node};

/// A flow, and what goes through it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(flatten)]
    flow: &'a Flow,
    bytes_per_second: u64,
}

/// The flows of a selection, those with the last packets first.
///
/// # Errors
/// The selection makes no sense.
pub(super) fn flows(known: &Known, selection: &Selection, now: Instant) -> Result<Vec<u8>, Fault> {
    let mut selected = selected(known, selection, now)?;
    let matching = selected.len();
    let order = |seen: &&Seen| (seen.flow.last_milliseconds, seen.flow.began_milliseconds);
    selected
        .sort_by(|one, other| order(other).cmp(&order(one)).then_with(|| one.flow.id.cmp(&other.flow.id)));
    selected.truncate(selection.limit);
    let aged = |seen: &&Seen| Flow { last_seconds: seen.last_seconds(now), ..seen.flow.clone() };
    let flows: Vec<Flow> = selected.iter().map(aged).collect();
    let rows: Vec<Row<'_>> = flows
        .iter()
        .zip(&selected)
        .map(|(flow, seen)| Row { flow, bytes_per_second: seen.rate(now) })
        .collect();
    let mut document = head(known, "Flows", matching);
    let rows = serde_json::to_value(rows).map_err(|error| Fault::Invalid(error.to_string()))?;
    if let Some(document) = document.as_object_mut() {
        document.insert("flows".to_owned(), rows);
    }
    Ok(document.to_string().into_bytes())
}

/// The same, added up.
///
/// # Errors
/// The selection makes no sense.
pub(super) fn map(known: &Known, selection: &Selection, now: Instant) -> Result<Vec<u8>, Fault> {
    let selected = selected(known, selection, now)?;
    let mut map = Map::new(selection.focus.clone());
    for seen in &selected {
        let (client, server) = known.places(&seen.flow);
        map.add(client, server, &traffic(seen, now));
    }
    let wrong = |error: serde_json::Error| Fault::Invalid(error.to_string());
    let map = map.document(API_VERSION, selection.limit).map_err(wrong)?;
    let mut document: Value = serde_json::from_slice(&map).map_err(wrong)?;
    if let (Some(document), Value::Object(head)) =
        (document.as_object_mut(), head(known, "FlowMap", selected.len()))
    {
        document.extend(head);
    }
    Ok(document.to_string().into_bytes())
}

/// The nodes, a line each.
pub(super) fn nodes(known: &Known) -> Vec<u8> {
    let nodes: Vec<Value> = known.nodes().map(|(name, node)| line(name, node)).collect();
    let document = json!({"apiVersion": API_VERSION, "kind": "Nodes", "error": known.error, "nodes": nodes});
    document.to_string().into_bytes()
}

/// What a node says of itself.
///
/// # Errors
/// There is no such node, or it says nothing.
pub(super) fn node(known: &Known, name: &str) -> Result<Vec<u8>, Fault> {
    let node = known.node(name).ok_or_else(|| Fault::Unknown(format!("there is no node {name}")))?;
    if let Some(error) = node.error() {
        return Err(Fault::Unreachable(error.to_owned()));
    }
    let status = node.status.as_ref();
    let status = status.ok_or_else(|| Fault::Unreachable(format!("{name} has said nothing yet")))?;
    Ok(status.to_string().into_bytes())
}

/// What a Pod has: its port, and what its node says of policies.
pub(super) fn pod(node: &str, port: &Value, policies: Result<Value, String>) -> Vec<u8> {
    let (policies, error) = match policies {
        Ok(policies) => (policies, None),
        Err(error) => (Value::Null, Some(error)),
    };
    let list = |name: &str| policies.get(name).cloned().unwrap_or_else(|| json!([]));
    let document = json!({
        "apiVersion": API_VERSION,
        "kind": "Pod",
        "node": node,
        "port": port,
        "policies": policies.pointer("/pods/0"),
        "policiesError": error,
        "problems": list("problems"),
        "notes": list("notes"),
    });
    document.to_string().into_bytes()
}

/// What documents about flows begin with.
fn head(known: &Known, kind: &str, matching: usize) -> Value {
    let node = |(name, node): (&str, &NodeState)| match &node.flows {
        Some(Ok(node)) => node.clone(),
        Some(Err(error)) => Node::failed(name.to_owned(), error.clone()),
        None => Node::failed(name.to_owned(), node.error().unwrap_or("it has said nothing yet").to_owned()),
    };
    let nodes: Vec<Node> = match &known.error {
        Some(error) if known.nodes().next().is_none() => {
            vec![Node::failed("the cluster".to_owned(), error.clone())]
        }
        _ => known.nodes().map(node).collect(),
    };
    json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "nodes": nodes,
        "matching": matching,
        "known": known.flows.iter().count(),
        "unlisted": known.nodes().map(|(_, node)| node.unlisted).sum::<u64>(),
    })
}

fn selected<'a>(known: &'a Known, selection: &Selection, now: Instant) -> Result<Vec<&'a Seen>, Fault> {
    let conditions = |texts: &[String]| {
        let read = texts.iter().map(|text| text.parse::<Condition>());
        read.collect::<Result<Vec<_>, _>>().map_err(Fault::Invalid)
    };
    let filter = Filter { all: conditions(&selection.all)?, none: conditions(&selection.none)? };
    let since = selection.since.as_deref().map(units::duration).transpose().map_err(Fault::Invalid)?;
    let is_selected = |seen: &&Seen| {
        let (client, server) = known.places(&seen.flow);
        since.is_none_or(|since| Duration::from_secs(seen.last_seconds(now)) <= since)
            && selection.focus.includes(client, server)
            && filter.matches(&seen.flow)
    };
    Ok(known.flows.iter().filter(is_selected).collect())
}

fn traffic(seen: &Seen, now: Instant) -> Traffic<'_> {
    let flow = &seen.flow;
    let verdict = match flow.verdict.as_str() {
        "deny" => Verdict::Deny,
        "audit" => Verdict::Audit,
        _ => Verdict::Allow,
    };
    Traffic {
        verdict,
        port: match (&flow.protocol, flow.backend.port) {
            (Some(protocol), Some(port)) => format!("{protocol}/{port}"),
            (protocol, _) => protocol.clone().unwrap_or_else(|| "?".to_owned()),
        },
        service: flow.service.as_deref(),
        reason: flow.reason.as_deref(),
        dropped_packets: if verdict == Verdict::Deny { flow.client_packets } else { 0 },
        bytes_per_second: seen.rate(now),
        round_trip: flow.round_trip_microseconds,
        last_seconds: seen.last_seconds(now),
    }
}

/// What there is to be said of a node in a line.
fn line(name: &str, node: &NodeState) -> Value {
    let status = node.status.as_ref();
    let at = |path: &str| status.and_then(|status| status.pointer(path));
    let length = |path: &str| at(path).and_then(Value::as_array).map_or(0, Vec::len);
    let share = |table: &&Value| {
        let number = |name: &str| table.get(name).and_then(Value::as_u64).unwrap_or(0);
        number("used").saturating_mul(1_000_000) / number("limit").max(1)
    };
    let tables =
        ["/services/tables", "/policy/tables"].into_iter().filter_map(&at).filter_map(Value::as_array);
    json!({
        "node": name,
        "error": node.error(),
        // What a node said last may be from before its agent died.
        "ready": node.error().is_none() && at("/agent/ready").and_then(Value::as_bool).unwrap_or(false),
        "notReadyReason": at("/agent/notReadyReason"),
        "version": at("/agent/version"),
        "problems": length("/problems"),
        "pods": length("/ports"),
        "podCIDRs": at("/network/podCIDRs").cloned().unwrap_or_else(|| json!([])),
        "fullestTable": tables.flatten().max_by_key(share),
    })
}
