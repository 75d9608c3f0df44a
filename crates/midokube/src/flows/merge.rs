//! One flow of what two nodes know of a connection: pure.

use std::collections::HashMap;

use super::view::{DENIED, Flow};

/// How far the clocks of two nodes, and what they see of a connection, may be apart.
const SKEW: u64 = 2000; // in milliseconds

/// What all nodes on the way of a connection see alike: the protocol, and what the client is to the backend.
type Path = (Option<String>, String, String);

fn path(flow: &Flow) -> Path {
    (flow.protocol.clone(), flow.source.socket(), flow.backend.socket())
}

/// Merges what several nodes know. A connection that two of them see is there once; each of them sees it once.
pub(crate) fn merge(flows: impl IntoIterator<Item = Flow>) -> Vec<Flow> {
    let mut merged = Vec::<Flow>::new();
    let mut by_path = HashMap::<Path, Vec<usize>>::new();
    for flow in flows {
        if flow.state == DENIED {
            merged.push(flow);
            continue;
        }
        let known = by_path.entry(path(&flow)).or_default();
        let fits = |index: &&usize| merged.get(**index).is_some_and(|other| are_one(other, &flow));
        let distance = |index: &&usize| {
            merged
                .get(**index)
                .map_or(u64::MAX, |one| one.began_milliseconds.abs_diff(flow.began_milliseconds))
        };
        let found = known.iter().filter(fits).min_by_key(distance).copied();
        match found.and_then(|index| merged.get_mut(index)) {
            Some(one) => add(one, flow),
            None => {
                known.push(merged.len());
                merged.push(flow);
            }
        }
    }
    merged
}

/// Whether two flows of one path are one connection: other nodes saw it, at the same time.
fn are_one(one: &Flow, other: &Flow) -> bool {
    let begins_before = |a: &Flow, b: &Flow| a.began_milliseconds <= b.last_milliseconds.saturating_add(SKEW);
    !one.nodes.iter().any(|node| other.nodes.contains(node))
        && begins_before(one, other)
        && begins_before(other, one)
}

/// Adds what another node knows.
fn add(one: &mut Flow, other: Flow) {
    // Who translated it knows the real client, and what it asked for.
    let translated = |flow: &Flow| {
        flow.client.socket() != flow.source.socket() || flow.frontend.socket() != flow.backend.socket()
    };
    let (own, theirs) = (pods(one), pods(&other));
    if !translated(one) && translated(&other) {
        (one.client, one.frontend) = (other.client.clone(), other.frontend.clone());
        (one.service, one.service_port) = (other.service.clone(), other.service_port.clone());
    }
    let asked = if translated(one) { one.client.pod.take() } else { None };
    one.client.pod = asked.or(own.0).or(theirs.0);
    one.backend.pod = own.1.or(theirs.1);
    one.nodes.extend(other.nodes);
    one.nodes.sort();
    one.ingress = one.ingress.take().or(other.ingress);
    one.egress = one.egress.take().or(other.egress);
    if other.verdict != "allow" {
        one.verdict = other.verdict;
    }
    if progress(&other.state) > progress(&one.state) {
        one.state = other.state;
    }
    one.ended |= other.ended;
    // What got lost in between only the sender's node has seen, and packets that were put together on the way count once there.
    one.client_packets = one.client_packets.max(other.client_packets);
    one.client_bytes = one.client_bytes.max(other.client_bytes);
    one.server_packets = one.server_packets.max(other.server_packets);
    one.server_bytes = one.server_bytes.max(other.server_bytes);
    // The client's node sees all of it.
    one.round_trip_microseconds = one.round_trip_microseconds.max(other.round_trip_microseconds);
    if other.began_milliseconds < one.began_milliseconds {
        (one.began, one.began_milliseconds) = (other.began, other.began_milliseconds);
    }
    if other.last_milliseconds > one.last_milliseconds {
        (one.last, one.last_milliseconds) = (other.last, other.last_milliseconds);
    }
    one.last_seconds = one.last_seconds.min(other.last_seconds);
    one.late &= other.late;
}

fn pods(flow: &Flow) -> (Option<String>, Option<String>) {
    (flow.client.pod.clone(), flow.backend.pod.clone())
}

fn progress(state: &str) -> usize {
    ["new", "established", "closing", "closed"].iter().position(|known| *known == state).unwrap_or(0)
}
