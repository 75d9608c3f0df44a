//! What is only asked what it would do, and who is told what is denied.

use objects::{Action, ClusterNetworkPolicy, Namespace, NetworkPolicy, Tier};

use crate::build::*;

fn isolating(name: &str, audit: bool, port_number: u16) -> NetworkPolicy {
    NetworkPolicy {
        ingress: Some([rule(&[], &[port(Tcp, number(port_number))])].into()),
        audit,
        ..policy(name, "")
    }
}

fn cluster(name: &str, tier: Tier, audit: bool, action: Action) -> ClusterNetworkPolicy {
    let rules = [cluster_rule(action, &[networks(&["10.0.0.0/8"])], None)];
    ClusterNetworkPolicy { ingress: rules.into(), audit, ..cluster_policy(name, tier, 1) }
}

#[test]
fn an_audited_policy_denies_nothing_and_is_told() {
    let mut case = Case::new();
    case.policy(isolating("a/one", true, 80));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 81), "audit by a/one");
}

#[test]
fn where_another_policy_denies_it_is_denied_by_that() {
    let mut case = Case::new();
    case.policy(isolating("a/one", true, 80)).policy(isolating("a/two", false, 81));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0", "what it allows is allowed");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 81), "allow by a/two 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 82), "deny by a/two");
    case.cluster(cluster("admin", Tier::Admin, true, Action::Deny));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 81), "audit by admin 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 82), "deny by a/two");
    // By that one alone it would pass.
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "deny by a/two");
}

#[test]
fn where_all_network_policies_are_audited_the_baseline_is_asked() {
    let mut case = Case::new();
    case.policy(isolating("a/one", true, 80));
    case.cluster(cluster("base", Tier::Baseline, false, Action::Deny));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "allow by a/one 0");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 81), "deny by base 0");
    assert_eq!(case.decided(Ingress, "203.0.113.7", 81), "audit by a/one");
}

#[test]
fn a_pass_of_an_audited_policy_that_makes_another_deny_is_audited() {
    let mut case = Case::new();
    case.cluster(cluster("a", Tier::Admin, true, Action::Pass));
    case.cluster(ClusterNetworkPolicy { priority: 2, ..cluster("b", Tier::Admin, false, Action::Accept) });
    case.policy(isolating("a/one", false, 80));
    assert_eq!(case.decided(Ingress, "10.0.0.2", 81), "audit by a/one");
    assert_eq!(case.decided(Ingress, "203.0.113.7", 81), "deny by a/one");
}

#[test]
fn to_pods_of_an_audited_namespace_nothing_is_denied() {
    let mut case = Case::new();
    case.policy(isolating("a/one", false, 80));
    case.cluster(cluster("base", Tier::Admin, false, Action::Deny));
    case.namespace(Namespace { audit: true, ..namespace("a", "") });
    assert_eq!(case.decided(Ingress, "203.0.113.7", 81), "audit by a/one");
    assert_eq!(case.decided(Ingress, "10.0.0.2", 80), "audit by base 0");
    assert_eq!(case.decided(Ingress, "203.0.113.7", 80), "allow by a/one 0");
    case.namespace(namespace("a", ""));
    assert_eq!(case.decided(Ingress, "203.0.113.7", 81), "deny by a/one");
}

#[test]
fn senders_are_told_where_the_namespace_says_so() {
    let mut case = Case::new();
    case.policy(isolating("a/one", false, 80));
    assert!(!case.verdict(Ingress, "10.0.0.2", Some((Tcp, 81))).reject, "denied silently");
    case.namespace(Namespace { reject: true, ..namespace("a", "") });
    assert!(case.verdict(Ingress, "10.0.0.2", Some((Tcp, 81))).reject);
    assert!(!case.verdict(Ingress, "10.0.0.2", Some((Tcp, 80))).reject);
    case.namespace(Namespace { reject: true, audit: true, ..namespace("a", "") });
    let verdict = case.verdict(Ingress, "10.0.0.2", Some((Tcp, 81)));
    assert!(verdict.allow && verdict.audit && !verdict.reject);
}
