//! A row as a message.

use std::net::IpAddr;

use nodeapi::v1;
use objects::Key;
use policy::RuleName;

use super::row::Row;
use crate::clock::Clock;
use crate::policies::words::Decision;
use crate::protocols::protocol_name;

/// A row; `rule` is the name of its rule, if it is known.
pub(super) fn message(row: Row, rule: Option<&RuleName>, clock: Clock) -> v1::Drop {
    let Row { drop, source, destination } = row;
    let end = |address: IpAddr, port: u16, pod: Option<Key>| {
        let pod = pod.map(|key| v1::PodName {
            namespace: key.namespace().unwrap_or_default().to_owned(),
            name: key.name().to_owned(),
        });
        Some(v1::DropEnd { address: address.to_string(), port: port.into(), pod })
    };
    let protocol = if drop.protocol == 0 { String::new() } else { protocol_name(drop.protocol) };
    let Decision { by, rule, why } = Decision::of(drop.reason, drop.audit, rule);
    v1::Drop {
        first: clock.rfc3339(drop.first),
        last: clock.rfc3339(drop.last),
        last_seconds: clock.since(drop.last).as_secs(),
        packets: drop.packets,
        bytes: drop.bytes,
        direction: if drop.ingress { "ingress" } else { "egress" }.to_owned(),
        verdict: if drop.audit { "audit" } else { "deny" }.to_owned(),
        reason: drop.reason.to_owned(),
        source: end(drop.source, drop.source_port, source),
        destination: end(drop.destination, drop.port, destination),
        protocol,
        decided_by: by.to_owned(),
        policies: rule.iter().flat_map(|rule| rule.policies.iter()).map(ToString::to_string).collect(),
        rule: rule.and_then(|rule| rule.rule),
        rule_name: rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
        why,
    }
}
