use std::net::IpAddr;

use objects::Key;
use policy::{Direction, Origin, RuleName};
use tonic::Code;

use std::time::SystemTime;

use super::*;
use crate::ends::Who;

const SECOND: Duration = Duration::from_secs(1);

/// 2026-01-01T00:00:00Z, 1000 seconds after boot.
fn clock() -> Clock {
    Clock { uptime: 1000 * SECOND, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) }
}

fn drop() -> Drop {
    Drop {
        reason: "policy_ingress",
        ingress: true,
        audit: false,
        others: false,
        protocol: 6,
        source: "10.244.1.3".parse().ok(),
        source_port: 44_312,
        destination: "fd44::3".parse().ok(),
        port: 80,
        rule: 7,
        interface: 0,
        claimed: None,
        claimed_mac: None,
        packets: 3,
        bytes: 222,
        first: 900 * SECOND,
        last: 940 * SECOND,
    }
}

fn row(drop: Drop) -> Row {
    let pod = |namespace, name| Some(Who::Pod(Key::namespaced(namespace, name)));
    Row { drop, source: pod("default", "a"), destination: pod("shop", "b"), endpoint_of: vec![] }
}

fn rule(origin: Origin, rule: Option<u32>) -> RuleName {
    RuleName {
        origin,
        direction: Direction::Ingress,
        policies: [Key::namespaced("shop", "db"), Key::namespaced("shop", "web")].into(),
        rule,
        name: if rule.is_some() { "dns".into() } else { "".into() },
    }
}

#[test]
fn a_row_says_who_whom_when_and_why() {
    let pod = |namespace: &str, name: &str| {
        Some(v1::PodName { namespace: namespace.to_owned(), name: name.to_owned() })
    };
    let end = |address: &str, port, pod| {
        Some(v1::DropEnd { address: address.to_owned(), port, pod, ..v1::DropEnd::default() })
    };
    let want = v1::Drop {
        first: "2025-12-31T23:58:20.000Z".into(),
        last: "2025-12-31T23:59:00.000Z".into(),
        last_seconds: 60,
        packets: 3,
        bytes: 222,
        direction: "ingress".into(),
        verdict: "deny".into(),
        reason: "policy_ingress".into(),
        source: end("10.244.1.3", 44_312, pod("default", "a")),
        destination: end("fd44::3", 80, pod("shop", "b")),
        protocol: "tcp".into(),
        decided_by: "networkPolicy".into(),
        policies: vec!["shop/db".into(), "shop/web".into()],
        rule: None,
        rule_name: String::new(),
        why: "the default deny of NetworkPolicy shop/db, shop/web denies it".into(),
        remedy: "change the policy that is named, or add one that allows it: see `midokube policy explain`"
            .into(),
        interface: String::new(),
        claimed_address: String::new(),
        claimed_mac: String::new(),
        others: false,
        endpoint_of: vec![],
    };
    let default = rule(Origin::NetworkPolicy, None);
    assert_eq!(message(row(drop()), Some(&default), None, clock()), want);

    let audited =
        Drop { audit: true, ingress: false, reason: "policy_egress", protocol: 1, port: 0, ..drop() };
    let admin = rule(Origin::Admin, Some(2));
    let found = message(row(audited), Some(&admin), None, clock());
    assert_eq!((&*found.verdict, &*found.direction, &*found.protocol), ("audit", "egress", "icmp"));
    assert_eq!((&*found.decided_by, found.rule, &*found.rule_name), ("admin", Some(2), "dns"));
    let why =
        "ingress[2] (\"dns\") of ClusterNetworkPolicy shop/db, shop/web would deny it, but is only audited";
    assert_eq!(found.why, why);

    for (protocol, name) in [(0, ""), (17, "udp"), (132, "sctp"), (47, "47")] {
        let found = message(row(Drop { protocol, ..drop() }), None, None, clock());
        assert_eq!(found.protocol, name, "{protocol}");
    }
}

#[test]
fn what_nobody_decided_or_nobody_knows_any_more_says_so() {
    let known = rule(Origin::NetworkPolicy, Some(0));
    for (reason, name, want) in [
        ("policy_unknown", None, "it is closed"),
        ("policy_no_port", Some(&known), "the first fragment was not seen"),
        ("policy_ingress", None, "does not know any more"),
    ] {
        let drop = Drop { reason, ..drop() };
        let row = Row { drop, source: None, destination: None, endpoint_of: vec![] };
        let found = message(row, name, None, clock());
        assert_eq!((&*found.decided_by, found.rule, found.policies.len()), ("unknown", None, 0), "{reason}");
        assert!(found.why.contains(want), "{}", found.why);
        assert_eq!((found.source.unwrap().pod, found.destination.unwrap().pod), (None, None));
    }
}

#[test]
fn what_no_policy_dropped_has_the_reasons_words_and_who_is_there() {
    let forged = Drop {
        reason: "overlay_source",
        rule: 0,
        interface: 7,
        destination: None,
        port: 0,
        protocol: 0,
        others: true,
        claimed: "192.0.2.66".parse().ok(),
        claimed_mac: Some([2, 0, 0, 0, 0, 0xab]),
        ..drop()
    };
    let (node, endpoint_of) = (Some(Who::Node("node2".into())), vec![]);
    let row = Row { drop: forged, source: node, destination: None, endpoint_of };
    let found = message(row, None, Some("midokube-vxlan"), clock());
    let source = found.source.unwrap();
    assert_eq!((&*source.address, &*source.node, source.pod), ("10.244.1.3", "node2", None));
    let destination = found.destination.unwrap();
    assert_eq!((&*destination.address, destination.port, destination.service), ("", 0, None));
    assert_eq!((&*found.claimed_address, &*found.claimed_mac), ("192.0.2.66", "02:00:00:00:00:ab"));
    assert_eq!((&*found.interface, found.others, &*found.decided_by), ("midokube-vxlan", true, "none"));
    assert!(found.why.contains("came through the tunnel") && found.remedy.contains("midokube status peers"));

    let service = Some(Who::Service(Key::namespaced("shop", "db")));
    let endpoint_of = vec![Key::namespaced("shop", "db"), Key::namespaced("shop", "sql")];
    let drop = Drop { reason: "service_port", ..drop() };
    let refused = Row { drop, source: None, destination: service, endpoint_of };
    let found = message(refused, None, None, clock());
    let service = |name: &str| v1::ServiceName { namespace: "shop".into(), name: name.into() };
    assert_eq!(found.destination.unwrap().service, Some(service("db")));
    assert_eq!(found.endpoint_of, [service("db"), service("sql")]);
}

#[test]
fn every_part_of_a_filter_counts() {
    let none = v1::ListDropsRequest::default;
    let matches = |request: v1::ListDropsRequest| {
        let (filter, limit) = Filter::read(&request).unwrap();
        assert_eq!(limit, 1000);
        filter.matches(&drop(), clock().uptime) && filter.matches_pods(&row(drop()))
    };
    assert!(matches(none()));
    let pod = |namespace: &str, name: &str| {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        v1::ListDropsRequest { pod: Some(v1::PodName { namespace, name }), ..none() }
    };
    assert!(matches(pod("default", "a")) && matches(pod("shop", "b")) && !matches(pod("shop", "a")));
    for (namespace, want) in [("default", true), ("shop", true), ("kube-system", false)] {
        assert_eq!(matches(v1::ListDropsRequest { namespace: namespace.into(), ..none() }), want);
    }
    for (address, want) in
        [("10.244.1.3", true), ("::ffff:10.244.1.3", true), ("fd44::3", true), ("fd44::4", false)]
    {
        assert_eq!(matches(v1::ListDropsRequest { address: address.into(), ..none() }), want, "{address}");
    }
    for (protocol, want) in [("tcp", true), ("udp", false), ("icmp", false)] {
        assert_eq!(matches(v1::ListDropsRequest { protocol: protocol.into(), ..none() }), want);
    }
    // The source's port is no port that anybody looks for.
    for (port, want) in [(80, true), (44_312, false)] {
        assert_eq!(matches(v1::ListDropsRequest { port, ..none() }), want);
    }
    for (reason, want) in [("policy_ingress", true), ("policy_egress", false)] {
        assert_eq!(matches(v1::ListDropsRequest { reason: reason.into(), ..none() }), want);
    }
    for (since_seconds, want) in [(60, true), (61, true), (59, false)] {
        assert_eq!(matches(v1::ListDropsRequest { since_seconds, ..none() }), want);
    }
}

#[test]
fn what_can_match_nothing_is_refused() {
    let none = v1::ListDropsRequest::default;
    for (wrong, want) in [
        (v1::ListDropsRequest { address: "10.0.0".into(), ..none() }, "address: \"10.0.0\" is no IP address"),
        (v1::ListDropsRequest { protocol: "gre".into(), ..none() }, "protocol: \"gre\" is no known protocol"),
        (v1::ListDropsRequest { port: 65_536, ..none() }, "port: 65536 is no port"),
        (
            v1::ListDropsRequest { reason: "policy".into(), ..none() },
            "reason: \"policy\" is no reason for drops",
        ),
        (
            v1::ListDropsRequest { reason: "policy_igress".into(), ..none() },
            "reason for drops; did you mean policy_egress or policy_ingress?",
        ),
        // A reason, but not for drops.
        (v1::ListDropsRequest { reason: "local".into(), ..none() }, "reason: \"local\" is no reason"),
        (v1::ListDropsRequest { limit: 16_385, ..none() }, "limit: 16385 is no number up to 16384"),
    ] {
        let status = Filter::read(&wrong).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(want), "{want}: {}", status.message());
    }
}

#[test]
fn without_policies_rows_have_no_rules() {
    let rows = vec![row(drop()), row(drop())];
    let reply = reply(rows, 5, None, clock());
    assert_eq!((reply.drops.len(), reply.matching), (2, 5));
    let source: IpAddr = reply.drops[0].source.as_ref().unwrap().address.parse().unwrap();
    assert_eq!((Some(source), &*reply.drops[0].decided_by), (drop().source, "unknown"));
}
