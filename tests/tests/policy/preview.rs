//! What a preview says of live connections is what becomes of them: 0 missed, 0 extra.
//!
//! Pods of two nodes, and the nodes themselves, keep connections open, over both families and through a Service. One random
//! policy after the other is previewed on each node, then applied, replaced or deleted; then the connections that stopped, and
//! those that go on again, are compared with what was said.

mod connections;
mod random;

use std::collections::BTreeSet;
use std::time::Instant;

use e2e::services::{CLUSTER_IPS, PORT, SERVICE_CIDRS, TARGET, write_service};
use e2e::{DEADLINE, pod};
use lab::Pod;
use serde_json::{Value, json};
use testkit::Random;

use crate::scene::{Scene, node};
use connections::{Connections, Id};
use random::{Change, Policies};

/// How many policies are tried, unless `PREVIEWS` says so.
const PREVIEWS: usize = 30;

/// After so many all policies are removed and all connections made anew: one that is stopped for minutes is forgotten.
const ROUNDS: usize = 15;

/// The ports of the servers; the last is that behind the Service.
const PORTS: [u16; 3] = [7007, 9090, TARGET];

/// The nodes with Pods.
const NODES: [u8; 2] = [1, 2];

/// What the nodes say of a change.
#[derive(Default)]
struct Said {
    cut: BTreeSet<Id>,
    allowed: BTreeSet<Id>,
}

struct Trial {
    scene: Scene,
    pods: Vec<Pod>,
    /// Which connections are between two ends of one node, so that it alone decides about them.
    here: BTreeSet<Id>,
    connections: Connections,
    works: BTreeSet<Id>,
}

impl Trial {
    fn new() -> Self {
        let scene = Scene::new(&[SERVICE_CIDRS]);
        let pods: Vec<Pod> = [
            ("node1", "shop", "web-1", "web"),
            ("node1", "shop", "db-1", "db"),
            ("node1", "other", "web-2", "web"),
            ("node2", "shop", "web-3", "web"),
            ("node2", "shop", "db-2", "db"),
            ("node2", "other", "guest", "guest"),
        ]
        .into_iter()
        .map(|(node, namespace, name, app)| scene.silent_pod(node, namespace, name, app))
        .collect();
        write_service(&scene.lab, "UDP", &[pods[0].clone(), pods[3].clone()]).unwrap();
        let mut connections = Connections::new();
        for pod in &pods {
            connections.serve(&scene.netns(&e2e::pod(pod)), &pod.addresses(), &PORTS);
        }
        Self { scene, pods, here: BTreeSet::new(), connections, works: BTreeSet::new() }
    }

    /// Closes all connections and opens others.
    fn open(&mut self, random: &mut Random) {
        let Self { scene, pods, here, connections, works } = self;
        connections.close();
        here.clear();
        let mut places: Vec<_> = pods.iter().map(|one| (pod(one), one.node.clone())).collect();
        places.extend(NODES.map(|number| (node(number), format!("node{number}"))));
        for (from, at) in &places {
            let netns = scene.netns(from);
            for to in pods.iter() {
                for address in to.addresses() {
                    if *from == pod(to) {
                        continue;
                    }
                    let port = PORTS[random.index(PORTS.len())];
                    let id = connections.open(&netns, (address, port).into());
                    if *at == to.node {
                        here.insert(id);
                    }
                }
            }
            for address in CLUSTER_IPS {
                connections.open(&netns, (address.parse::<std::net::IpAddr>().unwrap(), PORT).into());
            }
        }
        let all = connections.ids();
        connections.expect(&all, DEADLINE);
        *works = all;
    }

    /// What the nodes say of a change.
    fn preview(&self, change: &Change) -> Said {
        let file = self.scene.lab.manifests().join("../candidate.json");
        let words = match change {
            Change::Apply(object) => {
                std::fs::write(&file, object.to_string()).unwrap();
                format!("-f {}", file.display())
            }
            Change::Delete(policy) => format!("--delete {policy}"),
        };
        let mut said = Said::default();
        for number in NODES {
            let line = format!("policy preview {words} --this-node --limit 16384");
            let document = self.scene.document(number, &line);
            assert_eq!(document["nodes"][0]["node"], format!("node{number}"), "{document}");
            for (list, ids) in [("cut", &mut said.cut), ("allowed", &mut said.allowed)] {
                let listed = document[list].as_array().unwrap();
                assert_eq!(document["nodes"][0][list], listed.len(), "{document}");
                ids.extend(listed.iter().filter_map(|one| self.connections.find(one)));
                assert!(listed.iter().all(|one| !one["after"]["why"].as_str().unwrap().is_empty()));
            }
        }
        said
    }

    /// Has it in force on both nodes.
    fn apply(&self, change: &Change, file: &str) {
        let words = match change {
            Change::Apply(object) => {
                self.scene.lab.write_manifest(file, object).unwrap();
                let metadata = &object["metadata"];
                let audit = metadata["annotations"]["midonet.org/policy-audit"] == "true";
                let version =
                    format!("{}/{}/{audit}", metadata["uid"].as_str().unwrap(), metadata["generation"]);
                format!("{} --at-least {version}", random::name(object))
            }
            Change::Delete(policy) => {
                self.scene.remove(file);
                format!("{policy} --for delete")
            }
        };
        for number in NODES {
            let output = self.scene.midokube(number, &format!("policy wait {words} --this-node"));
            assert!(output.status.success(), "{words}: {output:?}");
        }
    }

    /// Compares what was said with what becomes of connections.
    fn compare(&mut self, said: &Said, change: &Change) {
        // A connection between two nodes may be stopped by the other one already, or still.
        let stops: BTreeSet<Id> = said.cut.intersection(&self.works).copied().collect();
        let want: BTreeSet<Id> = self.works.difference(&stops).copied().collect();
        self.connections.expect(&want, DEADLINE);
        let works = self.connections.works();
        let stopped: BTreeSet<Id> = self.works.difference(&works).copied().collect();
        let goes_on: BTreeSet<Id> = works.difference(&self.works).copied().collect();
        let told = |ids: &BTreeSet<Id>| self.connections.told(ids);
        let extra: BTreeSet<Id> = stops.difference(&stopped).copied().collect();
        let missed: BTreeSet<Id> = stopped.difference(&stops).copied().collect();
        assert!(extra.is_empty(), "said to be cut, and go on: {}\n{change}", told(&extra));
        assert!(missed.is_empty(), "cut, and not said to be: {}\n{change}", told(&missed));
        let missed: BTreeSet<Id> = goes_on.difference(&said.allowed).copied().collect();
        assert!(missed.is_empty(), "go on, and not said to: {}\n{change}", told(&missed));
        let here = said.allowed.intersection(&self.here);
        let extra: BTreeSet<Id> = here.filter(|id| !works.contains(id)).copied().collect();
        assert!(extra.is_empty(), "said to go on, and do not: {}\n{change}", told(&extra));
        self.works = works;
    }
}

#[test]
fn the_connections_that_stop_are_exactly_those_that_a_preview_lists() {
    let wanted = std::env::var("PREVIEWS").map_or(PREVIEWS, |wanted| wanted.parse().unwrap());
    let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
    eprintln!("SEED={seed} PREVIEWS={wanted}");
    let mut random = Random::new(seed);
    let mut trial = Trial::new();
    let (mut cut, mut allowed, mut begun) = (0, 0, Instant::now());
    let mut policies = Policies::new(&trial.pods);
    for round in 0..wanted {
        if round % ROUNDS == 0 {
            for (change, file) in policies.clear() {
                trial.apply(&change, &file);
            }
            trial.open(&mut random);
        }
        let (change, file) = policies.next(&mut random);
        let said = trial.preview(&change);
        trial.apply(&change, &file);
        (cut, allowed) = (cut + said.cut.len(), allowed + said.allowed.len());
        trial.compare(&said, &change);
        if begun.elapsed().as_secs() >= 10 {
            eprintln!("{round}: {cut} cut, {allowed} allowed again, {} work", trial.works.len());
            begun = Instant::now();
        }
    }
    eprintln!("{wanted} policies: {cut} cut, {allowed} allowed again");
    assert!(cut > wanted && allowed > wanted, "{cut} {allowed}: the policies say too little");
}

#[test]
fn a_preview_tells_why_and_what_is_wrong_with_policies() {
    let scene = Scene::new(&[]);
    let [db, web] = ["db", "web"].map(|name| scene.silent_pod("node1", "shop", name, name));
    let mut connections = Connections::new();
    connections.serve(&scene.netns(&pod(&db)), &db.addresses(), &PORTS);
    let address = db.addresses()[0];
    connections.open(&scene.netns(&pod(&web)), (address, PORTS[0]).into());
    connections.expect(&connections.ids(), DEADLINE);
    let file = scene.lab.manifests().join("../candidate.json");
    let write = |object: &Value| std::fs::write(&file, object.to_string()).unwrap();
    let deny = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]},
    });
    write(&deny);
    let line = format!("policy preview -f {} --this-node", file.display());
    let (document, output) = (scene.document(1, &line), scene.midokube(1, &line));
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let cut = &document["cut"][0];
    assert_eq!(
        (&cut["clientPod"], &cut["backendPod"]),
        (&json!("shop/web"), &json!("shop/db")),
        "{document}"
    );
    assert_eq!(
        (&cut["direction"], &cut["now"]["verdict"]),
        (&json!("ingress"), &json!("allow")),
        "{document}"
    );
    let why = cut["after"]["why"].as_str().unwrap();
    assert_eq!(why, "the default deny of NetworkPolicy shop/deny denies it", "{document}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 would be cut") && text.contains(why), "{text}");
    // Only audited, it cuts nothing.
    let mut audited = deny.clone();
    audited["metadata"]["annotations"] = json!({"midonet.org/policy-audit": "true"});
    write(&audited);
    let output = scene.midokube(1, &line);
    assert!(output.status.success(), "{output:?}");
    // What is wrong, and what does not exist.
    let mut wrong = deny.clone();
    wrong["spec"]["ingress"] = json!([{"from": [{"ipBlock": {"cidr": "10.0.0.300/8"}}]}]);
    write(&wrong);
    let document = scene.document(1, &format!("{line} --delete clusternetworkpolicy/nobody"));
    assert_eq!(document["problems"][0]["what"], "policy_defect", "{document}");
    assert!(document["notes"][0].as_str().unwrap().contains("ClusterNetworkPolicy nobody does not exist"));
    // A node that has no such Pod.
    write(&deny);
    let document = scene.document(2, &line);
    assert_eq!((&document["cut"], &document["nodes"][0]["cut"]), (&json!([]), &json!(0)), "{document}");
    // Without a kubeconfig nobody else is asked.
    let output = scene.midokube(1, &format!("policy preview -f {}", file.display()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("--this-node"), "{said}");

    // In force it is once a wait says so.
    let wait = |words: &str| {
        scene.midokube(1, &format!("policy wait networkpolicy/deny -n shop --this-node {words}"))
    };
    let late = wait("--timeout 300ms");
    assert_eq!(late.status.code(), Some(1), "{late:?}");
    assert!(String::from_utf8_lossy(&late.stdout).contains("it does not know the policy yet"), "{late:?}");
    scene.lab.write_manifest("policy-shop-deny", &deny).unwrap();
    assert!(wait("").status.success());
    assert!(connections.works().is_empty());
    scene.remove("policy-shop-deny");
    assert!(wait("--for delete").status.success());
    connections.expect(&connections.ids(), DEADLINE);
}
