//! What was seen, as programs get it: see docs/reference.md.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use nodeapi::v1::{self, PodName};
use serde::Serialize;

use super::connection::Row;
use super::judge;
use super::plan::Plan;
use super::session::Session;
use crate::API_VERSION;
use crate::trace::view::End;

/// All that was seen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    api_version: &'static str,
    kind: &'static str,
    from: &'a End,
    to: &'a End,
    protocol: &'static str,
    /// 0: the protocol has none.
    port: u16,
    nodes: &'a [String],
    packets: Vec<Packet<'a>>,
    /// Packets that were too many to be told.
    lost: u64,
    outcome: Outcome<'a>,
    problems: &'a BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct Outcome<'a> {
    /// `null`: it cannot be told.
    arrives: Option<bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    why: &'a str,
    remedy: &'a str,
}

/// A packet, and what each hook did with it.
#[derive(Debug, Serialize)]
struct Packet<'a> {
    number: usize,
    what: &'a str,
    /// "client" or "server".
    sender: &'static str,
    hops: Vec<Hop<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hop<'a> {
    time: String,
    node: &'a str,
    hook: &'a str,
    interface: &'a str,
    /// Whose interface that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    exit: &'a str,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    next_node: &'a str,
    before: Ends<'a>,
    after: Ends<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ends<'a> {
    source: &'a str,
    source_port: u32,
    destination: &'a str,
    destination_port: u32,
    /// Of the frame.
    length: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    tunnel_source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tunnel_destination: &'a str,
}

impl<'a> View<'a> {
    pub(super) fn new(plan: &'a Plan, session: &'a Session<'_>, outcome: &'a judge::Outcome) -> Self {
        let connection = session.connection();
        let packets = connection.packets().iter().map(|packet| {
            let first = connection.first_of(packet);
            Packet {
                number: packet.number,
                what: first.map_or("", |first| &first.what),
                sender: if packet.forward { "client" } else { "server" },
                hops: connection.rows_of(packet).map(hop).collect(),
            }
        });
        let judge::Outcome { arrives, why, reason, remedy } = outcome;
        Self {
            api_version: API_VERSION,
            kind: "LiveTrace",
            from: &plan.from,
            to: &plan.to,
            protocol: plan.port.protocol,
            port: plan.port.number,
            nodes: session.nodes(),
            packets: packets.collect(),
            lost: session.lost(),
            outcome: Outcome { arrives: *arrives, reason, why, remedy },
            problems: session.problems(),
        }
    }
}

fn hop(row: &Row) -> Hop<'_> {
    let v1::SeenPacket { time, hook, interface, pod, before, after, reason, exit, to, next_node, .. } =
        &row.seen;
    let name = |pod: &PodName| format!("{}/{}", pod.namespace, pod.name);
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(*time);
    Hop {
        time: humantime::format_rfc3339_nanos(time).to_string(),
        node: &row.node,
        hook,
        interface,
        pod: pod.as_ref().map(name),
        reason,
        exit,
        to: to.as_ref().map(name),
        next_node,
        before: ends(before.as_ref()),
        after: ends(after.as_ref()),
    }
}

fn ends(packet: Option<&v1::FollowedPacket>) -> Ends<'_> {
    let text = |of: fn(&v1::FollowedPacket) -> &String| packet.map_or("", |packet| of(packet).as_str());
    let number = |of: fn(&v1::FollowedPacket) -> u32| packet.map_or(0, of);
    Ends {
        source: text(|packet| &packet.source),
        source_port: number(|packet| packet.source_port),
        destination: text(|packet| &packet.destination),
        destination_port: number(|packet| packet.destination_port),
        length: number(|packet| packet.length),
        tunnel_source: text(|packet| &packet.tunnel_source),
        tunnel_destination: text(|packet| &packet.tunnel_destination),
    }
}
