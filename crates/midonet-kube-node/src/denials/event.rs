//! The Event of what was denied to a Pod.

use std::net::IpAddr;

use objects::{PodEvent, PodRef};

use super::denial::Denial;
use super::pending::Sum;
use super::words::{direction, key, protocol_name, time};
use crate::policies::words::Decision;

/// An Event about a Pod. `named` is what it tells of the connection that has most packets, and `sum` all of them.
pub(super) fn event(node: &str, pod: PodRef, named: &Denial, sum: &Sum) -> PodEvent {
    let row = &named.row;
    let (peer, peers_address, way) = match row.ingress {
        true => (&named.source, row.source, "from"),
        false => (&named.destination, row.destination, "to"),
    };
    let peer_name = match (peer, peers_address) {
        (Some(peer), Some(address)) => format!("{} ({address})", key(peer)),
        (Some(peer), None) => key(peer),
        (None, Some(address)) => address.to_string(),
        (None, None) => "several peers".to_owned(),
    };
    let place = if row.others { "several ports".to_owned() } else { place(row.protocol, row.port) };
    let Decision { why, .. } = Decision::of(row.reason, row.audit, named.rule.as_deref());
    let (what, became) = match (row.audit, named.packets) {
        (true, 1) => ("connection", "would have been dropped"),
        (true, _) => ("connections", "would have been dropped"),
        (false, 1) => ("packet", "was dropped"),
        (false, _) => ("packets", "were dropped"),
    };
    let mut note = format!(
        "{}: {} {what} {way} {peer_name}, {place}, {became}, the last at {}: {}",
        direction(row.ingress),
        named.packets,
        time(named.last),
        why
    );
    let others = sum.packets.saturating_sub(named.packets);
    if others > 0 {
        let least = if sum.more { "more than " } else { "" };
        let connections = sum.connections().saturating_sub(1);
        note = format!("{note}; likewise {others} of {least}{connections} other peers and ports");
    }
    if let Some(command) = explain(named) {
        note = format!("{note}. On node {node}: {command}");
    }
    let (reason, action) = if row.audit { ("PolicyAudited", "Audit") } else { ("PolicyDenied", "Drop") };
    PodEvent { pod, related: peer.clone(), warning: !row.audit, action, reason, note }
}

/// What says more about it; `None`: nothing can be asked about such a packet.
fn explain(denial: &Denial) -> Option<String> {
    let row = &denial.row;
    let name = protocol_name(row.protocol)?;
    let port = match name.as_str() {
        "tcp" | "udp" | "sctp" if row.port != 0 => format!("{name}/{}", row.port),
        "icmp" => name,
        _ => return None,
    };
    let end = |pod: &Option<PodRef>, address: Option<IpAddr>| match pod {
        Some(pod) => Some(key(pod)),
        None => address.map(|address| address.to_string()),
    };
    let (source, destination) =
        (end(&denial.source, row.source)?, end(&denial.destination, row.destination)?);
    Some(format!("midokube policy explain {source} {destination} {port}"))
}

/// A port, or what has none.
fn place(protocol: u8, port: u16) -> String {
    let name = protocol_name(protocol).unwrap_or_else(|| "an unknown protocol".to_owned());
    if port == 0 { name } else { format!("port {name}/{port}") }
}

#[cfg(test)]
mod tests {
    use datapath::drops::Drop;

    use super::super::tests::{denial, pod};
    use super::*;

    fn sum(packets: u64) -> Sum {
        let mut sum = Sum::default();
        sum.packets = packets;
        sum
    }

    #[test]
    fn it_names_peer_port_direction_rule_count_and_what_says_more() {
        let event = event("node1", pod("shop", "db"), &denial(), &sum(3));
        assert_eq!(
            event.note,
            "ingress: 3 packets from shop/web (10.244.2.7), port tcp/80, were dropped, the last at \
             2023-11-14T22:13:21.500Z: the default deny of NetworkPolicy shop/db denies it. On node node1: midokube policy \
             explain shop/web shop/db tcp/80"
        );
        assert_eq!((event.reason, event.warning, event.pod), ("PolicyDenied", true, pod("shop", "db")));
        assert_eq!(event.related, Some(pod("shop", "web")));
    }

    #[test]
    fn an_audit_is_no_warning_and_what_has_no_name_is_its_address() {
        let known = denial();
        let row = Drop { ingress: false, audit: true, protocol: 1, port: 0, ..known.row };
        let denial = Denial { row, packets: 1, source: Some(pod("shop", "db")), destination: None, ..known };
        let event = event("node1", pod("shop", "db"), &denial, &sum(5));
        assert_eq!((event.reason, event.warning, event.related), ("PolicyAudited", false, None));
        for want in [
            "egress: 1 connection to 10.244.1.7, icmp, would have been dropped",
            "NetworkPolicy shop/db would deny it, but is only audited; likewise 4 of 0 other peers and ports. On",
            "midokube policy explain shop/db 10.244.1.7 icmp",
        ] {
            assert!(event.note.contains(want), "{want} in {}", event.note);
        }
    }

    #[test]
    fn what_is_not_told_apart_says_so() {
        let known = denial();
        let row = Drop { source: None, source_port: 0, port: 0, protocol: 0, others: true, ..known.row };
        let event = event("node1", pod("shop", "db"), &Denial { row, source: None, ..known }, &sum(3));
        assert!(
            event.note.starts_with("ingress: 3 packets from several peers, several ports, were dropped"),
            "{}",
            event.note
        );
        assert!(!event.note.contains("midokube"), "{}", event.note);
    }

    #[test]
    fn what_cannot_be_explained_has_no_command() {
        let known = denial();
        let row = Drop { reason: "policy_no_port", protocol: 17, port: 0, rule: 0, ..known.row };
        let event = event("node1", pod("shop", "db"), &Denial { row, rule: None, ..known }, &sum(3));
        assert!(
            !event.note.contains("midokube") && event.note.contains("the first fragment was not seen"),
            "{}",
            event.note
        );
    }
}
