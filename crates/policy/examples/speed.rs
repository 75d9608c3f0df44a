//! Prints how long the judge takes for what is big: `cargo run --release -p policy --example speed`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure is told by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use objects::{
    Key, LabelSelector, Labels, NamedPort, Namespace, NetworkPolicy, Operator, Peer, Pod, PolicyPort, Ports,
    Protocol, Requirement, Rule,
};
use policy::{Changes, Judge, LocalId, LocalPod};

/// Pods of the cluster.
const PODS: u32 = 50_000;
/// Pods in one namespace.
const PODS_IN_NAMESPACE: u32 = 50;
/// Pods of the node.
const LOCALS: u32 = 110;
/// So often is what is short repeated.
const TIMES: u32 = 200;

fn main() {
    cluster_of_many_pods();
    println!();
    many_rules();
    println!();
    many_blocks();
    println!();
    too_much();
    println!();
    churn();
}

fn too_much() {
    println!("12,500 rules that are too much");
    let label = |number: u32| {
        let operator = Operator::NotIn([format!("a{number}").into()].into());
        Peer::Pods {
            namespaces: Some(LabelSelector::default()),
            pods: LabelSelector([Requirement { key: "app".into(), operator }].into()),
        }
    };
    let block = |number: u32| Peer::Block {
        cidr: IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap(),
        except: [IpNet::new(Ipv4Addr::from(0x2d00_0000 + number).into(), 32).unwrap()].into(),
    };
    let all: [(&str, &dyn Fn(u32) -> Peer); 2] =
        [("all addresses but one", &block), ("all Pods but those with one label", &label)];
    for (what, make) in all {
        let mut judge = Judge::new(0);
        fill(&mut judge, cluster(PODS_IN_NAMESPACE));
        judge.update();
        let policies: Vec<_> = (0..125)
            .map(|number| {
                let rules = (0..100).map(|one| rule(vec![make(100 * number + one)], vec![tcp(80)])).collect();
                policy("ns0", &format!("p{number}"), 7, rules)
            })
            .collect();
        let begin = cpu_time();
        for policy in policies {
            judge.upsert_policy(policy);
        }
        let changes = judge.update();
        tell(what, cpu_time() - begin, &changes);
        assert_eq!(judge.problems().len(), 1);
    }
}

fn cluster_of_many_pods() {
    println!("{PODS} Pods, {LOCALS} of them here, {} namespaces", PODS / PODS_IN_NAMESPACE);
    let mut judge = Judge::new(0);
    let all = cluster(PODS_IN_NAMESPACE);
    let objects = resident();
    let begin = cpu_time();
    fill(&mut judge, all);
    let changes = judge.update();
    tell("all of it, without policies", cpu_time() - begin, &changes);
    let memory = resident();
    println!("  {} MB besides the objects", memory.saturating_sub(objects));

    let begin = cpu_time();
    for number in 0..LOCALS {
        let namespace = namespace_of(number, PODS_IN_NAMESPACE);
        judge.upsert_policy(policy(&namespace, "own", 0, vec![rule(vec![own(&[])], vec![])]));
        let team = Peer::Pods { namespaces: Some(select("team", &["t1"])), pods: select("app", &["a3"]) };
        judge.upsert_policy(policy(&namespace, "team", 0, vec![rule(vec![team], vec![tcp(8080)])]));
    }
    let changes = judge.update();
    tell("policies in each namespace here", cpu_time() - begin, &changes);

    let everybody = Peer::Pods { namespaces: Some(select("all", &["yes"])), pods: LabelSelector::default() };
    let begin = cpu_time();
    judge.upsert_policy(policy("ns0", "all", 0, vec![rule(vec![everybody], vec![tcp(80)])]));
    let changes = judge.update();
    tell("a policy that selects every Pod, with a new label", cpu_time() - begin, &changes);
    println!("  {:?}, {} MB more than without policies", judge.usage(), resident().saturating_sub(memory));

    let (whole, begin) = (resident(), cpu_time());
    let mut copy = judge.clone();
    let (took, more) = (cpu_time() - begin, resident().saturating_sub(whole));
    println!("  {took:>10.2?}  a copy of it, for a preview: {more} MB");
    let begin = cpu_time();
    copy.upsert_policy(policy("ns1", "previewed", 0, vec![rule(vec![own(&[])], vec![tcp(1)])]));
    let changes = copy.update();
    tell("a policy in the copy", cpu_time() - begin, &changes);
    drop(copy);

    repeat("a Pod's label, to a kind that is known", |time| {
        judge.upsert_pod(pod(777, PODS_IN_NAMESPACE, &[("app", if time % 2 == 0 { "a3" } else { "a4" })]));
        judge.update()
    });
    repeat("a Pod's label that nothing selects", |time| {
        judge.upsert_pod(pod(778, PODS_IN_NAMESPACE, &[("hash", &format!("h{time}"))]));
        judge.update()
    });
    repeat("a Pod of this node, its label", |time| {
        judge.upsert_pod(pod(7, PODS_IN_NAMESPACE, &[("app", if time % 2 == 0 { "a3" } else { "a4" })]));
        judge.update()
    });
    repeat("a namespace's label", |time| {
        judge.upsert_namespace(namespace("ns900", if time % 2 == 0 { "t1" } else { "t2" }));
        judge.update()
    });
    repeat("a policy with a known selector", |time| {
        let rules = vec![rule(vec![own(&[])], vec![tcp(1000 + u16::try_from(time).unwrap())])];
        judge.upsert_policy(policy("ns1", "own", 0, rules));
        judge.update()
    });
    repeat("a policy with a new selector", |time| {
        let peer = Peer::Pods {
            namespaces: Some(select("team", &[&format!("t{time}")])),
            pods: select("tier", &[&format!("x{time}")]),
        };
        judge.upsert_policy(policy("ns1", "own", 0, vec![rule(vec![peer], vec![])]));
        judge.update()
    });
    drop(judge);

    let mut judge = Judge::new(0);
    fill(&mut judge, cluster(PODS));
    judge.upsert_policy(policy(
        "ns0",
        "team",
        0,
        vec![rule(
            vec![Peer::Pods { namespaces: Some(select("team", &["t1"])), pods: select("app", &["a3"]) }],
            vec![],
        )],
    ));
    judge.upsert_policy(policy(
        "ns0",
        "teams",
        0,
        vec![rule(
            vec![Peer::Pods { namespaces: Some(select("team", &["t1"])), pods: LabelSelector::default() }],
            vec![],
        )],
    ));
    judge.update();
    for team in ["t2", "t1"] {
        let begin = cpu_time();
        judge.upsert_namespace(namespace("ns0", team));
        let changes = judge.update();
        tell("the label of a namespace with all Pods", cpu_time() - begin, &changes);
    }
}

fn many_rules() {
    println!("12,500 rules on one Pod");
    let block = |number: u32| Peer::Block {
        cidr: IpNet::new(Ipv4Addr::from(0x2d00_0000 + number).into(), 32).unwrap(),
        except: Box::default(),
    };
    let label = |number: u32| own(&[("app", &format!("a{number}"))]);
    let all: [(&str, &dyn Fn(u32) -> Rule); 5] = [
        ("each with its own block", &|number| rule(vec![block(number)], vec![tcp(80)])),
        ("each with its own selector", &|number| rule(vec![label(number)], vec![tcp(80)])),
        ("each with its own port, for everybody", &|number| Rule {
            peers: None,
            ports: Some([tcp(u16::try_from(number).unwrap() + 1)].into()),
        }),
        ("each with its own block and port", &|number| {
            rule(vec![block(number)], vec![tcp(u16::try_from(number).unwrap() + 1)])
        }),
        ("each with a port and the same peers", &|number| {
            rule(vec![label(3)], vec![tcp(u16::try_from(number).unwrap() + 1)])
        }),
    ];
    for (what, make) in all {
        let mut judge = Judge::new(0);
        fill(&mut judge, cluster(500));
        judge.update();
        let policies: Vec<_> = (0..125)
            .map(|number| {
                let rules = (0..100).map(|rule| make(100 * number + rule)).collect();
                policy("ns0", &format!("p{number}"), 7, rules)
            })
            .collect();
        let begin = cpu_time();
        for policy in policies {
            judge.upsert_policy(policy);
        }
        let changes = judge.update();
        tell(what, cpu_time() - begin, &changes);
        let begin = cpu_time();
        judge.upsert_policy(policy("ns0", "p0", 7, vec![rule(vec![block(77)], vec![tcp(90)])]));
        let changes = judge.update();
        tell("  one of its policies changes", cpu_time() - begin, &changes);
    }
}

fn many_blocks() {
    println!("10,000 blocks with excepts on {LOCALS} Pods");
    for (what, in_rule) in [("in 100 rules", 100), ("in one rule", 10_000), ("each in its own rule", 1)] {
        let mut judge = Judge::new(0);
        fill(&mut judge, cluster(PODS));
        judge.update();
        let block = |number: u32| {
            let base = 0x0a00_0000 + (number << 8);
            Peer::Block {
                cidr: IpNet::new(Ipv4Addr::from(base).into(), 24).unwrap(),
                except: [IpNet::new(Ipv4Addr::from(base + 16).into(), 28).unwrap()].into(),
            }
        };
        let rules = (0..10_000 / in_rule)
            .map(|number| {
                rule((0..in_rule).map(|one| block(number * in_rule + one)).collect(), vec![tcp(80)])
            })
            .collect();
        let policy = policy("ns0", "blocks", 0, rules);
        let begin = cpu_time();
        judge.upsert_policy(policy);
        let changes = judge.update();
        tell(what, cpu_time() - begin, &changes);
        let begin = cpu_time();
        judge.delete_policy(&Key::namespaced("ns0", "blocks"));
        let changes = judge.update();
        tell("  the policy is deleted", cpu_time() - begin, &changes);
    }
}

fn churn() {
    println!("24,000 Pods relabelled one by one, each time another one of 1,000 labels");
    let mut judge = Judge::new(0);
    fill(&mut judge, cluster(PODS_IN_NAMESPACE));
    let rules = (0..1000).map(|number| {
        let peer = Peer::Pods {
            namespaces: Some(LabelSelector::default()),
            pods: select("app", &[&format!("a{number}")]),
        };
        rule(vec![peer], vec![tcp(80)])
    });
    judge.upsert_policy(policy("ns0", "many", 0, rules.collect()));
    judge.update();
    let before = (judge.usage(), resident());
    let begin = cpu_time();
    for time in 0..24_000u32 {
        let number = time.wrapping_mul(2_654_435_761) % PODS;
        judge.upsert_pod(pod(number, PODS_IN_NAMESPACE, &[("app", &format!("a{}", time * 7 % 1000))]));
        judge.update();
    }
    println!("  {:?} each", (cpu_time() - begin) / 24_000);
    println!("  before {:?}, {} MB\n  after  {:?}, {} MB", before.0, before.1, judge.usage(), resident());
}

/// Namespaces, and Pods, so many in each.
fn cluster(in_namespace: u32) -> (Vec<Arc<Namespace>>, Vec<Arc<Pod>>) {
    let namespaces = (0..PODS.div_ceil(in_namespace))
        .map(|number| namespace(&format!("ns{number}"), &format!("t{}", number % 100)));
    (namespaces.collect(), (0..PODS).map(|number| pod(number, in_namespace, &[])).collect())
}

/// The first Pods are here.
fn fill(judge: &mut Judge, (namespaces, pods): (Vec<Arc<Namespace>>, Vec<Arc<Pod>>)) {
    for namespace in namespaces {
        judge.upsert_namespace(namespace);
    }
    for (id, pod) in (1..=LOCALS).zip(&pods) {
        let pod = LocalPod { key: pod.key.clone(), uid: pod.uid.clone(), addresses: pod.addresses.clone() };
        judge.set_local(LocalId(id), pod);
    }
    for pod in pods {
        judge.upsert_pod(pod);
    }
}

fn namespace_of(pod: u32, in_namespace: u32) -> String {
    format!("ns{}", pod / in_namespace)
}

fn namespace(name: &str, team: &str) -> Arc<Namespace> {
    Arc::new(Namespace {
        key: Key::new(name),
        uid: None,
        labels: [("kubernetes.io/metadata.name", name), ("team", team), ("all", "yes")].into_iter().collect(),
        reject: false,
        audit: false,
        defects: Box::default(),
    })
}

fn pod(number: u32, in_namespace: u32, more: &[(&str, &str)]) -> Arc<Pod> {
    let (app, hash) = (format!("a{}", number / 10), format!("h{number}"));
    let mut labels: Vec<(&str, &str)> = more.to_vec();
    for label in [("app", &*app), ("pod-template-hash", &*hash), ("tier", "web"), ("version", "v1")] {
        if !more.iter().any(|(key, _)| *key == label.0) {
            labels.push(label);
        }
    }
    let addresses: [IpAddr; 2] = [
        Ipv4Addr::from(0x0a00_0000 + number).into(),
        Ipv6Addr::from(0xfd00 << 112 | u128::from(number)).into(),
    ];
    Arc::new(Pod {
        key: Key::namespaced(&namespace_of(number, in_namespace), &format!("pod-{number}")),
        uid: Some(format!("uid-{number}").into()),
        labels: labels.into_iter().collect::<Labels>(),
        node: Some(format!("node{}", number / LOCALS).into()),
        addresses: addresses.into(),
        early: false,
        host_network: false,
        ended: false,
        ports: [NamedPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }].into(),
    })
}

/// A policy for the Pods of a namespace; with `app`, for those of this one only.
fn policy(namespace: &str, name: &str, app: u32, rules: Vec<Rule>) -> Arc<NetworkPolicy> {
    let pods = if app == 0 { LabelSelector::default() } else { select("app", &["a0"]) };
    Arc::new(NetworkPolicy {
        key: Key::namespaced(namespace, name),
        uid: None,
        generation: 1,
        pods,
        ingress: Some(rules.into()),
        egress: None,
        audit: false,
        defects: Box::default(),
    })
}

fn rule(peers: Vec<Peer>, ports: Vec<PolicyPort>) -> Rule {
    Rule { peers: Some(peers.into()), ports: (!ports.is_empty()).then(|| ports.into()) }
}

fn own(labels: &[(&str, &str)]) -> Peer {
    let pods = labels.iter().flat_map(|(key, value)| select(key, &[value]).0).collect();
    Peer::Pods { namespaces: None, pods: LabelSelector(pods) }
}

fn select(key: &str, values: &[&str]) -> LabelSelector {
    let values = values.iter().map(|value| Arc::from(*value)).collect();
    LabelSelector([Requirement { key: key.into(), operator: Operator::In(values) }].into())
}

fn tcp(port: u16) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, ports: Ports::Range(port, port) }
}

fn tell(what: &str, took: Duration, changes: &Changes) {
    let Changes { lists, entries, classes, blocks, pods, .. } = changes;
    println!(
        "  {took:>10.2?}  {what}: {} lists, {} entries, {} addresses, {} blocks, {} Pods",
        lists.len(),
        entries.len(),
        classes.len(),
        blocks.len(),
        pods.len()
    );
}

fn repeat(what: &str, mut once: impl FnMut(u32) -> Changes) {
    let mut took: Vec<Duration> = Vec::new();
    let mut last = Changes::default();
    for time in 0..TIMES {
        let begin = cpu_time();
        last = once(time);
        took.push(cpu_time() - begin);
    }
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("  {median:>10.2?}  {what} (at most {worst:.2?}): {} addresses", last.classes.len());
}

/// How long this thread has been running: what others do on the machine does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Resident memory in MB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}
