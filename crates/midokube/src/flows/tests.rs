use clap::Parser;
use nodeapi::v1;
use proptest::prelude::*;

use super::filter::{Condition, Filter};
use super::follow::Shown;
use super::groups::{By, Groups};
use super::merge::merge;
use super::view::{Flow, Node};
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: FlowsArgs,
}

fn parse(words: &str) -> Result<FlowsArgs, String> {
    let line = Line::try_parse_from(["flows"].into_iter().chain(words.split_whitespace()));
    line.map(|line| line.args).map_err(|error| error.to_string())
}

fn end(address: &str, port: u32, pod: Option<(&str, &str)>) -> Option<v1::FlowEnd> {
    let pod = pod.map(|(namespace, name)| v1::PodName { namespace: namespace.into(), name: name.into() });
    Some(v1::FlowEnd { address: address.into(), port, pod })
}

/// A connection of shop/web to shop/db through a Service, as the client's node sees it.
fn through() -> v1::Flow {
    v1::Flow {
        id: "6/1".into(),
        protocol: "tcp".into(),
        client: end("10.244.1.3", 40_000, Some(("shop", "web"))),
        frontend: end("10.96.0.7", 5432, None),
        source: end("10.244.1.3", 40_000, None),
        backend: end("10.244.2.4", 15_432, Some(("shop", "db"))),
        service: Some(v1::ServiceName { namespace: "shop".into(), name: "sql".into() }),
        service_port: "sql".into(),
        state: "established".into(),
        verdict: "allow".into(),
        egress: Some(v1::FlowDecision {
            decided_by: "networkPolicy".into(),
            policies: vec!["shop/web".into()],
            rule: Some(0),
            ..v1::FlowDecision::default()
        }),
        client_packets: 10,
        client_bytes: 1000,
        server_packets: 8,
        server_bytes: 9000,
        round_trip_microseconds: 480,
        began: "2026-01-01T00:00:00.000Z".into(),
        last: "2026-01-01T00:00:10.000Z".into(),
        last_seconds: 5,
        began_milliseconds: 1_000_000,
        last_milliseconds: 1_010_000,
        ..v1::Flow::default()
    }
}

/// The same as the backend's node sees it.
fn to_backend() -> v1::Flow {
    v1::Flow {
        id: "6/9".into(),
        client: end("10.244.1.3", 40_000, Some(("shop", "web"))),
        frontend: end("10.244.2.4", 15_432, None),
        service: None,
        service_port: String::new(),
        state: "closed".into(),
        ended: true,
        verdict: "audit".into(),
        egress: None,
        ingress: Some(v1::FlowDecision {
            policies: vec!["shop/db".into()],
            audit: true,
            ..v1::FlowDecision::default()
        }),
        client_packets: 9,
        client_bytes: 900,
        server_packets: 9,
        server_bytes: 9900,
        round_trip_microseconds: 60,
        last: "2026-01-01T00:00:11.000Z".into(),
        last_seconds: 4,
        began_milliseconds: 1_000_100,
        last_milliseconds: 1_011_000,
        ..through()
    }
}

fn denied() -> v1::Drop {
    let end = |address: &str, port, pod: Option<(&str, &str)>| {
        let pod = pod.map(|(namespace, name)| v1::PodName { namespace: namespace.into(), name: name.into() });
        Some(v1::DropEnd { address: address.into(), port, pod, ..v1::DropEnd::default() })
    };
    v1::Drop {
        first: "1970-01-01T00:17:00Z".into(),
        last: "1970-01-01T00:17:00Z".into(),
        direction: "ingress".into(),
        verdict: "deny".into(),
        reason: "policy_ingress".into(),
        source: end("fd44::3", 40_001, Some(("other", "a"))),
        destination: end("fd44::4", 5432, Some(("shop", "db"))),
        protocol: "tcp".into(),
        packets: 3,
        bytes: 222,
        why: "the default deny of NetworkPolicy shop/db denies it".into(),
        last_seconds: 2,
        ..v1::Drop::default()
    }
}

/// The same of an endpoint of two Services.
fn denied_endpoint() -> v1::Drop {
    let mut drop = denied();
    let service = |name: &str| v1::ServiceName { namespace: "front".into(), name: name.into() };
    drop.endpoint_of = vec![service("read"), service("write")];
    drop
}

fn one() -> Flow {
    Flow::new("node1", through())
}

fn other() -> Flow {
    Flow::new("node2", to_backend())
}

fn dropped() -> Flow {
    Flow::denied("node2", denied())
}

fn node(name: &str) -> Node {
    Node::new(name, v1::FlowTotals::default())
}

#[test]
fn a_connection_that_two_nodes_see_is_there_once_with_all_that_both_know() {
    for flows in [[one(), other()], [other(), one()]] {
        let merged = merge(flows);
        assert_eq!(merged.len(), 1);
        let flow = &merged[0];
        assert_eq!(flow.nodes, ["node1", "node2"]);
        assert_eq!(
            (flow.service.as_deref(), flow.frontend.socket()),
            (Some("shop/sql"), "10.96.0.7:5432".into())
        );
        assert_eq!(flow.client.pod.as_deref(), Some("shop/web"));
        assert_eq!(flow.backend.pod.as_deref(), Some("shop/db"));
        assert_eq!((&*flow.state, flow.ended, &*flow.verdict), ("closed", true, "audit"));
        assert_eq!(flow.egress.as_ref().unwrap().policies, ["shop/web"]);
        assert_eq!(flow.ingress.as_ref().unwrap().policies, ["shop/db"]);
        assert_eq!((flow.client_packets, flow.client_bytes), (10, 1000));
        assert_eq!((flow.server_packets, flow.server_bytes), (9, 9900));
        assert_eq!(flow.round_trip_microseconds, Some(480));
        assert_eq!((flow.began_milliseconds, flow.last_milliseconds), (1_000_000, 1_011_000));
        assert_eq!((&*flow.last, flow.last_seconds), ("2026-01-01T00:00:11.000Z", 4));
    }
}

#[test]
fn what_is_not_one_connection_stays_apart() {
    // Another one of the same ends, an hour later; of each node one.
    let later = |mut flow: Flow| {
        flow.began_milliseconds += 3_600_000;
        flow.last_milliseconds += 3_600_000;
        flow
    };
    let merged = merge([one(), later(one()), later(other()), other()]);
    let nodes: Vec<_> = merged.iter().map(|flow| flow.nodes.len()).collect();
    assert_eq!(nodes, [2, 2]);
    assert!(merged[0].last_milliseconds < merged[1].began_milliseconds);
    // The same node sees no connection twice; another port is another connection; what is denied is no connection.
    let mut port = other();
    port.source.port = Some(40_001);
    assert_eq!(merge([one(), one()]).len(), 2);
    assert_eq!(merge([one(), port]).len(), 2);
    assert_eq!(merge([dropped(), dropped(), one()]).len(), 3);
}

#[test]
fn every_option_counts_and_not_turns_it_around() {
    let flows = [one(), dropped()];
    let found = |words: &str| {
        let filter = parse(words).unwrap_or_else(|error| panic!("{words}: {error}")).filter();
        flows.iter().map(|flow| filter.matches(flow)).collect::<Vec<_>>()
    };
    for (words, want) in [
        ("", [true, true]),
        ("shop/web", [true, false]),
        ("shop/db", [true, true]),
        ("shop/sql", [false, false]),
        ("-n shop", [true, true]),
        ("-n other", [false, true]),
        ("--address 10.96.0.7", [true, false]),
        ("--address ::ffff:10.244.1.3", [true, false]),
        ("--address fd44:0:0::4", [false, true]),
        ("--port tcp/5432", [true, true]),
        ("--port tcp/15432", [true, false]),
        ("--port tcp/40000", [false, false]),
        ("--port udp/5432", [false, false]),
        ("--verdict deny", [false, true]),
        ("--verdict allow", [true, false]),
        ("--reason policy_ingress", [false, true]),
        ("--service shop/sql", [true, false]),
        ("-n shop --verdict deny --port tcp/5432", [false, true]),
    ] {
        assert_eq!(found(words), want, "{words}");
    }
    for (not, want) in [
        ("pod=shop/web", [false, true]),
        ("namespace=other", [true, false]),
        ("address=10.96.0.7", [false, true]),
        ("port=tcp/15432", [false, true]),
        ("verdict=deny", [true, false]),
        ("reason=policy_ingress", [true, false]),
        ("service=shop/sql", [false, true]),
    ] {
        assert_eq!(found(&format!("--not {not}")), want, "{not}");
    }
    assert_eq!(found("-n shop --not verdict=deny --not service=shop/sql"), [false, false]);
    for (wrong, want) in [
        ("--not port", "pod=, namespace="),
        ("--not colour=red", "pod=, namespace="),
        ("--not pod=", "has no value"),
        ("--not pod=web", "a namespace and a name"),
        ("--not address=10.0", "no IP address"),
        ("--not verdict=maybe", "allow, deny or audit"),
        ("--port 80", "tcp/PORT"),
        ("--follow --by pod", "cannot be used with"),
    ] {
        let error = parse(wrong).err().unwrap();
        assert!(error.contains(want), "{wrong}: {error}");
    }
}

fn groups(by: By) -> Vec<(String, u64, u64)> {
    let view = View::new(vec![node("node1")], vec![one(), one(), dropped()]);
    let groups = Groups::new(by, view).groups;
    groups.into_iter().map(|group| (group.name, group.flows, group.denied)).collect()
}

#[test]
fn what_is_denied_is_found_by_the_services_of_its_endpoint() {
    let flow = Flow::denied("node2", denied_endpoint());
    assert_eq!(flow.service, None);
    for (words, want) in [
        ("--service front/read", true),
        ("--service front/write --verdict deny", true),
        ("--service shop/sql", false),
        ("-n front", true),
        ("--not service=front/write", false),
    ] {
        assert_eq!(parse(words).unwrap().filter().matches(&flow), want, "{words}");
    }
    let view = |flows| View::new(vec![node("node1")], flows);
    let groups = Groups::new(By::Service, view(vec![one(), flow.clone()])).groups;
    let groups: Vec<_> =
        groups.iter().map(|group| (group.name.as_str(), group.flows, group.denied)).collect();
    assert_eq!(groups, [("front/read", 1, 1), ("front/write", 1, 1), ("shop/sql", 1, 0)]);
    for wide in [false, true] {
        let text = text::flows(&view(vec![flow.clone()]), wide);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("of front/read, front/write"), "{text}");
    }
    // An older agent does not send it.
    let mut json = serde_json::to_value(&flow).unwrap();
    assert_eq!(json["endpointOf"], serde_json::json!(["front/read", "front/write"]));
    json.as_object_mut().unwrap().remove("endpointOf");
    assert_eq!(serde_json::from_value::<Flow>(json).unwrap().endpoint_of, Vec::<String>::new());
}

#[test]
fn flows_are_added_up_by_what_they_have_in_common() {
    let want = |name: &str, flows, denied| (name.to_owned(), flows, denied);
    for (by, first, second) in [
        (By::Namespace, "shop -> shop", "other -> shop"),
        (By::Pod, "shop/web -> shop/db", "other/a -> shop/db"),
        (By::Service, "shop/sql", "-"),
        (By::Port, "tcp/15432", "tcp/5432"),
        (By::Verdict, "allow", "deny"),
        (By::Reason, "-", "policy_ingress"),
        (By::Node, "node1", "node2"),
    ] {
        assert_eq!(groups(by), [want(first, 2, 0), want(second, 1, 1)], "{by:?}");
    }
    let view = View::new(vec![], vec![one(), dropped()]);
    let sums = Groups::new(By::Verdict, view).groups;
    assert_eq!((sums[0].packets, sums[0].bytes), (18, 10_000));
}

#[test]
fn people_see_who_talks_to_whom_and_what_could_not_be_told() {
    let lost = Node { lost_events: 7, events: 100, ..node("node1") };
    let failed = Node::failed("node3".into(), "its agent's Pod p does not run: its phase is Pending".into());
    let mut view = View::new(vec![lost, failed], vec![one(), dropped()]);
    let text = text::flows(&view, false);
    for want in [
        "TCP shop/web -> shop/db:15432 (shop/sql)",
        "established",
        "480us",
        "TCP other/a -> shop/db:5432",
        "deny policy_ingress",
        "node node1: 7 of 100 events were too many at once",
        "node node3 has no answer",
    ] {
        assert!(text.contains(want), "{want} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    let wide = text::flows(&view, true);
    for want in ["shop/web[0]", "10.96.0.7:5432", "2026-01-01T00:00:10.000Z", "node2"] {
        assert!(wide.contains(want), "{want} in\n{wide}");
    }
    view.cut_to(1);
    assert!(text::flows(&view, false).contains("1 of 2 flows that match: --limit shows more"));
    assert!(view.has_errors());
    let read: View = serde_json::from_str(&serde_json::to_string(&view).unwrap()).unwrap();
    assert_eq!(read, view, "what a node prints is what is read of it");
}

#[test]
fn a_flow_is_shown_again_only_if_it_is_further() {
    let mut shown = Shown::default();
    let mut news = |flows: Vec<Flow>| shown.news(View::new(vec![], flows)).len();
    assert_eq!(news(vec![one(), dropped()]), 2);
    assert_eq!(news(vec![one(), dropped()]), 0);
    let further = Flow { client_packets: 11, last_seconds: 0, ..one() };
    assert_eq!(news(vec![further]), 0);
    let closed = Flow { state: "closed".into(), ..one() };
    assert_eq!(news(vec![closed.clone()]), 1);
    assert_eq!(news(vec![Flow { ended: true, ..closed }]), 1);
    let more = v1::Drop { packets: 4, ..denied() };
    assert_eq!(news(vec![Flow::denied("node2", more)]), 1);
}

/// A flow of few ends and times, so that many are of one path.
fn any_flow() -> impl Strategy<Value = Flow> {
    (0u8..3, 0u32..3, 0u64..4, 0u64..4, any::<bool>()).prop_map(|(node, port, began, lasts, translated)| {
        let mut flow = if translated { one() } else { other() };
        flow.nodes = vec![format!("node{node}")];
        flow.source.port = Some(40_000 + port);
        flow.client.port = Some(40_000 + port);
        flow.began_milliseconds = began * 10_000;
        flow.last_milliseconds = (began + lasts) * 10_000;
        flow.client_packets = u64::from(port) + 1;
        flow
    })
}

proptest! {
    /// Nothing is lost and nothing invented: each flow that goes in is in one that comes out, which no node sees twice.
    #[test]
    fn merging_keeps_everything_once(flows in prop::collection::vec(any_flow(), 0..30)) {
        let merged = merge(flows.clone());
        let seen: usize = merged.iter().map(|flow| flow.nodes.len()).sum();
        prop_assert_eq!(seen, flows.len());
        for flow in &merged {
            let mut nodes = flow.nodes.clone();
            nodes.dedup();
            prop_assert_eq!(&nodes, &flow.nodes);
            prop_assert!(flow.began_milliseconds <= flow.last_milliseconds);
        }
        for flow in &flows {
            let holds = |one: &Flow| {
                one.source == flow.source && one.backend.socket() == flow.backend.socket()
                    && one.nodes.contains(&flow.nodes[0]) && one.client_packets >= flow.client_packets
                    && one.began_milliseconds <= flow.began_milliseconds
                    && one.last_milliseconds >= flow.last_milliseconds
            };
            prop_assert!(merged.iter().any(holds));
        }
    }

    /// What one filter lets through, and what the same one with --not does, are all flows, each once.
    #[test]
    fn not_is_the_other_half(port in 0u16..3, flows in prop::collection::vec(any_flow(), 0..20)) {
        let conditions = [
            format!("port=tcp/{}", 15_431 + port),
            format!("verdict={}", ["allow", "audit", "deny"][usize::from(port)]),
            format!("service=shop/{}", ["sql", "x", "y"][usize::from(port)]),
        ];
        for condition in conditions {
            let condition: Condition = condition.parse().unwrap();
            let with = Filter { all: vec![condition.clone()], none: vec![] };
            let without = Filter { all: vec![], none: vec![condition] };
            prop_assert!(flows.iter().all(|flow| with.matches(flow) != without.matches(flow)));
        }
    }

    /// The sums of groups are those of the flows.
    #[test]
    fn groups_add_up(flows in prop::collection::vec(any_flow(), 0..30)) {
        let packets: u64 = flows.iter().map(|flow| flow.client_packets + flow.server_packets).sum();
        for by in [By::Namespace, By::Pod, By::Service, By::Port, By::Verdict, By::Reason, By::Node] {
            let groups = Groups::new(by, View::new(vec![], flows.clone())).groups;
            prop_assert_eq!(groups.iter().map(|group| group.packets).sum::<u64>(), packets);
            prop_assert_eq!(groups.iter().map(|group| group.flows).sum::<u64>(), flows.len() as u64);
        }
    }
}
