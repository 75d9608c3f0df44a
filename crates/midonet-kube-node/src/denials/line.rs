//! A line of the deny log: one JSON object.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;

use super::denial::Denial;
use super::words::{direction, key, protocol_name, time};
use crate::policies::words::Decision;

/// What was dropped, or would have been but for an audit, since the last line of the same.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    node: &'a str,
    verdict: &'static str,
    direction: &'static str,
    reason: &'static str,
    interface: Option<&'a str>,
    source: Option<IpAddr>,
    source_pod: Option<String>,
    source_port: Option<u16>,
    claimed_source: Option<IpAddr>,
    destination: Option<IpAddr>,
    destination_pod: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    others: bool,
    decided_by: &'static str,
    policies: Vec<String>,
    rule: Option<u32>,
    packets: u64,
    first: String,
    last: String,
}

/// What there is no line of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Missing<'a> {
    time: String,
    node: &'a str,
    missing_lines: u64,
    missing_packets: u64,
}

/// The line of a denial, without its end.
pub(super) fn line(node: &str, now: SystemTime, denial: &Denial) -> String {
    let Denial { row, packets, rule, interface, source, destination, first, last } = denial;
    let Decision { by, rule, .. } = Decision::of(row.reason, row.audit, rule.as_deref());
    let port = |port: u16| (port != 0).then_some(port);
    json(&Line {
        time: time(now),
        node,
        verdict: if row.audit { "audit" } else { "deny" },
        direction: direction(row.ingress),
        reason: row.reason,
        interface: interface.as_deref(),
        source: row.source,
        source_pod: source.as_ref().map(key),
        source_port: port(row.source_port),
        claimed_source: row.claimed,
        destination: row.destination,
        destination_pod: destination.as_ref().map(key),
        port: port(row.port),
        protocol: protocol_name(row.protocol),
        others: row.others,
        decided_by: by,
        policies: rule.iter().flat_map(|rule| rule.policies.iter()).map(ToString::to_string).collect(),
        rule: rule.and_then(|rule| rule.rule),
        packets: *packets,
        first: time(*first),
        last: time(*last),
    })
}

/// The line that says what is missing.
pub(super) fn missing(node: &str, now: SystemTime, lines: u64, packets: u64) -> String {
    json(&Missing { time: time(now), node, missing_lines: lines, missing_packets: packets })
}

fn json(line: &impl Serialize) -> String {
    // Text and numbers: there is nothing that JSON could not say.
    serde_json::to_string(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::denial;
    use super::*;

    fn parsed(line: &str) -> Value {
        assert!(!line.contains('\n'));
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_line_has_everything_that_is_known() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_123_456);
        let line = parsed(&line("node1", now, &denial()));
        assert_eq!(
            line,
            json!({
                "time": "2023-11-14T22:15:23.456Z", "node": "node1", "verdict": "deny", "direction": "ingress",
                "reason": "policy_ingress", "interface": null, "source": "10.244.2.7", "sourcePod": "shop/web",
                "sourcePort": 41000, "claimedSource": null, "destination": "10.244.1.7", "destinationPod": "shop/db",
                "port": 80, "protocol": "tcp", "others": false,
                "decidedBy": "networkPolicy", "policies": ["shop/db"], "rule": null, "packets": 3,
                "first": "2023-11-14T22:13:20.000Z", "last": "2023-11-14T22:13:21.500Z",
            })
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let known = denial();
        let row = datapath::drops::Drop {
            ingress: false,
            audit: true,
            port: 0,
            source_port: 0,
            protocol: 1,
            source: "fd44::1".parse().ok(),
            ..known.row
        };
        let line = parsed(&line(
            "node1",
            SystemTime::UNIX_EPOCH,
            &Denial { row, rule: None, source: None, destination: None, ..known },
        ));
        for key in ["sourcePod", "sourcePort", "destinationPod", "port", "rule"] {
            assert_eq!(line[key], Value::Null, "{key}");
        }
        for (key, want) in [
            ("verdict", "audit"),
            ("direction", "egress"),
            ("protocol", "icmp"),
            ("source", "fd44::1"),
            ("decidedBy", "unknown"),
        ] {
            assert_eq!(line[key], want);
        }
        assert_eq!(line["policies"], json!([]));
    }

    #[test]
    fn what_no_policy_dropped_has_its_interface_and_what_was_claimed() {
        let known = denial();
        let row = datapath::drops::Drop {
            reason: "source_ip",
            ingress: false,
            rule: 0,
            claimed: "192.0.2.66".parse().ok(),
            destination: None,
            others: true,
            ..known.row
        };
        let denial = Denial { row, rule: None, interface: Some("mido7".into()), destination: None, ..known };
        let line = parsed(&line("node1", SystemTime::UNIX_EPOCH, &denial));
        for (key, want) in [
            ("reason", json!("source_ip")),
            ("verdict", json!("deny")),
            ("interface", json!("mido7")),
            ("sourcePod", json!("shop/web")),
            ("claimedSource", json!("192.0.2.66")),
            ("destination", Value::Null),
            ("others", json!(true)),
            ("decidedBy", json!("none")),
        ] {
            assert_eq!(line[key], want, "{key}");
        }
    }

    #[test]
    fn names_cannot_end_a_line() {
        let mut denial = denial();
        denial.source.as_mut().unwrap().name = "a\nb\"".into();
        assert_eq!(parsed(&line("node\n1", SystemTime::UNIX_EPOCH, &denial))["sourcePod"], "shop/a\nb\"");
        let line = parsed(&missing("n", SystemTime::UNIX_EPOCH, 4, 5));
        assert_eq!(
            line,
            json!({"time": "1970-01-01T00:00:00.000Z", "node": "n", "missingLines": 4, "missingPackets": 5})
        );
    }
}
