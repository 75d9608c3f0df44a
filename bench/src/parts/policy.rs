//! How soon a change of policy is in force on a node of a cluster with 10,000 Pods, and what it costs.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Family, Lab};
use serde_json::{Value, json};

use crate::agent;
use crate::apiserver::{ApiServer, Events};
use crate::context::Bench;
use crate::manifests;
use crate::maps::Generation;
use crate::objects::CIDRS;
use crate::results::{Better, Part, Table};

/// Pods of the cluster, and in how many namespaces and on how many other nodes they are.
const PODS: u32 = 10_000;
const NAMESPACES: u32 = 200;
const NODES: u32 = 200;

/// The node that all is about, and where the API server runs.
const NODE: &str = "node1";
const CONTROL: &str = "node2";

/// Where the Pods are to which policies apply.
const NAMESPACE: &str = "ns-0";

/// Pods of the node.
const LOCALS: u32 = 10;

/// Changes of a round, of each kind.
const CHANGES: u32 = 100;

/// Between two changes: what the agent does after one is over by the next.
const PAUSE: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(60);

/// What changes: its case, its collection, its name, and the patch that is made the first and the second time.
struct Change {
    what: &'static str,
    collection: String,
    name: fn(u32) -> String,
    patch: fn(bool) -> Value,
}

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("policy-changes", "Policy on a node of a cluster with 10,000 Pods");
    part.note(
        "One node with 10 Pods, IPv4; 10,000 Pods in 200 namespaces and on 200 nodes are objects in a real API server \
         (kube-apiserver and etcd in another node). The node's Pods let in the Pods with one label in namespaces with another. \
         Changed are the ports of a NetworkPolicy, a Pod's label, and a namespace's label, which is about 50 Pods.",
    );
    part.note(
        "In force: from the moment at which a watch of this program at the same API server has the event, and from before the \
         call that makes the change, to the moment at which the datapath judges by it (looked at every 50 microseconds).",
    );
    for (id, title, unit) in [
        ("ready", "all of it in force after a start", "s"),
        ("memory", "agent's memory", "MiB"),
        ("change", "a change in force", "ms"),
        ("cpu", "agent's CPU time of a change", "ms"),
    ] {
        part.tables.push(Table::new(&format!("policy-changes/{id}"), title, unit, Better::Lower, ""));
    }
    bench.progress.step("policy-changes: an API server with 10,000 Pods");
    let files = tempfile::tempdir().context("a directory for the API server")?;
    let kubeconfig = files.path().join("kubeconfig");
    let args = vec![format!("--kubeconfig={}", kubeconfig.display()), format!("--service-cidr={CIDRS}")];
    let lab = bench.lab_with("policy-changes", Family::V4, 2, false, args)?;
    let server = ApiServer::start(&lab, CONTROL, files.path(), &kubeconfig)?;
    let state = lab.state()?.node(NODE)?.clone();
    let cidrs: Vec<String> = state.pod_cidrs.iter().map(ToString::to_string).collect();
    server.create("/api/v1/nodes", &manifests::node(NODE, &cidrs, &state.addresses))?;
    server.create_all(bench, &(0..NODES).map(other_node).collect::<Vec<_>>())?;
    server.create_all(bench, &(0..NAMESPACES).map(namespace).collect::<Vec<_>>())?;
    server.create_all(bench, &(0..PODS).map(pod).collect::<Vec<_>>())?;
    server.create(&policies(), &policy())?;
    agent::start(&lab, NODE)?;
    bench.install(&lab, NODE, "/opt/cni/bin")?;
    for number in 0..LOCALS {
        let name = format!("local-{number}");
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": NAMESPACE, "name": name, "labels": {"app": "local"}},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]},
        });
        let made = server.create(&pods(NAMESPACE), &object)?;
        let uid = made.pointer("/metadata/uid").and_then(Value::as_str).context("a Pod without a UID")?;
        lab.add_pod_of(NODE, NAMESPACE, &name, uid)?;
    }
    changes(bench, &lab, &server, &mut part)?;
    for round in 1..=bench.rounds.min(5) {
        bench.progress.step(&format!("policy-changes: start {round}"));
        lab.stop_agent(NODE)?;
        let before = Generation::open(&lab, NODE)?.get()?;
        let begin = Instant::now();
        lab.start_agent(NODE)?;
        // The agent may put another map in the place of this one.
        while Generation::open(&lab, NODE)?.get()? == before {
            ensure!(begin.elapsed() < PATIENCE, "policy is not replaced after {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
        part.record("policy-changes/ready", "start", begin.elapsed().as_secs_f64())?;
        for (what, field) in [("resident", "VmRSS"), ("peak", "VmHWM")] {
            part.record("policy-changes/memory", what, agent::memory(&lab, NODE, field)?)?;
        }
    }
    Ok(part)
}

fn changes(bench: &Bench, lab: &Lab, server: &ApiServer, part: &mut Part) -> Result<()> {
    let kinds = [
        Change {
            what: "policy",
            collection: policies(),
            name: |_| "in".to_owned(),
            patch: |second| json!({"spec": {"ingress": ingress(if second { 80 } else { 81 })}}),
        },
        Change {
            what: "Pod label",
            collection: pods("ns-1"),
            name: |number| format!("pod-{}", 1 + NAMESPACES * (number % (PODS / NAMESPACES))),
            patch: |second| json!({"metadata": {"labels": {"group": if second { "other" } else { "some" }}}}),
        },
        Change {
            what: "namespace label",
            collection: "/api/v1/namespaces".to_owned(),
            name: |number| format!("ns-{}", 2 + number % (PODS / NAMESPACES)),
            patch: |second| json!({"metadata": {"labels": {"team": if second { "in" } else { "out" }}}}),
        },
    ];
    let generation = Generation::open(lab, NODE)?;
    for kind in kinds {
        let events = server.watch(&kind.collection)?;
        let mut second = false;
        for round in 0..=bench.rounds {
            bench.progress.step(&format!("policy-changes: {}, round {round} of {}", kind.what, bench.rounds));
            let used = agent::cpu(lab, NODE)?;
            let (mut from_event, mut from_call) = (Vec::new(), Vec::new());
            for number in 0..CHANGES {
                bench.check()?;
                let (event, call) = change(server, &generation, &events, &kind, number, second)?;
                from_event.push(event.as_secs_f64() * 1e3);
                from_call.push(call.as_secs_f64() * 1e3);
                // One object changes there and back, others in turn.
                if number + 1 == CHANGES || kind.what == "policy" || (number + 1) % (PODS / NAMESPACES) == 0 {
                    second = !second;
                }
                thread::sleep(PAUSE);
            }
            // The first round opens connections.
            if round == 0 {
                continue;
            }
            for (values, from) in [(&mut from_event, "event"), (&mut from_call, "call")] {
                values.sort_by(f64::total_cmp);
                for (name, at) in [("p50", 49), ("p99", 98)] {
                    let value = *values.get(at).context("too few changes")?;
                    part.record(
                        "policy-changes/change",
                        &format!("{}, from {from}, {name}", kind.what),
                        value,
                    )?;
                }
            }
            let used = agent::cpu(lab, NODE)?.saturating_sub(used);
            part.record("policy-changes/cpu", kind.what, used.as_secs_f64() * 1e3 / f64::from(CHANGES))?;
        }
    }
    Ok(())
}

/// Makes one change: how long after its event, and after the call began, it was in force.
fn change(
    server: &ApiServer,
    generation: &Generation,
    events: &Events,
    kind: &Change,
    number: u32,
    second: bool,
) -> Result<(Duration, Duration)> {
    let name = (kind.name)(number);
    let before = generation.get()?;
    let call = Instant::now();
    let done = thread::scope(|scope| -> Result<Instant> {
        let look = scope.spawn(|| -> Result<Instant> {
            while generation.get()? == before {
                ensure!(
                    call.elapsed() < PATIENCE,
                    "{}: {name} is not in force after {PATIENCE:?}",
                    kind.what
                );
                thread::sleep(Duration::from_micros(50));
            }
            Ok(Instant::now())
        });
        let called = server.patch(&format!("{}/{name}", kind.collection), &(kind.patch)(second));
        let done = look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        called.and(done)
    })?;
    Ok((done.saturating_duration_since(events.of(&name)?), done.duration_since(call)))
}

fn policies() -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

fn policy() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": NAMESPACE, "name": "in"},
        "spec": {"podSelector": {"matchLabels": {"app": "local"}}, "policyTypes": ["Ingress"], "ingress": ingress(80)},
    })
}

fn ingress(port: u16) -> Value {
    let from = json!([{
        "namespaceSelector": {"matchLabels": {"team": "in"}}, "podSelector": {"matchLabels": {"group": "some"}},
    }]);
    json!([{"from": from, "ports": [{"protocol": "TCP", "port": port}]}])
}

fn namespace(number: u32) -> Value {
    let labels = json!({"team": "in"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("ns-{number}"), "labels": labels}})
}

/// The second byte of the addresses of other nodes' Pods: the lab's own nodes have the first ones.
const FIRST: u32 = 20;

fn other_node(number: u32) -> Value {
    let cidr = format!("10.244.{}.0/24", FIRST + number);
    let address = IpAddr::V4(Ipv4Addr::from(0xc0a8_0100 + number));
    manifests::node(&format!("other-{number}"), &[cidr], &[address])
}

/// Nodes have the first two addresses themselves. Half of the Pods of each namespace have the label that is let in, but none of that whose labels change. Each has announced its address, as its agent does.
fn pod(number: u32) -> Value {
    let (node, host) = (number % NODES, 3 + number / NODES);
    let address = format!("10.244.{}.{host}", FIRST + node);
    let is_let_in = number % NAMESPACES != 1 && (number / NAMESPACES).is_multiple_of(2);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": format!("ns-{}", number % NAMESPACES), "name": format!("pod-{number}"),
            "labels": {"group": if is_let_in { "some" } else { "other" }},
            "annotations": {"midonet.org/ip-addresses": address},
        },
        "spec": {"nodeName": format!("other-{node}"), "containers": [{"name": "main", "image": "none"}]},
    })
}
