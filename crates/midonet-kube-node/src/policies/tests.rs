use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use ::objects::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterRule, LabelSelector, Namespace, NetworkPolicy, Rule,
    Tier,
};
use anyhow::{Result, bail};
use datapath::policy::{Found, Question, State as Kernel};
use policy::{Changes, Direction, Origin};

use crate::backend::Whereabouts;

use super::*;

/// Tables that note what they are given.
#[derive(Debug, Default)]
pub(super) struct Tables {
    given: Mutex<Vec<(Changes, bool)>>,
    pub(super) full: AtomicBool,
    pub(super) refuses: AtomicBool,
    counts: Mutex<HashMap<u32, Counts>>,
}

impl PolicyTables for Tables {
    fn apply(&self, changes: Changes, replace: bool) -> Result<()> {
        self.given.lock().unwrap().push((changes, replace));
        if self.refuses.load(Ordering::Relaxed) {
            bail!("the kernel refuses");
        }
        if self.full.load(Ordering::Relaxed) {
            let (table, setting) = ("policy_sets", "--max-policy-entries");
            return Err(datapath::Error::PolicyFull { table, needed: 2, limit: 1, setting }.into());
        }
        Ok(())
    }

    fn admit(&self, _: LocalId, _: SetId) {}

    fn state(&self) -> Kernel {
        Kernel::default()
    }

    fn counts(&self) -> Result<HashMap<u32, Counts>> {
        Ok(self.counts.lock().unwrap().clone())
    }

    fn find(&self, _: &Question) -> Result<Option<Found>> {
        Ok(None)
    }

    fn check_space(&self, _: Changes) -> Result<()> {
        match self.full.load(Ordering::Relaxed) {
            false => Ok(()),
            true => {
                let (table, setting) = ("policy_sets", "--max-policy-entries");
                Err(datapath::Error::PolicyFull { table, needed: 2, limit: 1, setting }.into())
            }
        }
    }

    fn whereabouts(&self) -> Result<Whereabouts> {
        Ok(Whereabouts::default())
    }

    fn is_own(&self, _: IpAddr) -> bool {
        false
    }
}

impl Tables {
    /// What was given since the last call: the sets of Pods, and whether it was everything.
    pub(super) fn take(&self) -> Vec<(Vec<(LocalId, SetId)>, bool)> {
        self.given.lock().unwrap().drain(..).map(|(changes, replace)| (changes.pods, replace)).collect()
    }
}

pub(super) const A: LocalId = LocalId(7);
const B: LocalId = LocalId(8);

pub(super) fn delta<K>(upserted: Vec<K>, deleted: Vec<K>, synced: bool) -> Delta<K> {
    let all = |objects: Vec<K>| objects.into_iter().map(Arc::new).collect();
    Delta { upserted: all(upserted), deleted: all(deleted), synced }
}

pub(super) fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        key: Key::namespaced("shop", name),
        uid: Some("u".into()),
        labels: [("app", name)].into_iter().collect(),
        node: Some("n1".into()),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        early: false,
        host_network: false,
        ended: false,
        ports: Box::default(),
    }
}

pub(super) fn deny(namespace: &str) -> NetworkPolicy {
    NetworkPolicy {
        key: Key::namespaced(namespace, "deny"),
        uid: None,
        generation: 1,
        pods: LabelSelector::default(),
        ingress: Some(Box::default()),
        egress: None,
        audit: false,
        defects: Box::default(),
    }
}

pub(super) fn cluster_policy(name: &str) -> ClusterNetworkPolicy {
    let rule = ClusterRule {
        name: "".into(),
        action: Action::Deny,
        peers: [ClusterPeer::Networks(["10.96.1.0/24".parse().unwrap()].into())].into(),
        ports: None,
    };
    ClusterNetworkPolicy {
        key: Key::new(name),
        uid: None,
        generation: 1,
        tier: Tier::Admin,
        priority: 5,
        namespaces: LabelSelector::default(),
        pods: LabelSelector::default(),
        ingress: Box::default(),
        egress: [rule].into(),
        audit: false,
        defects: Box::default(),
    }
}

pub(super) fn namespace(name: &str) -> Namespace {
    Namespace {
        key: Key::new(name),
        uid: None,
        labels: [("kubernetes.io/metadata.name", name)].into_iter().collect(),
        reject: false,
        audit: false,
        defects: Box::default(),
    }
}

/// What makes everything known.
pub(super) fn lists(synced: bool) -> Vec<News> {
    vec![
        News::Policies(delta(vec![], vec![], synced)),
        News::ClusterPolicies(delta(vec![], vec![], synced)),
        News::Namespaces(delta(vec![namespace("shop")], vec![], synced)),
        News::Pods(delta(vec![], vec![], synced)),
    ]
}

pub(super) fn local(name: &str) -> LocalPod {
    LocalPod {
        key: Key::namespaced("shop", name),
        uid: Some("u".into()),
        addresses: ["10.0.0.7".parse().unwrap()].into(),
    }
}

pub(super) fn add(policies: &Policies, id: LocalId, name: &str) {
    policies.set_local(id, &format!("mido-{name}"), &["10.0.0.7".parse().unwrap()], Some(local(name)));
}

/// Policies of a node of which everything is known, and its tables.
pub(super) fn known() -> (Policies, Tables) {
    let (policies, tables) = (Policies::new("n1", 0), Tables::default());
    policies.follow_nodes(&delta(vec![], vec![], true));
    policies.settle(&tables, lists(true)).unwrap();
    assert_eq!(tables.take(), [(vec![], true)]);
    (policies, tables)
}

#[test]
fn nothing_is_handed_over_until_all_is_known_and_then_everything() {
    let (policies, tables) = (Policies::new("n1", 41), Tables::default());
    add(&policies, A, "a");
    assert_eq!(policies.first_set(A), Some(SetId::CLOSED), "nothing is known");
    policies.settle(&tables, lists(false)).unwrap();
    assert_eq!(policies.first_set(A), Some(SetId::OPEN), "as last known, nothing applies to anybody");
    policies.settle(&tables, vec![News::Policies(delta(vec![deny("shop")], vec![], false))]).unwrap();
    assert_eq!(policies.first_set(A), Some(SetId::CLOSED));
    assert!(policies.of(A).unwrap().closed.unwrap().starts_with("not all NetworkPolicies"));
    policies.follow_nodes(&delta(vec![], vec![], true));
    let mut news = lists(true);
    news[0] = News::Policies(delta(vec![deny("shop")], vec![], true));
    news[3] = News::Pods(delta(vec![pod("a", &["10.0.0.7"])], vec![], true));
    assert!(!policies.is_in_force(A) && !policies.summary().complete && tables.take().is_empty());
    policies.settle(&tables, news).unwrap();
    let (changes, replace) = tables.given.lock().unwrap().pop().unwrap();
    assert!(replace && changes.lists.len() == 2 && changes.entries.len() == 2, "{changes:?}");
    assert!(changes.pods[0].1.0 > 41 && policies.is_in_force(A));
    assert_eq!(policies.first_set(A), None);
    let summary = policies.summary();
    assert!(
        summary.complete && summary.in_force && (summary.policed, summary.closed) == (1, 0),
        "{summary:?}"
    );
    // The same again is no change.
    policies.settle(&tables, lists(true)).unwrap();
    assert!(tables.take().is_empty());
}

#[test]
fn a_pod_whose_object_is_not_known_is_open_only_where_no_policy_is() {
    let (policies, tables) = known();
    let settle = |news| drop(policies.settle(&tables, news).unwrap());
    add(&policies, A, "a");
    settle(vec![]);
    assert_eq!(tables.take(), [(vec![(A, SetId::OPEN)], false)]);
    assert!(policies.is_in_force(A) && policies.of(A).unwrap().closed.is_none());
    // Of another namespace, and one that says nothing.
    settle(vec![News::Policies(delta(
        vec![deny("other"), NetworkPolicy { ingress: None, ..deny("shop") }],
        vec![],
        true,
    ))]);
    assert!(tables.take().is_empty());
    settle(vec![News::Policies(delta(vec![deny("shop")], vec![], true))]);
    assert_eq!(tables.take(), [(vec![(A, SetId::CLOSED)], false)]);
    assert!(!policies.is_in_force(A));
    let why = policies.of(A).unwrap().closed.unwrap();
    assert!(why.contains("its object or its namespace is not known yet"), "{why}");
    // Of another UID it is another Pod.
    settle(vec![News::Pods(delta(vec![Pod { uid: Some("other".into()), ..pod("a", &[]) }], vec![], true))]);
    assert!(!policies.is_in_force(A));
    settle(vec![News::Pods(delta(vec![pod("a", &[])], vec![], true))]);
    assert!(policies.is_in_force(A));
    let [(pods, false)] = &tables.take()[..] else { panic!("one change") };
    assert!(pods[0].0 == A && ![SetId::OPEN, SetId::CLOSED].contains(&pods[0].1), "{pods:?}");
    settle(vec![News::Policies(delta(vec![], vec![deny("shop")], true))]);
    assert_eq!(tables.take(), [(vec![(A, SetId::OPEN)], false)]);
    // A cluster's policy may select whoever it is.
    add(&policies, B, "b");
    settle(vec![News::ClusterPolicies(delta(vec![cluster_policy("c")], vec![], true))]);
    assert_eq!(policies.of(B).unwrap().set, SetId::CLOSED);
}

#[test]
fn ports_go_when_they_are_replaced_or_not_bound_any_more() {
    let (policies, tables) = known();
    let summary = || (policies.summary().policed, policies.summary().closed);
    policies.settle(&tables, vec![News::Policies(delta(vec![deny("shop")], vec![], true))]).unwrap();
    add(&policies, A, "a");
    policies.bound(A);
    // Another sandbox of the same Pod.
    add(&policies, B, "a");
    assert_eq!(summary(), (0, 2));
    policies.bound(B);
    assert_eq!(summary(), (0, 1));
    add(&policies, A, "c");
    policies.retain(BTreeSet::new);
    assert_eq!(summary(), (0, 1), "one that is being bound stays");
    policies.unset_local(A);
    assert_eq!(summary(), (0, 0));
}

#[test]
fn a_port_that_nobody_names_is_that_of_the_pod_with_its_addresses() {
    let (policies, tables) = known();
    let news = vec![
        News::Policies(delta(vec![deny("shop")], vec![], true)),
        News::Pods(delta(vec![pod("a", &["10.0.0.7", "fd00::7"])], vec![], true)),
    ];
    policies.settle(&tables, news).unwrap();
    let addresses = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    policies.set_local(A, "mido-a", &addresses(&["10.0.0.7", "fd00::7"]), None);
    policies.set_local(B, "mido-b", &addresses(&["10.0.0.7", "fd00::8"]), None);
    policies.settle(&tables, vec![]).unwrap();
    assert!(policies.is_in_force(A) && !policies.is_in_force(B));
    policies
        .settle(&tables, vec![News::Pods(delta(vec![pod("b", &["10.0.0.7", "fd00::8"])], vec![], true))])
        .unwrap();
    assert!(policies.is_in_force(B));
}

#[test]
fn what_does_not_fit_is_a_problem_that_names_policies_until_it_does() {
    let (policies, tables) = known();
    tables.full.store(true, Ordering::Relaxed);
    add(&policies, A, "a");
    let news = vec![
        News::Policies(delta(vec![deny("shop")], vec![], true)),
        News::Pods(delta(vec![pod("a", &[])], vec![], true)),
    ];
    let problems = policies.settle(&tables, news).unwrap().unwrap();
    assert_eq!(problems.iter().map(|problem| problem.what).collect::<Vec<_>>(), ["policy_full"]);
    assert!(
        problems[0].problem.contains("--max-policy-entries") && problems[0].problem.contains("shop/deny"),
        "{problems:?}"
    );
    assert!(!policies.is_in_force(A) && !policies.summary().in_force);
    assert_eq!(policies.settle(&tables, vec![]).unwrap(), None, "the same is told once");
    tables.full.store(false, Ordering::Relaxed);
    assert_eq!(policies.settle(&tables, vec![]).unwrap(), Some(vec![]));
    assert!(policies.is_in_force(A));
    // Without news nobody asks the kernel.
    tables.take();
    assert_eq!(policies.settle(&tables, vec![]).unwrap(), None);
    assert!(tables.take().is_empty());
}

#[test]
fn what_the_kernel_refuses_is_tried_again() {
    let (policies, tables) = known();
    tables.refuses.store(true, Ordering::Relaxed);
    add(&policies, A, "a");
    assert!(policies.settle(&tables, vec![]).is_err() && policies.settle(&tables, vec![]).is_err());
    assert!(!policies.is_in_force(A));
    tables.refuses.store(false, Ordering::Relaxed);
    policies.settle(&tables, vec![]).unwrap();
    assert!(policies.is_in_force(A));
    assert_eq!(tables.take().len(), 3);
}

#[test]
fn ties_and_blocks_of_services_are_found() {
    let (policies, tables) = known();
    let news = News::ClusterPolicies(delta(vec![cluster_policy("one"), cluster_policy("two")], vec![], true));
    let problems = policies.settle(&tables, vec![news]).unwrap().unwrap();
    assert_eq!(problems.iter().map(|problem| problem.what).collect::<Vec<_>>(), ["policy_tie"]);
    let rule = |cidr: &str, except: &[&str]| Rule {
        peers: Some(
            [::objects::Peer::Block {
                cidr: cidr.parse().unwrap(),
                except: except.iter().map(|text| text.parse().unwrap()).collect(),
            }]
            .into(),
        ),
        ports: None,
    };
    let policy = NetworkPolicy {
        ingress: Some([rule("0.0.0.0/0", &[]), rule("fd96::80/128", &[])].into()),
        ..deny("shop")
    };
    policies.settle(&tables, vec![News::Policies(delta(vec![policy], vec![], true))]).unwrap();
    let ranges = ["10.96.0.0/16", "fd96::/112"].map(|text| text.parse().unwrap());
    let found: Vec<String> =
        policies.blocks_in(&ranges).into_iter().map(|(block, whose)| format!("{block} {whose}")).collect();
    assert_eq!(
        found,
        [
            "fd96::80/128 ingress[1] of NetworkPolicy shop/deny",
            "10.96.1.0/24 egress[0] of ClusterNetworkPolicy one",
            "10.96.1.0/24 egress[0] of ClusterNetworkPolicy two",
        ]
    );
}

#[test]
fn sums_of_verdicts_only_grow() {
    let (policies, tables) = known();
    add(&policies, A, "a");
    let news = vec![
        News::Policies(delta(vec![deny("shop")], vec![], true)),
        News::Pods(delta(vec![pod("a", &[])], vec![], true)),
    ];
    policies.settle(&tables, news).unwrap();
    let rule =
        tables.given.lock().unwrap().iter().flat_map(|(changes, _)| changes.rules.clone()).next().unwrap();
    assert_eq!(
        (rule.1.direction, rule.1.origin, rule.1.rule),
        (Direction::Ingress, Origin::NetworkPolicy, None)
    );
    let denied = |count| Counts { denied: count, ..Counts::default() };
    let sum = || policies.verdicts(&tables).unwrap()[&(Direction::Ingress, Origin::NetworkPolicy)];
    tables.counts.lock().unwrap().insert(rule.0.0, denied(5));
    assert_eq!(sum(), denied(5));
    assert_eq!(policies.counts(&tables).unwrap(), [(rule.1, denied(5))]);
    tables.counts.lock().unwrap().insert(rule.0.0, denied(9));
    // It goes, and what it decided until then is not forgotten.
    policies.settle(&tables, vec![News::Policies(delta(vec![], vec![deny("shop")], true))]).unwrap();
    tables.counts.lock().unwrap().clear();
    assert_eq!(sum(), denied(9));
}

#[test]
fn an_address_was_its_pods_of_that_time_whoever_has_it_now() {
    let (policies, tables) = known();
    let settle = |news| drop(policies.settle(&tables, news).unwrap());
    let pods = |upserted, deleted| vec![News::Pods(delta(upserted, deleted, true))];
    let address: IpAddr = "10.0.0.7".parse().unwrap();
    let mut times = Vec::new();
    let mut moment = || {
        times.push(datapath::uptime());
        std::thread::sleep(Duration::from_millis(1));
    };
    moment();
    // The runtime names it before its object has the address.
    add(&policies, A, "a");
    moment();
    settle(pods(vec![pod("a", &["10.0.0.7"])], vec![]));
    moment();
    policies.unset_local(A);
    moment();
    // The address is used again, and the object of who had it is still there.
    add(&policies, B, "b");
    moment();
    settle(pods(vec![], vec![pod("a", &["10.0.0.7"])]));
    moment();
    policies.unset_local(B);
    moment();
    let found = policies.pods_at(times.iter().map(|time| (address, *time)));
    let names: Vec<&str> = found.iter().map(|key| key.as_ref().map_or("", Key::name)).collect();
    assert_eq!(names, ["", "a", "a", "a", "b", "b", ""]);
    assert_eq!(policies.pods_at([(address, Duration::ZERO)]), [None], "from before this agent");
}

#[test]
fn a_rule_is_named_after_its_policy_is_gone() {
    let (policies, tables) = known();
    let settle = |news| drop(policies.settle(&tables, news).unwrap());
    add(&policies, A, "a");
    let object = || vec![pod("a", &["10.0.0.7"])];
    settle(vec![News::Pods(delta(object(), vec![], true))]);
    settle(vec![News::Policies(delta(vec![deny("shop")], vec![], true))]);
    let rules: Vec<_> =
        tables.given.lock().unwrap().iter().flat_map(|(changes, _)| changes.rules.clone()).collect();
    let (id, name) = rules.last().unwrap();
    assert_eq!(policies.rules_of([*id]), [Some(Arc::clone(name))]);
    settle(vec![News::Policies(delta(vec![], vec![deny("shop")], true))]);
    assert_eq!((policies.rule(*id), policies.rules_of([*id])), (None, vec![Some(Arc::clone(name))]));
}
