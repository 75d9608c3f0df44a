use nodeapi::v1;

use super::*;
use crate::status::args::{Part, Selection};
use crate::status::report::Report;

fn port(namespace: &str, name: &str) -> v1::Port {
    v1::Port {
        namespace: namespace.into(),
        name: name.into(),
        host_ifname: "mido0123456789a".into(),
        addresses: vec!["10.244.111.113".into(), "fd44:1234:5678:9abc::3".into()],
        mac: "0a:00:00:00:00:01".into(),
        port_id: "9839ba43-2faa-5012-929a-1f167eecd3dc".into(),
        sent: Some(v1::Traffic { packets: 7, bytes: 2048 }),
        ..v1::Port::default()
    }
}

fn counter(name: &str, verdict: &str, packets: u64) -> v1::Counter {
    v1::Counter {
        name: name.into(),
        help: "an ICMP error was due, but must not answer this kind of packet (RFC 1122 3.2.2, RFC 4443 2.4)"
            .into(),
        drop: verdict != "forward",
        packets,
        bytes: packets,
        verdict: verdict.into(),
    }
}

fn reply() -> v1::StatusReply {
    v1::StatusReply {
        agent: Some(v1::Agent {
            node: "node1".into(),
            ready: true,
            source: "manifests".into(),
            ..v1::Agent::default()
        }),
        network: Some(v1::Network { kind: "embedded".into(), mtu: 1450, ..v1::Network::default() }),
        ports: vec![port("default", "b"), port("default", "a")],
        peers: vec![v1::Peer { node: "node2".into(), ..v1::Peer::default() }],
        counters: vec![
            counter("local", "forward", 3),
            counter("spoofed", "drop", 2),
            counter("silent", "drop", 0),
            counter("multicast", "ignore", 9),
        ],
        ..v1::StatusReply::default()
    }
}

/// The text without colours.
fn shown(reply: v1::StatusReply, parts: &[Part], wide: bool) -> String {
    let selection = Selection { parts: parts.to_vec(), namespace: None };
    let report = Report::read(reply).unwrap();
    anstream::adapter::strip_str(&text(&View::new(&report, &selection), wide)).to_string()
}

fn all(reply: v1::StatusReply) -> String {
    shown(reply, &[], false)
}

#[test]
fn a_table_has_every_section_and_no_zero_counters() {
    let text = all(reply());
    for want in ["node1", "ready", "manifests: healthy", "1450", "default/a", "2.0 KiB", "node2", "spoofed"] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    assert!(!text.contains("silent"), "{text}");
    assert!(text.find("default/a") < text.find("default/b"), "not sorted:\n{text}");
    let order =
        ["Traffic", "local", "Drops", "spoofed", "Ignored", "multicast"].map(|word| text.find(word).unwrap());
    assert!(order.is_sorted(), "{text}");
}

#[test]
fn ignored_packets_are_no_drops() {
    let healthy = v1::StatusReply { counters: vec![counter("multicast", "ignore", 9)], ..reply() };
    assert!(all(healthy).contains("Drops\n none\n\nIgnored\n REASON     PACKETS"));
}

/// Names as long as they get in practice, and numbers as large.
fn large() -> v1::StatusReply {
    let name = "payments-reconciliation-worker-canary-deployment-7d9f8c6b5d-x2x4z";
    let traffic = Some(v1::Traffic { packets: 999_999_999_999, bytes: 1_099_511_627_775 });
    let limits = v1::Bandwidth { egress_rate: 10_000_000, egress_burst: 8, ..v1::Bandwidth::default() };
    let long = v1::Port {
        addresses: vec!["10.244.111.113".into(), "fd44:1234:5678:9abc::1a2b".into()],
        sent: traffic,
        received: traffic,
        bandwidth: Some(limits),
        ..port("payments-production", name)
    };
    let why = "the Kubernetes API server https://api.example.org:6443 cannot be reached: connection refused"
        .repeat(3);
    v1::StatusReply {
        agent: Some(v1::Agent {
            node: "ip-10-123-124-125.eu-central-1.compute.internal".into(),
            not_ready_reason: why.clone(),
            source: "https://api.example.org:6443".into(),
            source_error: why.clone(),
            ..v1::Agent::default()
        }),
        network: Some(v1::Network {
            pod_cidrs: vec!["10.244.111.0/24".into(), "fd44:1234:5678:9abc::/64".into()],
            node_addresses: vec!["10.244.111.2".into(), "fd44:1234:5678:9abc::2".into()],
            node_mac: "0a:00:00:00:00:02".into(),
            node_port_id: "9ab30836-6b67-5389-b1f5-b2459bedb840".into(),
            ..v1::Network::default()
        }),
        ports: vec![long, port("kube-system", "coredns-x2x4z")],
        peers: vec![v1::Peer {
            node: "ip-10-123-124-126.eu-central-1.compute.internal".into(),
            pod_cidrs: vec!["10.244.112.0/24".into(), "fd44:1234:5678:9abd::/64".into()],
            tunnel_address: "fd30:1234:5678:9abc::12".into(),
        }],
        leaks: vec![v1::Leak {
            what: "address_conflict".into(),
            object: why.clone(),
            reason: why.clone(),
            remedy: why,
        }],
        counters: vec![counter("icmp_suppressed", "drop", 999_999_999_999)],
        ..v1::StatusReply::default()
    }
}

#[test]
fn the_narrow_form_fits_100_columns() {
    let text = all(large());
    let mut longest_addresses = large();
    longest_addresses.ports[0].addresses.push("fd44:1234:5678:9abc:def0:1234:5678:9abc".into());
    for line in text.lines().chain(all(longest_addresses).lines()) {
        assert!(line.chars().count() <= WIDTH, "{} columns: {line}\n{text}", line.chars().count());
    }
    // Nothing is cut off, and what follows a long name stands where it stands elsewhere.
    let name = "\n payments-production/payments-reconciliation-worker-canary-deployment-7d9f8c6b5d-x2x4z\n";
    assert!(text.contains(name), "{text}");
    let column = |word: &str| {
        let line = text.lines().find(|line| line.contains(word)).unwrap();
        line.find("mido0123456789a").unwrap()
    };
    assert_eq!(column("1024.0 GiB"), column("coredns"), "{text}");
}

#[test]
fn the_wide_form_has_what_identifies_ports() {
    let (narrow, wide) = (all(large()), shown(large(), &[], true));
    for only_wide in
        ["9839ba43-2faa-5012-929a-1f167eecd3dc", "0a:00:00:00:00:01", "0a:00:00:00:00:02", "9ab30836"]
    {
        assert!(wide.contains(only_wide) && !narrow.contains(only_wide), "{only_wide}:\n{narrow}\n{wide}");
    }
    assert!(wide.contains("x2x4z  mido0123456789a  10.244.111.113, fd44:"), "{wide}");
    assert!(wide.contains("999999999999 (1024.0 GiB)"), "{wide}");
}

#[test]
fn limits_are_shown_where_there_are_any() {
    let mut reply = reply();
    assert!(!all(reply.clone()).contains("Limits"));
    let limits = v1::Bandwidth { egress_rate: 10_000_000, egress_burst: 8, ..v1::Bandwidth::default() };
    reply.ports[0].bandwidth = Some(limits);
    let text = shown(reply, &[Part::Ports], false);
    let shown = text.split("Limits").nth(1).unwrap();
    assert!(shown.contains("default/b  10 Mbit/s      -") && !shown.contains("default/a"), "{shown}");
}

#[test]
fn failures_are_marked() {
    let mut reply = reply();
    let agent = reply.agent.as_mut().unwrap();
    (agent.ready, agent.not_ready_reason) = (false, "no podCIDR yet".into());
    agent.source_error = "connection refused".into();
    let text = all(reply);
    assert!(text.contains("NOT READY: no podCIDR yet"), "{text}");
    assert!(text.contains("manifests: FAILING: connection refused"), "{text}");
}

#[test]
fn problems_have_a_remedy() {
    let text = |reply: &v1::StatusReply, part| shown(reply.clone(), &[part], false);
    assert_eq!(text(&reply(), Part::Problems), "Problems\n none");
    let problem = v1::Problem {
        what: "pod_cidr".into(),
        object: "Node b".into(),
        problem: "its podCIDR 10.0.0.0/8 overlaps that of Node a: its Pods are not reached".into(),
        remedy: "give it another podCIDR".into(),
    };
    let reply = v1::StatusReply { problems: vec![problem.clone()], ..reply() };
    let want = "Problems\n pod_cidr: Node b\n  its podCIDR 10.0.0.0/8 overlaps that of Node a: its Pods are not reached\n  \
        remedy: give it another podCIDR";
    assert_eq!(text(&reply, Part::Problems), want);
    let agent = text(&reply, Part::Agent);
    assert!(agent.contains("ready, degraded by 1 problem\n"), "{agent}");
    let two = v1::StatusReply { problems: vec![problem.clone(), problem], ..reply };
    assert!(text(&two, Part::Agent).contains("degraded by 2 problems\n"));
}

#[test]
fn leaks_have_a_remedy() {
    let text = |reply| shown(reply, &[Part::Leaks], false);
    assert_eq!(text(reply()), "Leaks\n none");
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
        delete the Pod\n not everything was checked: other-ipam keeps the addresses";
    assert_eq!(text, want);
}

#[test]
fn traffic_that_is_not_known_is_not_zero() {
    let mut unknown = port("default", "a");
    unknown.sent = None;
    let reply = v1::StatusReply { ports: vec![unknown], ..reply() };
    for wide in [false, true] {
        let text = shown(reply.clone(), &[Part::Ports], wide);
        assert_eq!(text.matches("n/a").count(), 2, "{text}");
    }
}

#[test]
fn an_incomplete_answer_is_none() {
    assert!(Report::read(v1::StatusReply { network: None, ..reply() }).is_none());
}

#[test]
fn services_have_one_line_and_their_tables() {
    assert_eq!(
        shown(reply(), &[Part::Services], false),
        "Services\n not served by this agent: another proxy has them"
    );
    let table = |name: &str, used, limit| v1::Table { name: name.into(), used, limit };
    let summary = v1::ServiceSummary {
        complete: true,
        services: 3,
        ports: 5,
        backends: 14,
        ports_without_backends: 0,
        tables: vec![table("connections", 65_536, 131_072), table("none", 0, 0)],
    };
    let text = |summary: &v1::ServiceSummary, problems: Vec<v1::Problem>| {
        let reply = v1::StatusReply { services: Some(summary.clone()), problems, ..reply() };
        shown(reply, &[Part::Services], false)
    };
    let want = "Services
 served    3 with 5 ports and 14 backends
 problems  none
 TABLE        USED   LIMIT   PRESSURE
 connections  65536  131072  50 %
 none         0      0       0 %";
    assert_eq!(text(&summary, Vec::new()), want);
    let worse = v1::ServiceSummary { complete: false, ports_without_backends: 2, ..summary };
    let problem = |what: &str| v1::Problem { what: what.into(), ..v1::Problem::default() };
    let text = text(&worse, vec![problem("service"), problem("pod_cidr")]);
    for want in ["14 backends; 2 ports have none; not all are known yet\n", " problems  1: see Problems\n"] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
}

#[test]
fn policy_says_whether_it_is_in_force_and_who_is_closed() {
    let summary = v1::PolicySummary {
        complete: true,
        in_force: true,
        generation: 7,
        sets: 3,
        pods_policed: 5,
        tables: vec![v1::Table { name: "policy_classes".into(), used: 50, limit: 100 }],
        ..v1::PolicySummary::default()
    };
    let shown = |summary| {
        let reply = v1::StatusReply { policy: Some(summary), ..reply() };
        shown(reply, &[Part::Policy], false)
    };
    let text = shown(summary.clone());
    for want in ["in force, generation 7", "5 policed", "3 sets", "policy_classes  50    100    50 %"] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    assert!(!text.contains("closed"), "{text}");
    let text = shown(v1::PolicySummary { in_force: false, pods_closed: 2, ..summary.clone() });
    assert!(text.contains("NOT IN FORCE") && text.contains("2 closed"), "{text}");
    let text = shown(v1::PolicySummary { complete: false, ..summary });
    assert!(text.contains("not all objects are known yet"), "{text}");
    assert!(self::shown(reply(), &[Part::Policy], false).contains("not enforced by this agent"));
}

#[test]
fn with_midonet_it_is_shown_what_the_midonet_agent_has() {
    let network =
        v1::Network { kind: "midonet".into(), node_port_bound: Some(true), ..v1::Network::default() };
    let mut ports = vec![port("default", "a"), port("default", "b")];
    (ports[0].bound, ports[1].bound) = (Some(true), Some(false));
    let midonet = v1::StatusReply { network: Some(network), ports, counters: Vec::new(), ..reply() };
    let text = all(midonet);
    for want in [
        "midonet: the MidoNet agent carries the packets",
        "MidoNet serves those of type ClusterIP",
        "every Pod reaches every Pod of the cluster",
        "Drops\n none",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("node's port").ends_with("bound") && !line("node's port").contains("NOT"), "{text}");
    assert!(line("default/b").contains("NOT BOUND") && !line("default/a").contains("NOT"), "{text}");
    for not in ["VXLAN", "headers"] {
        assert!(!text.contains(not), "{not} is in:\n{text}");
    }
}
