//! Pods that come, change and go, here and elsewhere, and who has an address.

use std::sync::Arc;

use objects::{Action, ClusterNetworkPolicy, Key, NetworkPolicy, Pod, Tier};
use policy::{LocalId, LocalPod, SetId};

use crate::build::*;

/// The subject takes from `app=peer` only.
fn case() -> Case {
    let mut case = Case::new();
    case.policy(NetworkPolicy {
        ingress: Some([rule(&[peers("", "app=peer")], &[])].into()),
        ..policy("a/one", "")
    });
    case
}

const PEER: [&str; 2] = ["10.0.0.2", "fd00::2"];

fn peer() -> Pod {
    pod("a/peer", "app=peer", "10.0.0.2,fd00::2")
}

#[test]
fn a_pod_has_its_addresses_until_it_has_ended() {
    let mut case = case();
    case.pod(Pod { addresses: [].into(), ..peer() });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
    case.pod(peer());
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
    case.pod(Pod { labels: [("app", "other")].into_iter().collect(), ..peer() });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
    case.pod(peer());
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
    case.pod(Pod { ended: true, ..peer() });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
    case.pod(peer());
    case.judge.delete_pod(&peer().key);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
}

#[test]
fn a_pod_with_its_nodes_addresses_is_nobody() {
    let mut case = case();
    case.pod(Pod { host_network: true, ..peer() });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
}

#[test]
fn an_address_that_is_used_again_is_that_of_the_last_who_came() {
    let mut case = case();
    case.pod(peer());
    case.pod(pod("b/new", "app=new", "10.0.0.2"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), ["fd00::2"]);
    // What is late changes nothing.
    case.pod(Pod { ports: ports(&[("x", Tcp, 1)]), ..peer() });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), ["fd00::2"]);
    case.judge.delete_pod(&Key::namespaced("b", "new"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
}

#[test]
fn another_nodes_pod_has_no_address_of_a_pod_in_its_nodes_range() {
    let mut case = case();
    case.node(node("node1", "", &["192.0.2.1"], &["10.0.0.0/24"])).node(node(
        "node2",
        "",
        &[],
        &["10.9.0.0/24"],
    ));
    let on = |node: &str, pod: Pod| Pod { node: Some(node.into()), ..pod };
    case.pod(on("node1", pod("a/other", "app=other", "10.0.0.2")));
    case.pod(on("node2", pod("b/thief", "app=peer", "10.0.0.2,192.0.2.1,10.7.7.7")));
    let addresses = ["10.0.0.2", "192.0.2.1", "10.7.7.7"];
    assert_eq!(case.passing(Ingress, (Tcp, 80), &addresses), ["10.7.7.7"]);
    case.judge.delete_node(&Key::new("node1"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &addresses), addresses);
}

#[test]
fn what_an_annotation_says_counts_until_the_status_says_it_and_takes_nothing_from_others() {
    let mut case = case();
    case.node(node("node1", "", &["10.0.0.1"], &["10.0.0.0/24"]));
    let on = |early: bool, pod: Pod| Pod { early, node: Some("node1".into()), ..pod };
    case.pod(on(true, pod("a/peer", "app=peer", "10.0.0.1,10.0.0.12,10.9.0.1")));
    let addresses = ["10.0.0.1", "10.0.0.12", "10.9.0.1"];
    // Neither its node's address nor one outside of its node's range.
    assert_eq!(case.passing(Ingress, (Tcp, 80), &addresses), ["10.0.0.12"]);
    // Two who say so: nobody's. By its status it is the one's, whatever the other says.
    case.pod(on(true, pod("b/thief", "app=thief", "10.0.0.12")));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &addresses), [""; 0]);
    case.pod(on(false, pod("a/peer", "app=peer", "10.0.0.12")));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &addresses), ["10.0.0.12"]);
    case.judge.delete_pod(&Key::namespaced("b", "thief"));
    case.pod(on(true, pod("a/thief", "app=peer", "10.0.0.3")));
    case.pod(on(false, pod("b/owner", "app=other", "10.0.0.3")));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &["10.0.0.3"]), [""; 0]);
}

#[test]
fn a_port_of_this_node_has_its_addresses_at_once_and_before_all_others() {
    let mut case = case();
    case.pod(Pod { addresses: [].into(), ..peer() });
    case.judge.set_local(LocalId(2), local("a/peer", "10.0.0.2,fd00::2"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER, "its object does not have them yet");
    case.pod(pod("a/thief", "app=thief", "10.0.0.2,fd00::2"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
    case.judge.unset_local(LocalId(2));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
    // The address is used again here, and the new Pod's object is not known.
    case.pod(peer());
    case.judge.set_local(LocalId(3), local("a/late", "10.0.0.2"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), ["fd00::2"]);
    case.pod(pod("a/late", "app=peer", ""));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
}

#[test]
fn a_port_is_closed_until_its_pods_object_is_known() {
    let mut case = case();
    case.judge.set_local(LocalId(2), local("b/new", "10.0.0.9"));
    case.judge.update();
    assert_eq!(case.judge.set_of(LocalId(2)), Some(SetId::CLOSED));
    assert!(!case.verdict_of(LocalId(2), Egress, "203.0.113.7", Some((Tcp, 80))).allow);
    assert_eq!(case.judge.policies_of(LocalId(2)), None);
    // Of the Pod that had the name before.
    case.pod(Pod { uid: Some("before".into()), ..pod("b/new", "", "") });
    case.judge.update();
    assert_eq!(case.judge.set_of(LocalId(2)), Some(SetId::CLOSED));
    case.pod(pod("b/new", "", ""));
    case.judge.update();
    assert_eq!(case.judge.set_of(LocalId(2)), Some(SetId::OPEN));
}

#[test]
fn without_a_uid_the_name_is_enough() {
    let mut case = case();
    case.judge.set_local(LocalId(2), LocalPod { uid: None, ..local("a/new", "10.0.0.9") });
    case.judge.set_local(LocalId(3), local("a/manifest", "10.0.0.10"));
    case.pod(pod("a/new", "", "")).pod(Pod { uid: None, ..pod("a/manifest", "", "") });
    case.judge.update();
    let set = case.judge.set_of(SUBJECT);
    assert_eq!(
        (case.judge.set_of(LocalId(2)), case.judge.set_of(LocalId(3))),
        (set, set),
        "policies are equal"
    );
    assert!(set.is_some_and(|set| set != SetId::OPEN && set != SetId::CLOSED));
    assert_eq!(case.judge.usage().sets, 1);
}

#[test]
fn a_port_keeps_its_policy_while_it_is_there() {
    let mut case = case();
    case.pod(peer());
    let set = |case: &mut Case, id| {
        case.judge.update();
        case.judge.set_of(id).unwrap()
    };
    let before = set(&mut case, SUBJECT);
    // Deleted by force: the port is there yet.
    case.judge.delete_pod(&Key::namespaced("a", "subject"));
    assert_eq!(set(&mut case, SUBJECT), before);
    // The StatefulSet creates it again, and it starts here as well.
    let again = Pod { uid: Some("again".into()), ..pod("a/subject", "app=again", "") };
    case.policy(NetworkPolicy { ingress: Some([].into()), ..policy("a/again", "app=again") });
    case.judge.set_local(LocalId(2), LocalPod { uid: again.uid.clone(), ..local("a/subject", "10.0.0.7") });
    assert_eq!(set(&mut case, LocalId(2)), SetId::CLOSED);
    case.pod(again);
    assert_eq!(set(&mut case, SUBJECT), before);
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
    assert!(!case.verdict_of(LocalId(2), Ingress, "203.0.113.7", Some((Tcp, 80))).allow);
    assert_ne!(set(&mut case, LocalId(2)), before);
    // Policies that come then apply to it, too.
    case.policy(NetworkPolicy { ingress: Some([].into()), ..policy("a/one", "") });
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), [""; 0]);
    case.judge.unset_local(SUBJECT);
    case.judge.update();
    assert_eq!(case.judge.set_of(SUBJECT), None);
}

#[test]
fn of_a_namespace_that_is_not_known_only_the_name_is() {
    let mut case = case();
    case.judge.delete_namespace(&Key::new("a"));
    case.pod(peer());
    let taking = |namespaces: &str| NetworkPolicy {
        ingress: Some([rule(&[peers(namespaces, "")], &[])].into()),
        ..policy("a/one", "")
    };
    for (namespaces, passing) in [
        ("", &PEER[..]),
        ("kubernetes.io/metadata.name=a", &PEER[..]),
        ("kubernetes.io/metadata.name=b", &[]),
        ("team=a", &[]),
        ("kubernetes.io/metadata.name=a,team=a", &[]),
    ] {
        case.policy(taking(namespaces));
        assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), passing, "{namespaces}");
    }
    case.namespace(namespace("a", "team=a"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER);
    case.policy(NetworkPolicy { ingress: Some([rule(&[own("")], &[])].into()), ..policy("a/one", "") });
    case.judge.delete_namespace(&Key::new("a"));
    assert_eq!(case.passing(Ingress, (Tcp, 80), &PEER), PEER, "the own namespace is known by its name");
}

#[test]
fn a_pod_to_which_a_policy_may_apply_is_closed() {
    let mut case = Case::new();
    case.judge.delete_namespace(&Key::new("a"));
    let rules = [cluster_rule(Action::Deny, &[networks(&["192.0.2.0/24"])], None)];
    for (namespaces, pods, closed) in [
        ("team=b", "", true),
        ("team=b", "app=other", false),
        ("kubernetes.io/metadata.name=b,team=b", "", false),
        ("kubernetes.io/metadata.name=a", "", false),
        ("", "", false),
    ] {
        case.cluster(ClusterNetworkPolicy {
            namespaces: select(namespaces),
            pods: select(pods),
            ingress: rules.clone().into(),
            ..cluster_policy("one", Tier::Admin, 1)
        });
        case.judge.update();
        let set = case.judge.set_of(SUBJECT).unwrap();
        assert_eq!(set == SetId::CLOSED, closed, "{namespaces} {pods}");
    }
    case.cluster(ClusterNetworkPolicy {
        namespaces: select("team=b"),
        ingress: rules.into(),
        ..cluster_policy("one", Tier::Admin, 1)
    });
    case.namespace(namespace("a", "team=a"));
    case.judge.update();
    assert_eq!(case.judge.set_of(SUBJECT), Some(SetId::OPEN));
}

#[test]
fn labels_that_no_selector_asks_for_change_nothing() {
    let mut case = case();
    case.pod(peer()).judge.update();
    for number in 0..100 {
        let labels = [("app", "peer".to_owned()), ("hash", format!("h{number}"))];
        case.pod(Pod { labels: labels.into_iter().collect(), ..peer() });
        let mut labels = vec![("team", "a".to_owned()), ("kubernetes.io/metadata.name", "a".to_owned())];
        labels.push(("hash", number.to_string()));
        case.namespace(objects::Namespace { labels: labels.into_iter().collect(), ..namespace("a", "") });
        assert_eq!(case.judge.update(), policy::Changes::default());
    }
    assert_eq!(case.judge.usage().kinds, 2);
}

#[test]
fn a_judge_takes_objects_that_are_the_same() {
    let mut case = case();
    case.pod(peer()).judge.update();
    case.pod(peer()).namespace(namespace("a", "team=a"));
    let same = NetworkPolicy {
        ingress: Some([rule(&[peers("", "app=peer")], &[])].into()),
        generation: 2,
        ..policy("a/one", "")
    };
    case.judge.upsert_policy(Arc::new(same));
    assert_eq!(case.judge.update(), policy::Changes::default());
}
