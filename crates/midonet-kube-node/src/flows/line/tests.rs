use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::*;
use crate::flows::example::record;

const SECOND: Duration = Duration::from_secs(1);

fn flow() -> Flow {
    let end = |text: &str| text.parse::<SocketAddr>().unwrap();
    let mut record = record(end("[fd00::9]:40000"), end("[fd00::4]:8080"), 900 * SECOND);
    record.frontend = end("[fd96::1]:80");
    record.round_trip = Some(Duration::from_micros(250));
    record.egress.audited = true;
    Flow {
        record,
        client: Some(Key::namespaced("shop", "we\"b\n")),
        server: None,
        service: Some((Key::namespaced("shop", "db"), "sql".into())),
        ingress: None,
        egress: None,
        ended: true,
        written: Duration::ZERO,
    }
}

#[test]
fn a_line_is_one_object_with_the_names_of_opentelemetry() {
    let wall = SystemTime::UNIX_EPOCH + 1_767_225_600 * SECOND;
    let now = Clock { wall, uptime: 1000 * SECOND };
    let text = Line::new("node1", &flow(), true, now).json();
    assert!(!text.contains('\n'), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    for (name, want) in [
        ("event.name", "flow.end"),
        ("k8s.node.name", "node1"),
        ("network.transport", "tcp"),
        ("network.type", "ipv6"),
        ("source.address", "fd00::9"),
        ("destination.address", "fd96::1"),
        ("server.address", "fd00::4"),
        ("k8s.src.namespace", "shop"),
        ("k8s.src.name", "we\"b\n"),
        ("k8s.service.name", "db"),
        ("midonet.flow.verdict", "audit"),
        ("midonet.flow.last", "2025-12-31T23:58:20.000Z"),
    ] {
        assert_eq!(line[name], want, "{name}");
    }
    for (name, want) in [("source.port", 40_000), ("destination.port", 80), ("server.port", 8080)] {
        assert_eq!(line[name], want, "{name}");
    }
    assert_eq!(line["midonet.flow.rtt_us"], 250);
    assert_eq!(line.get("k8s.dst.name"), None);
}

#[test]
fn an_echo_has_no_port() {
    let mut ping = flow();
    ping.record.protocol = 1;
    let now = Clock { wall: SystemTime::now(), uptime: SECOND };
    let line: Value = serde_json::from_str(&Line::new("n", &ping, false, now).json()).unwrap();
    assert_eq!((&line["event.name"], line.get("source.port")), (&"flow.goes_on".into(), None));
}
