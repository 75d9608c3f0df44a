//! Flows as a table for people.

use terminal::output::{BAD, paint};
use terminal::table::{UNKNOWN, WIDTH, table, wrap};
use terminal::units::{bytes, seconds};

use super::groups::{Group, Groups};
use super::view::{Decision, Flow, Node, View};
use crate::answer::matching;

/// What stands for nothing of its kind.
const NONE: &str = "-";

/// A row for each, what nodes could not tell, and how many others match.
pub(super) fn flows(view: &View, wide: bool) -> String {
    let show = if wide { wide_table } else { narrow_table };
    let rows = matching(&view.flows, view.matching, "flows", show);
    format!("{rows}{}{}", unknown(&view.unknown, wide), notes(&view.nodes, wide))
}

/// A row for each group.
pub(super) fn groups(groups: &Groups, wide: bool) -> String {
    let row = |group: &Group| {
        let Group { name, flows, packets, bytes: sum, denied } = group;
        [name.clone(), flows.to_string(), denied.to_string(), packets.to_string(), bytes(*sum)]
    };
    let width = (!wide).then_some(WIDTH);
    let header = ["GROUP", "FLOWS", "DENIED", "PACKETS", "BYTES"];
    let text = if groups.groups.is_empty() {
        " none".to_owned()
    } else {
        table(width, header, groups.groups.iter().map(row))
    };
    text + &unknown(&groups.unknown, wide) + &notes(&groups.nodes, wide)
}

/// Rows without anything else: those that follow others.
pub(super) fn lines(flows: &[Flow], wide: bool) -> String {
    let text = if wide { wide_table(flows) } else { narrow_table(flows) };
    // The header stands above the first ones.
    match text.split_once('\n') {
        Some((_, rows)) => rows.to_owned(),
        None => text,
    }
}

/// The names of the columns alone.
pub(super) fn header(wide: bool) -> String {
    if wide { wide_table(&[]) } else { narrow_table(&[]) }
}

/// Lines about names that nobody has.
fn unknown(unknown: &[String], wide: bool) -> String {
    unknown.iter().map(|text| note(text, wide)).collect()
}

/// A line below the rows.
fn note(text: &str, wide: bool) -> String {
    format!("\n {}", wrap((!wide).then_some(WIDTH), text).replace('\n', "\n "))
}

/// What cannot be seen in the rows.
fn notes(nodes: &[Node], wide: bool) -> String {
    let told = |node: &Node| {
        let Node { node: name, error, events, lost_events, dropped } = node;
        let text = match error {
            Some(error) => format!("node {name} has no answer: {error}"),
            None if *lost_events > 0 => format!(
                "node {name}: {lost_events} of {events} events were too many at once: what they told is in later ones, short \
                 connections may be missing"
            ),
            None if *dropped > 0 => {
                format!("node {name}: {dropped} flows of the last hour had to go for others: --max-flows")
            }
            None => return String::new(),
        };
        let text = note(&text, wide);
        if error.is_some() { paint(BAD, &text) } else { text }
    };
    nodes.iter().map(told).collect()
}

fn narrow_table(flows: &[Flow]) -> String {
    let row = |flow: &Flow| {
        let port = flow.backend.port.map(|port| format!(":{port}")).unwrap_or_default();
        let server = match &flow.backend.pod {
            Some(pod) => format!("{pod}{port}"),
            None => flow.backend.socket(),
        };
        let service = service(flow).map(|service| format!(" ({service})")).unwrap_or_default();
        let path = format!("{} {} -> {server}{service}", protocol(flow), flow.client.name());
        let said = match (&*flow.verdict, &flow.reason) {
            ("allow", _) => flow.state.clone(),
            (verdict, Some(reason)) => format!("{verdict} {reason}"),
            (verdict, None) => format!("{verdict} {}", flow.state),
        };
        [
            path,
            said,
            bytes(flow.client_bytes),
            bytes(flow.server_bytes),
            round_trip(flow),
            seconds(flow.last_seconds),
        ]
    };
    table(Some(WIDTH), ["FLOW", "STATE", "SENT", "RECEIVED", "RTT", "LAST"], flows.iter().map(row))
}

fn wide_table(flows: &[Flow]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let row = |flow: &Flow| {
        [
            flow.last.clone(),
            flow.began.clone(),
            flow.verdict.clone(),
            flow.state.clone(),
            protocol(flow),
            text(&flow.client.pod),
            flow.client.socket(),
            flow.frontend.socket(),
            text(&service(flow)),
            text(&flow.backend.pod),
            flow.backend.socket(),
            flow.client_packets.to_string(),
            bytes(flow.client_bytes),
            flow.server_packets.to_string(),
            bytes(flow.server_bytes),
            round_trip(flow),
            decision(flow.egress.as_ref()),
            decision(flow.ingress.as_ref()),
            flow.nodes.join(","),
            text(&flow.reason),
        ]
    };
    let header = [
        "LAST",
        "BEGAN",
        "VERDICT",
        "STATE",
        "PROTOCOL",
        "CLIENT POD",
        "CLIENT",
        "FRONTEND",
        "SERVICE",
        "SERVER POD",
        "SERVER",
        "SENT",
        "BYTES",
        "RECEIVED",
        "BYTES",
        "RTT",
        "EGRESS",
        "INGRESS",
        "NODES",
        "REASON",
    ];
    table(None, header, flows.iter().map(row))
}

/// The Service that it goes through, or those whose endpoint is denied.
fn service(flow: &Flow) -> Option<String> {
    let of = || Some(flow.endpoint_of.join(", ")).filter(|of| !of.is_empty()).map(|of| format!("of {of}"));
    flow.service.clone().or_else(of)
}

fn protocol(flow: &Flow) -> String {
    flow.protocol.as_ref().map_or_else(|| UNKNOWN.to_owned(), |protocol| protocol.to_uppercase())
}

fn round_trip(flow: &Flow) -> String {
    match flow.round_trip_microseconds {
        None => NONE.to_owned(),
        Some(time @ 0..1000) => format!("{time}us"),
        Some(time) => format!("{}.{}ms", time / 1000, time % 1000 / 100),
    }
}

/// The policies that decided, with the rule.
fn decision(decision: Option<&Decision>) -> String {
    let Some(Decision { decided_by, policies, rule, .. }) = decision else { return NONE.to_owned() };
    let names = if policies.is_empty() { decided_by.clone() } else { policies.join(",") };
    match rule {
        Some(rule) => format!("{names}[{rule}]"),
        None => names,
    }
}
