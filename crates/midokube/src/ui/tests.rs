use std::time::{Duration, Instant};

use clap::Parser;
use nodeapi::v1;
use serde_json::{Value, json};
use ui::{Fault, Focus, Selection};

use super::documents;
use super::flows::Flows;
use super::known::Known;
use super::*;
use crate::flows::{DENIED, End, Flow, Node, View};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: UiArgs,
}

/// A connection, as a node sees it, with so many bytes by a second of it.
fn flow(node: &str, id: &str, (client, server): (&str, &str), bytes: u64, second: u64) -> Flow {
    let end = |address: &str, port: u32, pod: &str| End {
        address: address.to_owned(),
        port: Some(port),
        pod: Some(pod.to_owned()).filter(|pod| pod.contains('/')),
    };
    Flow {
        nodes: vec![node.to_owned()],
        id: id.to_owned(),
        protocol: Some("tcp".to_owned()),
        client: end("10.244.1.3", 40_000, client),
        frontend: end("fd00::1", 80, ""),
        source: end("10.244.1.3", 40_000, client),
        backend: end("10.244.2.4", 8080, server),
        state: "established".to_owned(),
        verdict: "allow".to_owned(),
        client_bytes: bytes,
        began_milliseconds: 1_000_000,
        last_milliseconds: 1_000_000 + second * 1000,
        ..Flow::default()
    }
}

const ENDS: (&str, &str) = ("default/client", "shop/web-7d4b9c6f5d-x2x4k");

fn denied(node: &str) -> Flow {
    let drop = v1::Drop {
        first: "1970-01-01T00:16:45Z".into(),
        last: "1970-01-01T00:16:45Z".into(),
        direction: "ingress".into(),
        verdict: "deny".into(),
        reason: "policy_ingress".into(),
        why: "default deny of shop/db".into(),
        protocol: "tcp".into(),
        source: Some(v1::DropEnd {
            address: "10.244.1.3".into(),
            port: 40_000,
            pod: None,
            ..v1::DropEnd::default()
        }),
        destination: Some(v1::DropEnd {
            address: "fd00::2".into(),
            port: 5432,
            pod: None,
            ..v1::DropEnd::default()
        }),
        packets: 3,
        ..v1::Drop::default()
    };
    Flow::denied(node, drop)
}

fn answer(node: &str, flows: Vec<Flow>) -> (String, Result<View, String>) {
    let totals = v1::FlowTotals { events: 9, ..v1::FlowTotals::default() };
    (node.to_owned(), Ok(View::new(vec![Node::new(node, totals)], flows)))
}

fn status(node: &str) -> Value {
    json!({
        "agent": {"ready": true, "notReadyReason": null, "version": "1"},
        "network": {"nodeAddresses": ["10.244.9.2", "fd00:9::2"], "tunnelAddress": "192.0.2.9", "podCIDRs": ["10.244.9.0/24"]},
        "ports": [{"namespace": "shop", "name": node, "addresses": []}],
        "services": {"tables": [{"name": "frontends", "used": 1, "limit": 100}, {"name": "connections", "used": 9, "limit": 10}]},
        "problems": [{}],
    })
}

fn read(document: Result<Vec<u8>, Fault>) -> Value {
    serde_json::from_slice(&document.unwrap()).unwrap()
}

fn select(all: &[&str]) -> Selection {
    Selection { all: all.iter().map(|one| (*one).to_owned()).collect(), limit: 10, ..Selection::default() }
}

#[test]
fn the_page_is_for_this_machine_alone() {
    let listen = |address: &str| {
        Line::try_parse_from(["ui", "--listen", address]).map(|line| line.args.listen.to_string()).ok()
    };
    for address in ["127.0.0.1:0", "127.0.0.2:80", "[::1]:9455"] {
        assert_eq!(listen(address).as_deref(), Some(address));
    }
    for address in ["0.0.0.0:9455", "[::]:9455", "192.0.2.1:80", "localhost", "9455", ""] {
        assert_eq!(listen(address), None, "{address}");
    }
    let (one, other) = (key().unwrap(), key().unwrap());
    assert!(one.len() == 2 * KEY && one != other);
}

#[test]
fn what_two_nodes_see_is_one_flow_whoever_tells_first() {
    let now = Instant::now();
    let mut flows = Flows::default();
    for (node, id, bytes) in [("node2", "b", 100), ("node1", "a", 120), ("node2", "b", 150)] {
        flows.add(flow(node, id, ENDS, bytes, 1), now);
        flows.add(denied(node), now);
    }
    let seen: Vec<_> = flows
        .iter()
        .map(|seen| (seen.flow.state.as_str(), seen.flow.nodes.len(), seen.flow.client_bytes))
        .collect();
    let connections: Vec<_> = seen.iter().filter(|(state, ..)| *state != DENIED).collect();
    assert_eq!(connections, [&("established", 2, 150)]);
    // Each node denied it by itself.
    assert_eq!(seen.len(), 3);
    flows.keep_nodes(|node| node == "node1");
    assert!(flows.iter().all(|seen| seen.flow.nodes.contains(&"node1".to_owned())));
}

#[test]
fn a_rate_is_what_went_through_since_it_was_told_last() {
    let begin = Instant::now();
    let mut flows = Flows::default();
    let rate = |flows: &Flows, at: Instant| flows.iter().next().unwrap().rate(at);
    flows.add(flow("node1", "a", ENDS, 1000, 2), begin);
    assert_eq!(rate(&flows, begin), 500);
    let later = begin + Duration::from_secs(10);
    flows.add(flow("node1", "a", ENDS, 11_000, 12), later);
    assert_eq!(rate(&flows, later), 1000);
    // Told again without a new packet, it stays for a while, and no longer.
    let repeated = Flow { last_seconds: 10, ..flow("node1", "a", ENDS, 11_000, 12) };
    flows.add(repeated.clone(), later + Duration::from_secs(10));
    assert_eq!(rate(&flows, later + Duration::from_secs(10)), 1000);
    assert_eq!(rate(&flows, later + Duration::from_secs(16)), 0);
    flows.add(Flow { ended: true, client_bytes: 20_000, ..repeated }, later);
    assert_eq!(rate(&flows, later), 0);
}

#[test]
fn what_is_remembered_is_bounded() {
    let now = Instant::now();
    let mut flows = Flows::default();
    for number in 0..150_000_u64 {
        let one = flow("node1", &number.to_string(), ENDS, 1, number / 1000);
        let source = End {
            port: Some(u32::try_from(number % 60_000).unwrap()),
            address: (number / 60_000).to_string(),
            pod: None,
        };
        flows.add(Flow { source, ..one }, now);
    }
    let count = flows.iter().count();
    assert!((90_000..=100_000).contains(&count), "{count}");
    // Those with the last packets are there.
    assert!(flows.iter().all(|seen| seen.flow.last_milliseconds >= 1_000_000 + 49_000));
    flows.forget(now + Duration::from_secs(3700));
    assert_eq!(flows.iter().count(), 0);
}

#[test]
fn documents_have_what_was_selected_and_who_said_nothing() {
    let now = Instant::now();
    let mut known = Known::default();
    known.hear_statuses(vec![
        ("node1".to_owned(), Ok(status("db-0"))),
        ("node2".to_owned(), Err("it is off".to_owned())),
    ]);
    let mut flows: Vec<Flow> = vec![flow("node1", "a", ENDS, 100, 1), denied("node1")];
    let probe = End { address: "fd00:9::2".to_owned(), port: Some(9), pod: None };
    flows.push(Flow { client: probe.clone(), source: probe, ..flow("node1", "c", ENDS, 5, 2) });
    known.hear_flows(vec![answer("node1", flows), ("node2".to_owned(), Err("it is off".to_owned()))], now);
    assert!(known.is_silent("node2") && !known.is_silent("node1"));

    let all = read(documents::flows(&known, &select(&[]), now + Duration::from_secs(7)));
    assert_eq!((&all["kind"], &all["matching"], &all["known"]), (&json!("Flows"), &json!(3), &json!(3)));
    assert_eq!(
        all["nodes"][1],
        json!({"node": "node2", "error": "it is off", "events": 0, "lostEvents": 0, "dropped": 0})
    );
    assert_eq!(
        (&all["flows"][0]["id"], &all["flows"][1]["lastSeconds"]),
        (&json!("ingress/deny/tcp/10.244.1.3/[fd00::2]:5432/policy_ingress"), &json!(7))
    );
    assert!(all["flows"][1]["bytesPerSecond"].is_u64());

    let one = read(documents::flows(&known, &select(&["verdict=deny", "port=tcp/5432"]), now));
    assert_eq!((&one["matching"], &one["flows"][0]["why"]), (&json!(1), &json!("default deny of shop/db")));
    let none = Selection { none: vec!["verdict=allow".to_owned()], ..select(&[]) };
    assert_eq!(read(documents::flows(&known, &none, now))["matching"], 1);
    let recent = Selection { since: Some("5s".to_owned()), ..select(&[]) };
    assert_eq!(read(documents::flows(&known, &recent, now + Duration::from_secs(9)))["matching"], 0);
    let limited = Selection { limit: 1, ..select(&[]) };
    let limited = read(documents::flows(&known, &limited, now));
    assert_eq!((limited["flows"].as_array().unwrap().len(), &limited["matching"]), (1, &json!(3)));
    for bad in ["address=x", "odd=1", "pod=a"] {
        assert!(matches!(documents::map(&known, &select(&[bad]), now), Err(Fault::Invalid(_))), "{bad}");
    }

    let focus = Selection { focus: Focus::Workload("shop".to_owned(), "web".to_owned()), ..select(&[]) };
    let map = read(documents::map(&known, &focus, now));
    assert_eq!((&map["kind"], &map["matching"], &map["known"]), (&json!("FlowMap"), &json!(2), &json!(3)));
    let clients: Vec<_> =
        map["edges"].as_array().unwrap().iter().map(|edge| edge["from"]["kind"].as_str().unwrap()).collect();
    assert!(clients.contains(&"workload") && clients.contains(&"node"), "{clients:?}");

    let nodes: Value = serde_json::from_slice(&documents::nodes(&known)).unwrap();
    assert_eq!(
        (&nodes["nodes"][0]["fullestTable"]["name"], &nodes["nodes"][0]["ready"]),
        (&json!("connections"), &json!(true))
    );
    assert_eq!(nodes["nodes"][1]["error"], "it is off");
    assert!(documents::node(&known, "node1").is_ok());
    assert!(matches!(documents::node(&known, "node2"), Err(Fault::Unreachable(_))));
    assert!(matches!(documents::node(&known, "node3"), Err(Fault::Unknown(_))));
    assert_eq!(known.port("shop", "db-0").map(|(node, ..)| node), Some("node1"));
    // What it said last stands, but nobody can know whether it is ready still.
    known.hear_statuses(vec![("node1".to_owned(), Err("no answer".to_owned()))]);
    let nodes: Value = serde_json::from_slice(&documents::nodes(&known)).unwrap();
    let node = &nodes["nodes"][0];
    assert_eq!(
        (&node["ready"], &node["error"], &node["pods"]),
        (&json!(false), &json!("no answer"), &json!(1))
    );
    known.keep(&["node2".to_owned()]);
    assert_eq!(read(documents::flows(&known, &select(&[]), now))["known"], 0);
}

#[test]
fn without_any_node_the_reason_is_told() {
    let mut known = Known::default();
    known.error = Some("there is no API server".to_owned());
    let document = read(documents::map(&known, &select(&[]), Instant::now()));
    assert_eq!(document["nodes"][0]["error"], "there is no API server");
}
