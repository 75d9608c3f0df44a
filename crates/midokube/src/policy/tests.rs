use clap::Parser;
use nodeapi::v1;

use super::{PolicyArgs, PolicyCommand, explain, list};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: PolicyArgs,
}

fn parse(words: &[&str]) -> Result<PolicyArgs, String> {
    let line = Line::try_parse_from([&["policy"], words].concat());
    line.map(|line| line.args).map_err(|error| error.to_string())
}

fn request(words: &[&str]) -> Result<v1::ExplainPolicyRequest, String> {
    match parse(&[&["explain"], words].concat())?.command {
        Some(PolicyCommand::Explain(args)) => Ok(args.request()),
        _ => Err("not explain".into()),
    }
}

#[test]
fn a_pod_or_all_of_them_are_listed() {
    assert_eq!(parse(&[]).unwrap().list.pod, None);
    assert_eq!(parse(&["default/web"]).unwrap().list.pod.unwrap().to_string(), "default/web");
    for bad in ["web", "a/b/c"] {
        assert!(parse(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn ends_are_pods_or_addresses_and_ports_have_protocols() {
    let pod = |name: &str| v1::PolicyEnd {
        pod: Some(v1::PodName { namespace: "default".into(), name: name.into() }),
        address: String::new(),
    };
    let address = |address: &str| v1::PolicyEnd { pod: None, address: address.into() };
    let asked = |source, destination, protocol: &str, port| v1::ExplainPolicyRequest {
        source: Some(source),
        destination: Some(destination),
        protocol: protocol.into(),
        port,
    };
    for (words, want) in [
        (["default/a", "default/b", "tcp/80"], asked(pod("a"), pod("b"), "tcp", 80)),
        (["default/a", "192.0.2.1", "UDP/53"], asked(pod("a"), address("192.0.2.1"), "udp", 53)),
        (["fd44::3", "default/b", "sctp/65535"], asked(address("fd44::3"), pod("b"), "sctp", 65_535)),
        (["default/a", "2001:db8::1", "icmp"], asked(pod("a"), address("2001:db8::1"), "icmp", 0)),
    ] {
        assert_eq!(request(&words), Ok(want), "{words:?}");
    }
    for bad in ["80", "tcp", "tcp/0", "tcp/65536", "icmp/8", "gre/1", "tcp/80/1", ""] {
        let said = request(&["default/a", "default/b", bad]).unwrap_err();
        assert!(said.contains("tcp/PORT"), "{bad}: {said}");
    }
    for bad in ["a", "10.0.0", "a/b/c", ""] {
        let said = request(&[bad, "default/b", "tcp/80"]).unwrap_err();
        assert!(said.contains("a Pod (for example default/web) or an address"), "{bad}: {said}");
    }
}

fn counts(allowed: u64, denied: u64, audited: u64) -> Option<v1::PolicyCounts> {
    Some(v1::PolicyCounts { allowed, denied, audited })
}

fn reply() -> v1::ListPoliciesReply {
    let applied = |tier: &str, policy: &str| v1::AppliedPolicy {
        direction: "ingress".into(),
        tier: tier.into(),
        policies: vec![policy.into()],
        counts: counts(7, 3, 0),
        ..v1::AppliedPolicy::default()
    };
    let rule = v1::PolicyRule { index: 0, name: "dns".into(), counts: counts(7, 0, 0) };
    let pod = |name: &str, state: &str| v1::PodPolicies {
        namespace: "default".into(),
        name: name.into(),
        addresses: vec!["10.244.1.3".into(), "fd44:0:0:1::3".into()],
        state: state.into(),
        ..v1::PodPolicies::default()
    };
    let policies = vec![
        v1::AppliedPolicy { priority: Some(10), rules: vec![rule], ..applied("admin", "base") },
        v1::AppliedPolicy { audit: true, ..applied("networkPolicy", "default/web") },
        v1::AppliedPolicy {
            default_deny: true,
            counts: counts(0, 4, 2),
            ..applied("networkPolicy", "default/web")
        },
        v1::AppliedPolicy { not_asked: true, priority: Some(5), ..applied("baseline", "last") },
    ];
    v1::ListPoliciesReply {
        pods: vec![
            pod("client", "open"),
            v1::PodPolicies { reason: "its object is not known".into(), ..pod("new", "closed") },
            v1::PodPolicies { set: 7, policies, ..pod("web", "policed") },
        ],
        problems: Vec::new(),
        notes: vec!["egress[0] of NetworkPolicy default/x: 10.96.0.0/16 is of Services".into()],
    }
}

#[test]
fn policies_stand_in_their_order_with_what_they_decided() {
    let shown = |wide| list::text(&list::View::from(reply()), wide);
    let narrow = shown(false);
    for want in [
        "Pod default/client",
        "open: no policy applies",
        "CLOSED: its object is not known",
        "policed, set 7",
        "default deny",
        "0 rules, audit",
        "not asked: NetworkPolicies apply",
        "admin 10",
        "10.96.0.0/16 is of Services",
    ] {
        assert!(narrow.contains(want), "{want} in {narrow}");
    }
    assert!(narrow.lines().all(|line| line.chars().count() <= 100), "{narrow}");
    assert!(!narrow.contains("ingress[0]"), "{narrow}");
    assert!(shown(true).contains("  ingress[0] \"dns\""), "{}", shown(true));
    let empty = v1::ListPoliciesReply::default();
    assert_eq!(list::text(&list::View::from(empty), false), " none");
}

#[test]
fn an_explanation_says_what_is_not_decided_here() {
    let decision = |verdict: &str, why: &str| v1::PolicyDecision {
        verdict: verdict.into(),
        why: why.into(),
        set: 7,
        class: 3,
        list: 9,
        ..v1::PolicyDecision::default()
    };
    let path = v1::PolicyPath {
        source: "10.244.1.3".into(),
        destination: "10.244.2.3:80".into(),
        egress: Some(decision("deny", "the default deny of NetworkPolicy default/web denies it")),
        ingress: None,
        notes: vec!["Pod default/b is of node node2".into()],
    };
    let view = explain::View::from(v1::ExplainPolicyReply { paths: vec![path.clone()] });
    let text = explain::text(&view, false);
    for want in [
        "10.244.1.3 to 10.244.2.3:80",
        "denied",
        "default deny",
        "not decided on this node",
        "is of node node2",
    ] {
        assert!(text.contains(want), "{want} in {text}");
    }
    assert!(!text.contains("class 3") && explain::text(&view, true).contains("set 7, class 3, list 9"));
    assert!(!view.passes());
    let passing = v1::PolicyPath { egress: Some(decision("audit", "")), ..path };
    assert!(explain::View::from(v1::ExplainPolicyReply { paths: vec![passing] }).passes());
}
