use std::sync::atomic::Ordering;

use objects::{ClusterNetworkPolicy, Key, NetworkPolicy};

use super::super::news::News;
use super::super::tests::{A, Tables, add, cluster_policy, delta, deny, known, pod};
use super::*;

fn name() -> PolicyName {
    PolicyName::Network(Key::namespaced("shop", "deny"))
}

fn policies(upserted: Vec<NetworkPolicy>, deleted: Vec<NetworkPolicy>) -> News {
    News::Policies(delta(upserted, deleted, true))
}

/// One of this node's Pods is in the namespace.
fn scene() -> (Policies, Tables) {
    let (policies, tables) = known();
    add(&policies, A, "a");
    let pods = News::Pods(delta(vec![pod("a", &["10.0.0.7"])], vec![], true));
    policies.settle(&tables, vec![pods]).unwrap();
    (policies, tables)
}

#[test]
fn a_policy_is_there_in_the_version_that_is_known_once_it_is_in_force() {
    let (known, tables) = scene();
    assert_eq!(known.version(&name()), (None, None));
    let policy =
        |generation, audit| NetworkPolicy { uid: Some("u".into()), generation, audit, ..deny("shop") };
    for (generation, audit) in [(1, false), (2, false), (2, true)] {
        known.settle(&tables, vec![policies(vec![policy(generation, audit)], vec![])]).unwrap();
        let want = Version { uid: "u".into(), generation, audit };
        assert_eq!(known.version(&name()), (Some(want), None));
    }
    known.settle(&tables, vec![policies(vec![], vec![policy(2, true)])]).unwrap();
    assert_eq!(known.version(&name()), (None, None));
    let cluster = ClusterNetworkPolicy { generation: 7, ..cluster_policy("deny") };
    known.settle(&tables, vec![News::ClusterPolicies(delta(vec![cluster], vec![], true))]).unwrap();
    assert_eq!(known.version(&name()), (None, None), "that is another kind");
    let (version, reason) = known.version(&PolicyName::Cluster(Key::new("deny")));
    assert_eq!((version.unwrap().generation, reason), (7, None));
}

#[test]
fn what_the_kernel_does_not_have_is_not_in_force() {
    let (known, tables) = scene();
    for fault in [&tables.full, &tables.refuses] {
        fault.store(true, Ordering::Relaxed);
        let _refused = known.settle(&tables, vec![policies(vec![deny("shop")], vec![])]);
        let (version, reason) = known.version(&name());
        assert!(version.is_some() && reason.unwrap().contains("see the problems"));
        fault.store(false, Ordering::Relaxed);
        known.settle(&tables, vec![]).unwrap();
        assert!(known.version(&name()).1.is_none());
        fault.store(true, Ordering::Relaxed);
        let _refused = known.settle(&tables, vec![policies(vec![], vec![deny("shop")])]);
        assert!(matches!(known.version(&name()), (None, Some(_))), "it is gone, and still in force");
        fault.store(false, Ordering::Relaxed);
        known.settle(&tables, vec![]).unwrap();
    }
}

#[test]
fn nothing_is_in_force_before_all_is_known() {
    let policies = Policies::new("n1", 0);
    let (version, reason) = policies.version(&name());
    assert!(version.is_none() && reason.unwrap().starts_with("not all NetworkPolicies"));
}
