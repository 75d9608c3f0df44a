//! A row as a message.

use std::net::IpAddr;

use nodeapi::v1;
use objects::Key;
use policy::RuleName;

use super::super::remedy::remedy;
use super::row::Row;
use crate::clock::Clock;
use crate::ends::Who;
use crate::policies::words::Decision;
use crate::protocols::protocol_name;

/// A row; `rule` is the name of its rule, and `interface` that of its interface, if they are known.
pub(super) fn message(row: Row, rule: Option<&RuleName>, interface: Option<&str>, clock: Clock) -> v1::Drop {
    let Row { drop, source, destination, endpoint_of } = row;
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
        source: Some(end(drop.source, drop.source_port, source)),
        destination: Some(end(drop.destination, drop.port, destination)),
        protocol,
        decided_by: by.to_owned(),
        policies: rule.iter().flat_map(|rule| rule.policies.iter()).map(ToString::to_string).collect(),
        rule: rule.and_then(|rule| rule.rule),
        rule_name: rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
        why,
        remedy: remedy(drop.reason).to_owned(),
        interface: interface.unwrap_or_default().to_owned(),
        claimed_address: text(drop.claimed),
        claimed_mac: drop.claimed_mac.map(mac).unwrap_or_default(),
        others: drop.others,
        endpoint_of: endpoint_of.iter().map(service).collect(),
    }
}

fn end(address: Option<IpAddr>, port: u16, who: Option<Who>) -> v1::DropEnd {
    let mut end = v1::DropEnd { address: text(address), port: port.into(), ..v1::DropEnd::default() };
    match who {
        Some(Who::Pod(key)) => {
            let namespace = key.namespace().unwrap_or_default().to_owned();
            end.pod = Some(v1::PodName { namespace, name: key.name().to_owned() });
        }
        Some(Who::Service(key)) => end.service = Some(service(&key)),
        Some(Who::Node(name)) => end.node = name,
        None => {}
    }
    end
}

fn service(key: &Key) -> v1::ServiceName {
    v1::ServiceName { namespace: key.namespace().unwrap_or_default().to_owned(), name: key.name().to_owned() }
}

fn text(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
