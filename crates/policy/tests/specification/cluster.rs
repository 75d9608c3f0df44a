//! ClusterNetworkPolicies.

use objects::{Action, ClusterNetworkPolicy, ClusterPeer, ClusterPort, ClusterRule, Ports, Tier};

use crate::build::*;

fn everybody() -> ClusterPeer {
    networks(&["0.0.0.0/0", "::/0"])
}

fn both(rules: &[ClusterRule], policy: ClusterNetworkPolicy) -> ClusterNetworkPolicy {
    ClusterNetworkPolicy { ingress: rules.into(), egress: rules.into(), ..policy }
}

fn case() -> Case {
    let mut case = Case::new();
    case.pod(pod("a/peer", "app=peer", "10.0.0.2,fd00::2"));
    case.pod(objects::Pod {
        ports: ports(&[("dns", Udp, 53), ("dns", Tcp, 54)]),
        ..pod("b/peer", "app=peer", "10.1.0.2,fd01::2")
    });
    case
}

#[test]
fn what_no_rule_matches_passes() {
    let mut case = case();
    let deny = cluster_rule(Action::Deny, &[cluster_peers("team=b", "")], None);
    case.cluster(both(&[deny], cluster_policy("one", Tier::Admin, 1)));
    for direction in [Ingress, Egress] {
        let passing = case.passing(direction, (Tcp, 80), &["10.0.0.2", "10.1.0.2", "fd01::2", "203.0.113.7"]);
        assert_eq!(passing, ["10.0.0.2", "203.0.113.7"]);
    }
    assert!(!case.verdict(Ingress, "10.1.0.2", None).allow, "a rule without protocols is about everything");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by nothing");
}

#[test]
fn a_policy_without_rules_does_not_matter() {
    let mut case = case();
    case.cluster(cluster_policy("one", Tier::Admin, 1));
    case.judge.update();
    assert_eq!(case.judge.set_of(SUBJECT), Some(policy::SetId::OPEN));
}

#[test]
fn the_subject_is_by_namespace_and_pod() {
    for (namespaces, pods, applies) in [
        ("", "", true),
        ("team=a", "", true),
        ("team=b", "", false),
        ("team=a", "app=subject", true),
        ("team=a", "app=peer", false),
    ] {
        let mut case = case();
        let policy = cluster_policy("one", Tier::Admin, 1);
        let policy = ClusterNetworkPolicy { namespaces: select(namespaces), pods: select(pods), ..policy };
        case.cluster(both(&[cluster_rule(Action::Deny, &[everybody()], None)], policy));
        assert_eq!(case.verdict(Ingress, "203.0.113.7", None).allow, !applies, "{namespaces} {pods}");
    }
}

#[test]
fn the_order_is_admin_by_priority_then_network_policies_then_baseline() {
    let mut case = case();
    let rules = |action, port| {
        let ports = [ClusterPort::Of(Tcp, number(port))];
        [cluster_rule(action, &[everybody()], Some(&ports))]
    };
    case.cluster(both(&rules(Action::Deny, 1), cluster_policy("z", Tier::Admin, 1)));
    case.cluster(both(&rules(Action::Accept, 1), cluster_policy("a", Tier::Admin, 2)));
    case.cluster(both(&rules(Action::Accept, 2), cluster_policy("c", Tier::Admin, 3)));
    case.cluster(both(&rules(Action::Pass, 3), cluster_policy("d", Tier::Admin, 4)));
    case.cluster(both(&rules(Action::Deny, 3), cluster_policy("e", Tier::Admin, 5)));
    let deny = cluster_rule(Action::Deny, &[everybody()], None);
    case.cluster(both(&[deny], cluster_policy("base", Tier::Baseline, 0)));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 1), "deny by z 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 2), "allow by c 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 3), "deny by base 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 4), "deny by base 0");
    case.policy(objects::NetworkPolicy {
        ingress: Some([rule(&[], &[port(Tcp, Ports::Range(2, 4))])].into()),
        ..policy("a/np", "")
    });
    assert_eq!(case.decided(Ingress, "10.0.0.2", 1), "deny by z 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 2), "allow by c 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 3), "allow by a/np 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 5), "deny by a/np");
    assert_eq!(case.decided(Egress, "10.0.0.2", 5), "deny by base 0", "it says nothing of that direction");
}

#[test]
fn of_equal_priority_the_order_is_by_name_and_told() {
    let mut case = case();
    for (name, action) in [("b", Action::Accept), ("a", Action::Deny), ("c", Action::Pass)] {
        let rules = [cluster_rule(action, &[everybody()], None)];
        case.cluster(both(&rules, cluster_policy(name, Tier::Admin, 7)));
    }
    case.cluster(cluster_policy("d", Tier::Baseline, 7));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "deny by a 0");
    let problems = case.judge.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].what, &*problems[0].object), ("policy_tie", "ClusterNetworkPolicy a"));
    assert!(problems[0].problem.contains("also that of b, c:"), "{problems:?}");
}

#[test]
fn rules_are_asked_in_order() {
    let mut case = case();
    let rule = |action, peer| cluster_rule(action, &[peer], None);
    let rules = [
        rule(Action::Pass, cluster_peers("team=b", "")),
        rule(Action::Accept, networks(&["10.0.0.0/16"])),
        rule(Action::Deny, everybody()),
    ];
    case.cluster(both(&rules, cluster_policy("one", Tier::Admin, 1)));
    assert_eq!(case.decided(Egress, "10.1.0.2", 80), "allow by nothing");
    assert_eq!(case.decided(Egress, "10.0.0.2", 80), "allow by one 1");
    assert_eq!(case.decided(Egress, "203.0.113.7", 80), "deny by one 2");
    assert_eq!(case.decided(Egress, "2001:db8::1", 80), "deny by one 2");
}

#[test]
fn names_of_ports_are_of_any_protocol() {
    let mut case = case();
    let dns = [ClusterPort::Named("dns".into())];
    let deny = cluster_rule(Action::Deny, &[cluster_peers("", "")], Some(&dns));
    case.cluster(both(&[deny], cluster_policy("one", Tier::Admin, 1)));
    let all = [(Udp, 53), (Tcp, 53), (Udp, 54), (Tcp, 54)];
    let denied = |case: &mut Case, direction, peer: &str| {
        all.map(|port| !case.verdict(direction, peer, Some(port)).allow)
    };
    assert_eq!(denied(&mut case, Egress, "10.1.0.2"), [true, false, false, true]);
    assert_eq!(denied(&mut case, Egress, "10.0.0.2"), [false; 4]);
    assert_eq!(denied(&mut case, Ingress, "10.1.0.2"), [false; 4], "the subject has none");
    let subject = pod("a/subject", "app=subject", "10.0.0.1,fd00::1");
    case.pod(objects::Pod { ports: ports(&[("dns", Tcp, 53)]), ..subject });
    assert_eq!(denied(&mut case, Ingress, "10.1.0.2"), [false, true, false, false]);
    assert_eq!(denied(&mut case, Ingress, "203.0.113.7"), [false; 4], "it is no Pod");
}

#[test]
fn nodes_are_their_addresses() {
    let mut case = case();
    let mut one = node("node1", "zone=x", &["192.0.2.1", "2001:db8::1"], &["10.0.1.0/24", "fd00:1::/64"]);
    one.other_ips = vec!["198.51.100.1".parse().unwrap()];
    case.node(one).node(node("node2", "zone=y", &["192.0.2.2"], &["10.0.2.0/24"]));
    let accept = cluster_rule(Action::Accept, &[ClusterPeer::Nodes(select("zone=x"))], None);
    let deny = cluster_rule(Action::Deny, &[everybody()], None);
    case.cluster(both(&[accept, deny], cluster_policy("one", Tier::Admin, 1)));
    let own = ["192.0.2.1", "2001:db8::1", "198.51.100.1", "10.0.1.2", "fd00:1::2"];
    assert_eq!(case.passing(Egress, (Tcp, 80), &own), own);
    let others = ["192.0.2.2", "10.0.2.2", "10.0.1.3", "10.0.0.2", "203.0.113.7"];
    assert_eq!(case.passing(Egress, (Tcp, 80), &others), [""; 0]);
    case.node(node("node2", "zone=x", &["192.0.2.2"], &["10.0.2.0/24"]));
    assert_eq!(case.passing(Egress, (Tcp, 80), &others), ["192.0.2.2", "10.0.2.2"]);
    case.judge.delete_node(&objects::Key::new("node2"));
    assert_eq!(case.passing(Egress, (Tcp, 80), &others), [""; 0]);
}

#[test]
fn what_is_not_known_fails_closed() {
    let tcp = [ClusterPort::Of(Tcp, number(80))];
    let unknown = [ClusterPort::Of(Tcp, number(80)), ClusterPort::Unknown];
    let known = cluster_peers("team=b", "");
    for (action, peers, ports, denied) in [
        // Who is not known: nobody is accepted by that, everybody is denied.
        (Action::Accept, vec![ClusterPeer::Unknown], None, ""),
        (Action::Deny, vec![ClusterPeer::Unknown], Some(&tcp[..]), "all"),
        (Action::Pass, vec![known.clone(), ClusterPeer::Unknown], Some(&tcp[..]), "all"),
        (Action::Deny, vec![], None, "all"),
        // Which port is not known: every one of these peers.
        (Action::Accept, vec![known.clone()], Some(&unknown[1..]), ""),
        (Action::Deny, vec![known.clone()], Some(&unknown[..]), "b"),
        (Action::Pass, vec![known.clone()], Some(&unknown[..]), "b"),
        (Action::Pass, vec![known.clone()], Some(&[]), "b"),
    ] {
        let mut case = case();
        let rules = [cluster_rule(action, &peers, ports)];
        case.cluster(both(&rules, cluster_policy("one", Tier::Admin, 1)));
        for direction in [Ingress, Egress] {
            for (peer, port) in
                [("10.1.0.2", Some((Tcp, 443))), ("10.1.0.2", None), ("203.0.113.7", Some((Udp, 1)))]
            {
                let want = match denied {
                    "all" => false,
                    "b" => peer != "10.1.0.2",
                    _ => true,
                };
                assert_eq!(case.verdict(direction, peer, port).allow, want, "{rules:?} {peer} {port:?}");
            }
        }
        if action == Action::Accept {
            let port = case.verdict(Ingress, "10.1.0.2", Some((Tcp, 80)));
            assert_eq!(port.rule, policy::RuleId::NONE, "it accepts nothing");
        }
    }
    // The rest of what an accepting rule says holds.
    let mut case = case();
    let accept = cluster_rule(Action::Accept, &[known, ClusterPeer::Unknown], Some(&unknown));
    let deny = cluster_rule(Action::Deny, &[everybody()], None);
    case.cluster(both(&[accept, deny], cluster_policy("one", Tier::Admin, 1)));
    assert_eq!(case.ports(Ingress, "10.1.0.2", &[(Tcp, 80), (Tcp, 81)]), [80]);
    assert_eq!(case.ports(Ingress, "10.0.0.2", &[(Tcp, 80), (Tcp, 81)]), [0; 0]);
}
