use super::*;

fn reply() -> v1::StatusReply {
    let port = |name: &str| v1::Port {
        namespace: "default".into(),
        name: name.into(),
        host_ifname: "mido123".into(),
        addresses: vec!["10.244.1.3".into(), "fd44:0:0:1::3".into()],
        mac: "0a:00:00:00:00:01".into(),
        port_id: "id".into(),
        sent: Some(v1::Traffic { packets: 7, bytes: 2048 }),
        ..v1::Port::default()
    };
    let counter = |name: &str, drop, packets| v1::Counter {
        name: name.into(),
        help: "h".into(),
        drop,
        packets,
        bytes: 1,
        ..v1::Counter::default()
    };
    v1::StatusReply {
        agent: Some(v1::Agent {
            node: "node1".into(),
            ready: true,
            source: "manifests".into(),
            ..v1::Agent::default()
        }),
        network: Some(v1::Network { kind: "embedded".into(), mtu: 1450, ..v1::Network::default() }),
        ports: vec![port("b"), port("a")],
        peers: vec![v1::Peer { node: "node2".into(), ..v1::Peer::default() }],
        counters: vec![counter("local", false, 3), counter("spoofed", true, 2), counter("silent", true, 0)],
        ..v1::StatusReply::default()
    }
}

#[test]
fn a_table_has_every_section_and_only_counters_that_count() {
    let text = Status::read(reply()).unwrap().table();
    for want in
        ["node1", "ready", "manifests: healthy", "1450", "default/a", "7 (2.0 KiB)", "node2", "spoofed"]
    {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    assert!(!text.contains("silent"), "{text}");
    assert!(text.find("default/a") < text.find("default/b"), "not sorted:\n{text}");
    assert!(text.find("Traffic") < text.find("local") && text.find("Drops") < text.find("spoofed"));
}

#[test]
fn limits_are_shown_where_there_are_any() {
    let mut reply = reply();
    assert!(!Status::read(reply.clone()).unwrap().table().contains("Limits"));
    let limits = v1::Bandwidth { egress_rate: 10_000_000, egress_burst: 8, ..v1::Bandwidth::default() };
    reply.ports[0].bandwidth = Some(limits);
    let status = Status::read(reply).unwrap();
    let table = status.table();
    let shown = table.split("Limits").nth(1).unwrap().split("Peers").next().unwrap();
    assert!(shown.contains("default/b  10 Mbit/s      -") && !shown.contains("default/a"), "{shown}");
    let json = serde_json::to_value(status).unwrap();
    assert_eq!(
        (&json["ports"][0]["bandwidth"], &json["ports"][1]["bandwidth"]["egressRate"]),
        (&serde_json::Value::Null, &10_000_000.into())
    );
}

#[test]
fn what_is_wrong_is_said_loudly() {
    let mut reply = reply();
    let agent = reply.agent.as_mut().unwrap();
    (agent.ready, agent.not_ready_reason) = (false, "no podCIDR yet".into());
    agent.source_error = "connection refused".into();
    let text = Status::read(reply).unwrap().table();
    assert!(text.contains("NOT READY: no podCIDR yet"), "{text}");
    assert!(text.contains("manifests: FAILING: connection refused"), "{text}");
}

#[test]
fn leaks_are_told_with_what_to_do() {
    let text = |reply| Status::read(reply).unwrap().table();
    assert!(text(reply()).contains("Leaks\n none\n\n"), "{}", text(reply()));
    let leak = v1::Leak {
        what: "address_conflict".into(),
        object: "10.244.1.3 of Pod default/a (mido123)".into(),
        reason: "it is reserved for container b".into(),
        remedy: "delete the Pod".into(),
    };
    let text = text(v1::StatusReply {
        leaks: vec![leak],
        leaks_incomplete: "other-ipam keeps the addresses".into(),
        ..reply()
    });
    let want = "Leaks\n address_conflict: 10.244.1.3 of Pod default/a (mido123)\n  it is reserved for container b: \
        delete the Pod\n not everything was looked at: other-ipam keeps the addresses\n\n";
    assert!(text.contains(want), "{text}");
}

#[test]
fn an_incomplete_answer_is_none() {
    assert!(Status::read(v1::StatusReply { network: None, ..reply() }).is_none());
}

#[test]
fn programs_get_kubernetes_names() {
    let json = serde_json::to_value(Status::read(reply()).unwrap()).unwrap();
    assert_eq!(json["network"]["podCIDRs"], serde_json::json!([]));
    assert_eq!(json["ports"][0]["hostIfname"], "mido123");
    assert_eq!(json["agent"]["sourceError"], serde_json::Value::Null);
}

#[test]
fn durations_in_two_units() {
    for (seconds, want) in [(5, "5s"), (65, "1m5s"), (3_700, "1h1m"), (200_000, "2d7h")] {
        assert_eq!(duration(seconds), want);
    }
}
