//! NetworkPolicies.

use objects::{PolicyPort, Ports};

use crate::build::*;

const PEERS: [&str; 4] = ["10.0.0.2", "fd00::2", "10.1.0.2", "203.0.113.7"];

/// Pods of both namespaces.
fn case() -> Case {
    let mut case = Case::new();
    case.pod(pod("a/peer", "app=peer", "10.0.0.2,fd00::2"));
    case.pod(pod("b/peer", "app=peer", "10.1.0.2,fd01::2"));
    case
}

fn with(ingress: Option<&[objects::Rule]>, egress: Option<&[objects::Rule]>) -> Case {
    let mut case = case();
    case.policy(objects::NetworkPolicy {
        ingress: ingress.map(Into::into),
        egress: egress.map(Into::into),
        ..policy("a/one", "app=subject")
    });
    case
}

#[test]
fn without_a_policy_everything_passes() {
    let mut case = case();
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEERS), PEERS);
    assert_eq!(case.judge.set_of(SUBJECT), Some(policy::SetId::OPEN));
    // Of another namespace, and of another Pod.
    case.policy(objects::NetworkPolicy { ingress: Some([].into()), ..policy("b/one", "") });
    case.policy(objects::NetworkPolicy { ingress: Some([].into()), ..policy("a/one", "app=peer") });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEERS), PEERS);
    assert_eq!(case.judge.set_of(SUBJECT), Some(policy::SetId::OPEN));
}

#[test]
fn no_rules_isolate_in_their_direction_only() {
    let mut case = with(Some(&[]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEERS), [""; 0]);
    assert_eq!(case.passing(Egress, (Tcp, 80), &PEERS), PEERS);
    assert!(!case.verdict(Ingress, "10.0.0.2", None).allow, "echo is denied, too");
    let mut case = with(None, Some(&[]));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEERS), PEERS);
    assert_eq!(case.passing(Egress, (Tcp, 80), &PEERS), [""; 0]);
    assert_eq!(case.decided(Egress, "10.0.0.2", 80), "deny by a/one");
}

#[test]
fn a_rule_of_nothing_allows_everything() {
    let mut case = with(Some(&[rule(&[], &[])]), Some(&[rule(&[], &[])]));
    for direction in [Ingress, Egress] {
        assert_eq!(case.passing(direction, (Udp, 53), &PEERS), PEERS);
        assert!(case.verdict(direction, "203.0.113.7", None).allow);
        assert_eq!(case.decided(direction, "203.0.113.7", 80), "allow by a/one 0");
    }
}

#[test]
fn lists_of_which_all_was_wrong_allow_nothing() {
    for (peers, ports) in [(Some([].into()), None), (None, Some([].into()))] {
        let wrong = objects::Rule { peers, ports };
        let mut case = with(Some(std::slice::from_ref(&wrong)), Some(std::slice::from_ref(&wrong)));
        for direction in [Ingress, Egress] {
            assert_eq!(case.passing(direction, (Tcp, 80), &PEERS), [""; 0]);
        }
    }
}

#[test]
fn peers_are_of_the_own_namespace_or_of_selected_ones() {
    for (peer, passing) in [
        (own(""), vec!["10.0.0.2", "fd00::2"]),
        (own("app=peer"), vec!["10.0.0.2", "fd00::2"]),
        (own("app=other"), vec![]),
        (peers("", ""), vec!["10.0.0.2", "fd00::2", "10.1.0.2"]),
        (peers("team=b", ""), vec!["10.1.0.2"]),
        (peers("team=b", "app=peer"), vec!["10.1.0.2"]),
        (peers("team=b", "app=other"), vec![]),
        (peers("team=c", ""), vec![]),
        (block("0.0.0.0/0", &[]), vec!["10.0.0.2", "10.1.0.2", "203.0.113.7"]),
        (block("10.0.0.0/8", &["10.1.0.0/16"]), vec!["10.0.0.2"]),
        (block("fd00::/64", &[]), vec!["fd00::2"]),
        (block("10.1.0.2/32", &[]), vec!["10.1.0.2"]),
    ] {
        let mut case = with(Some(&[rule(std::slice::from_ref(&peer), &[])]), None);
        assert_eq!(case.passing(Ingress, (Tcp, 80), &PEERS), passing, "{peer:?}");
        assert_eq!(case.passing(Egress, (Tcp, 80), &PEERS), PEERS);
        let mut case = with(None, Some(&[rule(std::slice::from_ref(&peer), &[])]));
        assert_eq!(case.passing(Egress, (Tcp, 80), &PEERS), passing, "{peer:?}");
    }
}

#[test]
fn an_exception_cuts_its_own_block_only() {
    let cut = block("10.0.0.0/8", &["10.1.0.0/16", "10.1.0.0/24", "10.2.0.0/16"]);
    let mut case = with(Some(&[rule(std::slice::from_ref(&cut), &[])]), None);
    let peers = ["10.0.0.2", "10.1.0.2", "10.1.9.9", "10.2.0.1", "10.3.0.1"];
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), ["10.0.0.2", "10.3.0.1"]);
    // Another peer of the rule, and another rule.
    let more = block("10.1.0.0/30", &[]);
    let mut case = with(Some(&[rule(&[cut.clone(), more.clone()], &[])]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), ["10.0.0.2", "10.1.0.2", "10.3.0.1"]);
    let mut case = with(Some(&[rule(std::slice::from_ref(&cut), &[]), rule(&[more], &[])]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), ["10.0.0.2", "10.1.0.2", "10.3.0.1"]);
    // A selector allows what the block does not.
    let mut case = with(Some(&[rule(&[cut, crate::build::peers("team=b", "")], &[])]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), ["10.0.0.2", "10.1.0.2", "10.3.0.1"]);
}

#[test]
fn exceptions_cut_what_they_have_in_common_with_the_block() {
    let peers = ["10.0.0.2", "10.1.0.2"];
    let mut case = with(Some(&[rule(&[block("10.0.0.0/16", &["10.0.0.0/16"])], &[])]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), [""; 0]);
    let mut case = with(Some(&[rule(&[block("10.0.0.0/16", &["0.0.0.0/0"])], &[])]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), [""; 0]);
    let mut case = with(Some(&[rule(&[block("10.0.0.0/16", &["10.1.0.0/16"])], &[])]), None);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &peers), ["10.0.0.2"]);
}

#[test]
fn ports_are_of_their_protocol() {
    let all =
        [(Tcp, 79), (Tcp, 80), (Tcp, 81), (Udp, 80), (Tcp, 8000), (Tcp, 8005), (Tcp, 8010), (Tcp, 8011)];
    for (ports, passing) in [
        (vec![port(Tcp, number(80))], vec![80]),
        (vec![port(Udp, number(80))], vec![80]),
        (vec![port(Tcp, Ports::All)], vec![79, 80, 81, 8000, 8005, 8010, 8011]),
        (vec![port(Udp, Ports::All)], vec![80]),
        (vec![port(Tcp, Ports::Range(8000, 8010))], vec![8000, 8005, 8010]),
        (vec![port(Tcp, Ports::Range(80, 79))], vec![]),
        (vec![port(Tcp, number(80)), port(Tcp, Ports::Range(81, 8004))], vec![80, 81, 8000]),
        (vec![port(objects::Protocol::Sctp, Ports::All)], vec![]),
    ] {
        let mut case = with(Some(&[rule(&[], &ports)]), None);
        assert_eq!(case.ports(Ingress, "10.0.0.2", &all), passing, "{ports:?}");
        assert!(!case.verdict(Ingress, "10.0.0.2", None).allow, "what has no port is in no rule with ports");
        let by_udp = case.verdict(Ingress, "10.0.0.2", Some((Udp, 80))).allow;
        assert_eq!(by_udp, ports.iter().any(|port| port.protocol == Udp), "{ports:?}");
    }
}

fn http() -> [PolicyPort; 1] {
    [port(Tcp, named("http"))]
}

#[test]
fn names_of_ports_are_looked_up_at_the_pod_that_traffic_comes_to() {
    let mut case = with(Some(&[rule(&[], &http())]), None);
    let all = [(Tcp, 80), (Udp, 80), (Tcp, 8080), (Udp, 8081), (Tcp, 8081)];
    assert_eq!(case.ports(Ingress, "10.0.0.2", &all), [0; 0], "not found is nothing, not everything");
    let subject = pod("a/subject", "app=subject", "10.0.0.1,fd00::1");
    let several = ports(&[("http", Tcp, 8080), ("http", Udp, 8081), ("dns", Udp, 80), ("http", Tcp, 80)]);
    case.pod(objects::Pod { ports: several, ..subject.clone() });
    assert_eq!(case.ports(Ingress, "10.0.0.2", &all), [80, 8080]);
    assert!(!case.verdict(Ingress, "10.0.0.2", Some((Udp, 80))).allow);
    case.pod(subject);
    assert_eq!(case.ports(Ingress, "10.0.0.2", &all), [0; 0]);
}

#[test]
fn names_of_ports_of_peers_are_looked_up_at_each_of_them() {
    let all = [(Tcp, 80), (Tcp, 8080), (Tcp, 9090), (Udp, 9090)];
    for peer in [peers("", "app=peer"), block("10.0.0.0/8", &[])] {
        let mut case = with(None, Some(&[rule(std::slice::from_ref(&peer), &http())]));
        let peer = |name: &str, address: &str, port| objects::Pod {
            ports: ports(&[("http", Tcp, port), ("http", Udp, 9090)]),
            ..pod(name, "app=peer", address)
        };
        case.pod(peer("a/peer", "10.0.0.2,fd00::2", 8080)).pod(peer("b/peer", "10.1.0.2,fd01::2", 9090));
        assert_eq!(case.ports(Egress, "10.0.0.2", &all), [8080]);
        assert_eq!(case.ports(Egress, "10.1.0.2", &all), [9090]);
        assert!(!case.verdict(Egress, "10.1.0.2", Some((Udp, 9090))).allow);
        assert_eq!(case.ports(Egress, "10.9.9.9", &all), [0; 0], "nobody's address has no names");
    }
    // Of everybody.
    let mut case = with(None, Some(&[rule(&[], &http())]));
    case.pod(objects::Pod { ports: ports(&[("http", Tcp, 80)]), ..pod("b/peer", "", "10.1.0.2") });
    assert_eq!(case.ports(Egress, "10.1.0.2", &all), [80]);
    assert_eq!(case.ports(Egress, "10.0.0.2", &all), [0; 0]);
}

#[test]
fn policies_are_added_up_and_the_first_rule_by_name_is_told() {
    let mut case = with(Some(&[rule(&[own("app=peer")], &[port(Tcp, number(80))])]), None);
    case.policy(objects::NetworkPolicy {
        ingress: Some([rule(&[], &[port(Tcp, number(81))]), rule(&[], &[port(Tcp, number(80))])].into()),
        ..policy("a/two", "")
    });
    case.policy(objects::NetworkPolicy { ingress: Some([].into()), ..policy("a/three", "") });
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");
    assert_eq!(case.decided(Ingress, "10.1.0.2", 80), "allow by a/two 1");
    assert_eq!(case.decided(Ingress, "10.1.0.2", 81), "allow by a/two 0");
    assert_eq!(case.decided(Ingress, "10.1.0.2", 82), "deny by a/one+a/three+a/two");
    case.judge.delete_policy(&objects::Key::namespaced("a", "two"));
    assert_eq!(case.decided(Ingress, "10.1.0.2", 80), "deny by a/one+a/three");
}

#[test]
fn selectors_ask_for_all_that_they_have() {
    use objects::{LabelSelector, Operator, Requirement};
    let one = |operator| LabelSelector([Requirement { key: "app".into(), operator }].into());
    let values = || ["peer".into(), "x".into()].into();
    for (pods, passing) in [
        (one(Operator::In(values())), vec!["10.0.0.2"]),
        (one(Operator::NotIn(values())), vec!["10.0.0.3", "10.0.0.4"]),
        (one(Operator::Exists), vec!["10.0.0.2", "10.0.0.3"]),
        (one(Operator::DoesNotExist), vec!["10.0.0.4"]),
        (select("app=peer,tier=web"), vec!["10.0.0.2"]),
        (select("app=peer,tier=db"), vec![]),
    ] {
        let peer = objects::Peer::Pods { namespaces: None, pods };
        let mut case = with(Some(&[rule(std::slice::from_ref(&peer), &[])]), None);
        case.pod(pod("a/peer", "app=peer,tier=web", "10.0.0.2"));
        case.pod(pod("a/other", "app=other", "10.0.0.3")).pod(pod("a/none", "tier=web", "10.0.0.4"));
        let all = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
        assert_eq!(case.passing(Ingress, (Tcp, 80), &all), passing, "{peer:?}");
    }
}
