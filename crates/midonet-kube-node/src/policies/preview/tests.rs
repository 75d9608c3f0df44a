use std::sync::atomic::Ordering;

use datapath::{Limits, Port, Role};

use super::super::again::{Ends, judge_again};
use super::super::news::News;
use super::super::tests::{A, Tables, add, cluster_policy, delta, deny, known, pod};
use super::*;
use crate::backend::Whereabouts;

const HERE: &str = "10.0.0.7";
const FAR: &str = "10.0.1.9";
/// What [`cluster_policy`] denies.
const DENIED: &str = "10.96.1.9";

/// The Pod A of this node, and another of its namespace elsewhere.
fn scene() -> (Policies, Tables) {
    let (policies, tables) = known();
    add(&policies, A, "a");
    settle(&policies, &tables, News::Pods(delta(vec![pod("a", &[HERE]), pod("far", &[FAR])], vec![], true)));
    tables.take();
    (policies, tables)
}

fn settle(policies: &Policies, tables: &Tables, news: News) {
    policies.settle(tables, vec![news]).unwrap();
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Where a connection between the Pod A and another address is denied.
fn denied(snapshot: &Snapshot, other: &str, direction: Direction) -> Option<Direction> {
    let port = Port {
        ifindex: A.0,
        mac: [2, 0, 0, 0, 0, 7],
        addresses: vec![ip(HERE)],
        role: Role::Pod,
        limits: Limits::default(),
        set: 0,
    };
    let at = Whereabouts::new(&[port], &BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new());
    let ends = Ends {
        client: ip(HERE),
        server: ip(other),
        port: Some((Protocol::Tcp, 80)),
        client_ifindex: A.0,
        server_ifindex: 0,
        translated: false,
    };
    let ends = match direction {
        Direction::Egress => ends,
        Direction::Ingress => {
            Ends { client: ends.server, server: ends.client, client_ifindex: 0, server_ifindex: A.0, ..ends }
        }
    };
    judge_again(&ends, &at, snapshot).denied()
}

fn apply(policy: NetworkPolicy) -> Candidates {
    Candidates { policies: vec![policy], ..Candidates::default() }
}

fn delete(name: PolicyName) -> Candidates {
    Candidates { deleted: vec![name], ..Candidates::default() }
}

#[test]
fn what_would_be_is_what_comes_and_nothing_comes_of_asking() {
    use Direction::{Egress, Ingress};
    let (policies, tables) = scene();
    let ask = |snapshot: &Snapshot| {
        [(FAR, Ingress), (FAR, Egress), (DENIED, Egress)]
            .map(|(other, direction)| denied(snapshot, other, direction).is_some())
    };
    let cluster = |name| Candidates { cluster_policies: vec![cluster_policy(name)], ..Candidates::default() };
    let steps: [(Candidates, News, [bool; 3]); 5] = [
        (apply(deny("shop")), News::Policies(delta(vec![deny("shop")], vec![], true)), [true, false, false]),
        (
            cluster("base"),
            News::ClusterPolicies(delta(vec![cluster_policy("base")], vec![], true)),
            [true, false, true],
        ),
        // It is replaced by one that is only audited.
        (
            apply(NetworkPolicy { audit: true, ..deny("shop") }),
            News::Policies(delta(vec![NetworkPolicy { audit: true, ..deny("shop") }], vec![], true)),
            [false, false, true],
        ),
        (
            delete(PolicyName::Cluster(Key::new("base"))),
            News::ClusterPolicies(delta(vec![], vec![cluster_policy("base")], true)),
            [false; 3],
        ),
        // Nobody of that namespace is here.
        (apply(deny("other")), News::Policies(delta(vec![deny("other")], vec![], true)), [false; 3]),
    ];
    let mut now = [false; 3];
    for (candidates, news, want) in steps {
        let mut snapshot = policies.snapshot().unwrap();
        assert_eq!(ask(&snapshot), now);
        assert!(snapshot.change(candidates).pods.is_empty());
        assert_eq!(ask(&snapshot), want);
        assert_eq!(ask(&policies.snapshot().unwrap()), now, "asking changes nothing");
        settle(&policies, &tables, news);
        now = want;
        assert_eq!(ask(&policies.snapshot().unwrap()), now);
    }
}

#[test]
fn a_pod_whose_object_is_not_known_would_be_closed_by_the_first_policy_of_its_namespace() {
    let (policies, tables) = known();
    add(&policies, A, "a");
    policies.settle(&tables, vec![]).unwrap();
    let mut snapshot = policies.snapshot().unwrap();
    assert_eq!(snapshot.set_of(A.0), SetId::OPEN);
    assert_eq!(snapshot.set_of(99), SetId::CLOSED, "there is no such port");
    snapshot.change(apply(deny("shop")));
    assert_eq!(snapshot.set_of(A.0), SetId::CLOSED);
    assert_eq!(denied(&snapshot, FAR, Direction::Ingress), Some(Direction::Ingress));
}

#[test]
fn the_rule_that_decides_has_its_name_and_what_is_wrong_is_told() {
    let (policies, tables) = scene();
    let mut snapshot = policies.snapshot().unwrap();
    let [deny_name, gone] = ["deny", "gone"].map(|name| PolicyName::Network(Key::namespaced("shop", name)));
    assert!(!snapshot.has(&deny_name) && snapshot.in_force);
    snapshot.change(apply(deny("shop")));
    assert!(snapshot.has(&deny_name) && !snapshot.has(&gone) && snapshot.problems().is_empty());
    let verdict = snapshot.verdict(snapshot.set_of(A.0), Direction::Ingress, ip(FAR), None).unwrap();
    assert!(!verdict.allow);
    assert_eq!(*snapshot.rule(verdict.rule).unwrap().policies, [Key::namespaced("shop", "deny")]);
    let unknown = snapshot.verdict(SetId(4_000), Direction::Ingress, ip(FAR), None);
    assert_eq!(unknown, None, "no such set");
    let candidates = Candidates {
        cluster_policies: vec![cluster_policy("one"), cluster_policy("two")],
        ..Candidates::default()
    };
    let changes = snapshot.change(candidates);
    let problems = snapshot.problems();
    assert_eq!(problems.iter().map(|problem| problem.what).collect::<Vec<_>>(), ["policy_tie"]);
    assert_eq!(does_not_fit(&tables, changes.clone()).unwrap(), None);
    tables.full.store(true, Ordering::Relaxed);
    let full = does_not_fit(&tables, changes).unwrap().unwrap();
    assert!(full.contains("--max-policy-entries"), "{full}");
}

#[test]
fn nothing_is_previewed_before_all_is_known() {
    let policies = Policies::new("n1", 0);
    let error = policies.snapshot().unwrap_err();
    assert!(error.starts_with("not all NetworkPolicies"), "{error}");
    assert_eq!(PolicyName::Network(Key::namespaced("shop", "db")).to_string(), "NetworkPolicy shop/db");
    assert_eq!(PolicyName::Cluster(Key::new("base")).to_string(), "ClusterNetworkPolicy base");
}
