//! What is too much.

use objects::{Key, LabelSelector, NetworkPolicy, Operator, Peer, Requirement, Rule};
use policy::{LocalId, SetId};

use crate::build::*;

/// Each block has nearly all of the others inside it.
fn overlapping(name: &str, count: u32) -> NetworkPolicy {
    let rules = (0..count).map(|number| {
        let except = format!("10.{}.{}.0/24", number / 256, number % 256);
        rule(&[block("0.0.0.0/0", &[&except])], &[port(Tcp, number_of(number))])
    });
    NetworkPolicy { ingress: Some(rules.collect()), ..policy(name, "") }
}

fn number_of(number: u32) -> objects::Ports {
    crate::build::number(u16::try_from(number % 60_000).unwrap() + 1)
}

#[test]
fn a_policy_that_is_too_much_leaves_what_was_in_force_and_closes_new_pods() {
    let mut case = Case::new();
    case.policy(NetworkPolicy { ingress: Some([rule(&[], &[])].into()), ..policy("a/one", "") });
    case.policy(NetworkPolicy { egress: Some([].into()), ..policy("b/other", "") });
    case.pod(pod("b/other", "", "10.1.0.9"));
    case.judge.set_local(LocalId(2), local("b/other", "10.1.0.9"));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");
    let other = case.judge.set_of(LocalId(2));

    case.policy(overlapping("a/big", 5000));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");
    assert!(case.judge.is_withheld(SUBJECT) && !case.judge.is_withheld(LocalId(2)));
    assert_eq!(case.judge.set_of(LocalId(2)), other);
    let problems = case.judge.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].what, &*problems[0].object), ("policy_full", "NetworkPolicy a/big"));
    let key = |name| Key::namespaced("a", name);
    assert!(case.judge.withholds_policy(&key("big")) && !case.judge.withholds_policy(&key("one")));
    assert!(!case.judge.withholds_cluster_policy(&key("big")));

    case.pod(pod("a/new", "", "10.0.0.3"));
    case.judge.set_local(LocalId(3), local("a/new", "10.0.0.3"));
    case.judge.update();
    assert_eq!(case.judge.set_of(LocalId(3)), Some(SetId::CLOSED));
    assert!(case.judge.usage().classes < 10, "{:?}", case.judge.usage());
    // Whatever else changes.
    case.pod(pod("a/subject", "app=subject,x=y", "10.0.0.1"));
    case.namespace(objects::Namespace { reject: true, ..namespace("a", "team=a") });
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");

    // Less of it fits.
    case.policy(overlapping("a/big", 50));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");
    assert!(!case.judge.is_withheld(SUBJECT) && !case.judge.is_withheld(LocalId(3)));
    assert!(!case.judge.withholds_policy(&key("big")));
    assert_eq!(case.judge.problems(), []);
    assert_eq!(case.judge.set_of(LocalId(3)), case.judge.set_of(SUBJECT));
    assert_eq!(case.judge.usage().classes, 51);
}

#[test]
fn a_policy_that_is_deleted_is_too_much_no_more() {
    let mut case = Case::new();
    case.policy(overlapping("a/big", 5000));
    case.judge.update();
    assert_eq!(case.judge.set_of(SUBJECT), Some(SetId::CLOSED), "it is new");
    case.judge.delete_policy(&Key::namespaced("a", "big"));
    case.policy(NetworkPolicy { ingress: Some([].into()), ..policy("a/one", "") });
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "deny by a/one");
    assert_eq!(case.judge.problems(), []);
}

#[test]
fn many_that_are_too_much_together_are_refused_until_the_rest_fits() {
    let mut case = Case::new();
    for number in 0..50 {
        case.policy(overlapping(&format!("a/p{number}"), 100 * (number + 1)));
    }
    case.policy(NetworkPolicy { ingress: Some([].into()), ..policy("b/one", "") });
    case.pod(pod("b/other", "", "10.1.0.9"));
    case.judge.set_local(LocalId(2), local("b/other", "10.1.0.9"));
    case.judge.update();
    assert!(case.judge.is_withheld(SUBJECT) && !case.judge.is_withheld(LocalId(2)));
    assert!(!case.verdict_of(LocalId(2), Ingress, "10.0.0.2", None).allow);
    assert_eq!(case.judge.problems().len(), 1);
}

#[test]
fn selectors_that_match_nearly_all_of_many_kinds_are_too_much() {
    let mut case = Case::new();
    for number in 0..3000 {
        case.pod(pod(
            &format!("b/p{number}"),
            &format!("app=a{number}"),
            &format!("10.2.{}.{}", number / 256, number % 256),
        ));
    }
    let rules = |count: u32| -> Box<[Rule]> {
        let but = |number: u32| {
            let operator = Operator::NotIn([format!("a{number}").into()].into());
            let pods = LabelSelector([Requirement { key: "app".into(), operator }].into());
            rule(&[Peer::Pods { namespaces: Some(select("")), pods }], &[])
        };
        (0..count).map(but).collect()
    };
    case.policy(NetworkPolicy { ingress: Some(rules(20)), ..policy("a/one", "") });
    assert_eq!(case.decided(Ingress, "10.2.0.0", 80), "allow by a/one 1");
    case.policy(NetworkPolicy { ingress: Some(rules(3000)), ..policy("a/one", "") });
    assert_eq!(case.decided(Ingress, "10.2.0.0", 80), "allow by a/one 1");
    assert!(case.judge.is_withheld(SUBJECT));
}

#[test]
fn many_ports_for_everybody_are_too_much_with_many_peers() {
    let mut case = Case::new();
    let everybody = (0..4000).map(|number| rule(&[], &[port(Tcp, number_of(2 * number))]));
    let blocks = (0..4000).map(|number| {
        rule(&[block(&format!("10.{}.{}.0/24", number / 256, number % 256), &[])], &[port(Tcp, number_of(7))])
    });
    case.policy(NetworkPolicy { ingress: Some(everybody.clone().collect()), ..policy("a/one", "") });
    assert_eq!(case.decided(Ingress, "10.2.0.0", 4001), "allow by a/one 2000");
    case.policy(NetworkPolicy { ingress: Some(everybody.chain(blocks).collect()), ..policy("a/one", "") });
    assert_eq!(case.decided(Ingress, "10.2.0.0", 8), "deny by a/one");
    assert!(case.judge.is_withheld(SUBJECT));
}
