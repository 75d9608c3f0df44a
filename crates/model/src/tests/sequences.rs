//! Whatever comes in whatever order: the tables are those of the whole computation, and so are all changes together.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::{Changes, Diff, Local, Peer, Table};

const OWN: &str = "n0";

/// Some within others, some with host bits, some outside the cluster or with Services, some that hold nodes.
const CIDRS_V4: [&str; 13] = [
    "10.244.0.0/16",
    "10.244.0.0/23",
    "10.244.0.0/24",
    "10.244.1.0/24",
    "10.244.1.7/24",
    "10.244.1.64/26",
    "10.244.1.128/25",
    "10.244.1.255/32",
    "10.244.2.0/24",
    "10.244.3.0/24",
    "10.244.2.0/23",
    "10.244.200.0/24",
    "192.0.2.0/24",
];
const CIDRS_V6: [&str; 4] = ["fd44:0:0:1::/64", "fd44::/62", "fd44:0:0:2::/64", "fd45::/64"];
const ADDRESSES: [&str; 14] = [
    "172.30.0.10",
    "172.30.0.11",
    "172.30.0.12",
    "172.30.0.13",
    "fd30::10",
    "fd30::11",
    "fd30::12",
    "10.244.1.70",
    "10.244.3.9",
    "10.244.201.1",
    "fd44:0:0:1::9",
    "127.0.0.1",
    "172.30.0.14",
    "fd30::13",
];
const ANNOTATIONS: [&str; 6] =
    ["172.30.0.10", "172.30.0.12", "fd30::12", "fe80::1", "nonsense", "10.244.3.9"];

#[derive(Debug, Clone)]
enum Step {
    Upsert(Node),
    Delete(String),
    Replace(Vec<Node>),
}

fn name() -> impl Strategy<Value = String> {
    (0..8).prop_map(|number| format!("n{number}"))
}

fn any_node() -> impl Strategy<Value = Node> {
    let cidrs = (option::weighted(0.8, select(&CIDRS_V4)), option::weighted(0.4, select(&CIDRS_V6)));
    let addresses = subsequence(ADDRESSES.to_vec(), 0..7).prop_shuffle();
    let annotation = option::weighted(0.2, select(&ANNOTATIONS));
    (name(), option::of(0i64..3), cidrs, addresses, annotation).prop_map(
        |(name, created, (v4, v6), addresses, annotation)| {
            let cidrs: Vec<&str> = v4.into_iter().chain(v6).collect();
            let node = Node { created, ..node(&name, &cidrs, &addresses) };
            annotation.map_or(node.clone(), |text| annotate(node, text))
        },
    )
}

/// One that can be this node's.
fn own_node() -> impl Strategy<Value = Node> {
    let cidrs = prop_oneof![
        Just(vec!["10.244.2.0/24"]),
        Just(vec!["fd44:0:0:2::/64", "10.244.1.0/24"]),
        Just(vec!["10.244.1.64/26"])
    ];
    let addresses = subsequence(ADDRESSES[..7].to_vec(), 1..6).prop_shuffle();
    (cidrs, addresses).prop_map(|(cidrs, addresses)| node(OWN, &cidrs, &addresses))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_node().prop_map(Step::Upsert),
        1 => own_node().prop_map(Step::Upsert),
        4 => name().prop_map(Step::Delete),
        1 => (own_node(), vec(any_node(), 0..8)).prop_map(|(own, mut all)| {
            all.retain(|node| *node.name != *OWN);
            all.push(own);
            // Of a name there is one object.
            let all: BTreeMap<_, _> = all.into_iter().map(|node| (node.name.clone(), node)).collect();
            Step::Replace(all.into_values().collect())
        }),
    ]
}

/// The tables as one gets them from changes alone.
#[derive(Debug, Default)]
struct Replica {
    local: Option<Local>,
    routes: BTreeMap<IpNet, RouteTarget>,
    nodes: BTreeMap<IpAddr, Option<IpAddr>>,
    tunnels: BTreeMap<IpAddr, IpAddr>,
    peers: BTreeMap<std::sync::Arc<str>, Peer>,
    problems: BTreeMap<std::sync::Arc<str>, Vec<Problem>>,
}

impl Replica {
    fn apply(&mut self, changes: Changes) {
        let Changes { local, routes, nodes, tunnels, peers, problems, .. } = changes;
        if local.is_some() {
            assert_ne!(self.local, local, "told though nothing changed");
            self.local = local;
        }
        apply(&mut self.routes, routes);
        apply(&mut self.nodes, nodes);
        apply(&mut self.tunnels, tunnels);
        apply(&mut self.peers, peers);
        apply(&mut self.problems, problems);
    }
}

fn apply<K: Ord + Debug + Clone, V: PartialEq + Debug + Clone>(table: &mut BTreeMap<K, V>, diff: Diff<K, V>) {
    for (key, value) in diff.upserts {
        let before = table.insert(key.clone(), value.clone());
        assert_ne!(before, Some(value), "{key:?} told though nothing changed");
    }
    for key in diff.removals {
        assert!(table.remove(&key).is_some(), "{key:?} removed though it was not there");
    }
}

fn equal<K: PartialEq + Debug, V: PartialEq + Debug>(
    table: &Table<K, V>,
    copy: &BTreeMap<K, V>,
    want: &BTreeMap<K, V>,
) {
    assert_eq!(&**table, want);
    assert_eq!(copy, want, "of all changes together");
}

/// Compares the model with the whole computation.
fn compare(model: &mut Model, copy: &mut Replica, nodes: &BTreeMap<String, Node>, ranges: &Ranges) {
    let want = oracle::desired(nodes.values(), OWN, ranges);
    let (want, (got, changes)) = match (want, model.update()) {
        (Ok(want), Ok(got)) => (want, got),
        (want, got) => return assert_eq!(got.map(drop).unwrap_err(), want.map(drop).unwrap_err()),
    };
    copy.apply(changes);
    assert_eq!(got.local, want.local);
    assert_eq!(copy.local.as_ref(), Some(&want.local));
    let tunnels = want.peers.values().map(|peer| (peer.tunnel_address, peer.own_address)).collect();
    let named = |problem: &Problem| problem.object.strip_prefix("Node ").unwrap().into();
    let mut problems = BTreeMap::<_, Vec<Problem>>::new();
    for problem in want.problems {
        problems.entry(named(&problem)).or_default().push(problem);
    }
    let peers = want.peers.into_iter().map(|(name, peer)| (name.into(), peer)).collect();
    equal(&got.routes, &copy.routes, &want.routes);
    equal(&got.nodes, &copy.nodes, &want.nodes);
    equal(&got.tunnels, &copy.tunnels, &tunnels);
    equal(&got.peers, &copy.peers, &peers);
    equal(&got.problems, &copy.problems, &problems);
    assert!(model.update().unwrap().1.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn tables_are_those_of_the_whole_computation(
        own in own_node(),
        first in vec(any_node(), 0..8),
        steps in vec((step(), any::<bool>()), 1..25),
    ) {
        let ranges = Ranges { service: vec!["10.244.192.0/20".parse().unwrap(), "10.96.0.0/12".parse().unwrap()], ..ranges() };
        let mut model = Model::new(OWN, ranges.clone());
        let (mut copy, mut nodes) = (Replica::default(), BTreeMap::new());
        let first = first.into_iter().chain([own]).map(|node| (Step::Upsert(node), true));
        for (step, update) in first.chain(steps) {
            match step {
                Step::Upsert(node) => {
                    model.upsert(&node);
                    nodes.insert(node.name.to_string(), node);
                }
                Step::Delete(name) => {
                    model.delete(&name);
                    nodes.remove(&name);
                }
                Step::Replace(all) => {
                    model.replace(&all);
                    nodes = all.into_iter().map(|node| (node.name.to_string(), node)).collect();
                }
            }
            if update {
                compare(&mut model, &mut copy, &nodes, &ranges);
            }
        }
        compare(&mut model, &mut copy, &nodes, &ranges);
    }
}
