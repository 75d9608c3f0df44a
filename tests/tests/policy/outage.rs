//! Policies while the API server is away: what was in force stays, a new Pod gets what was last known, or is closed.

use std::time::Duration;

use e2e::api::{Api, Mood, kubeconfig};
use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::Family;
use lab::probe::{EchoServer, tcp_echo};
use lab::{Pod, Target};
use serde_json::{Value, json};

use crate::scene::QUIET;

const NODE: &str = "node1";

/// What the cluster has: a node, a policy in one of two namespaces, and these Pods.
fn objects(pods: &[&str]) -> Mood {
    let metadata =
        |namespace: &str, name: &str| json!({"namespace": namespace, "name": name, "resourceVersion": "1"});
    let mut all = vec![json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "uid": "n", "resourceVersion": "1"},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}]},
    })];
    for name in ["shop", "other"] {
        let labels = json!({"kubernetes.io/metadata.name": name});
        let metadata = json!({"name": name, "uid": name, "resourceVersion": "1", "labels": labels});
        all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}));
    }
    let policy = metadata("shop", "deny");
    let spec = json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]});
    all.push(json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": policy, "spec": spec}));
    for pod in pods {
        let (namespace, name) = pod.split_once('/').unwrap();
        let mut metadata = metadata(namespace, name);
        metadata["labels"] = json!({"app": name});
        let spec = json!({"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]});
        all.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    }
    Mood::Serves("cluster", all)
}

fn add(lab: &TestLab, namespace: &str, name: &str) -> (Pod, EchoServer) {
    let added = lab.add_pod(NODE, namespace, name).unwrap();
    let server = EchoServer::start(&lab.netns(&pod(&added)).unwrap(), &added.addresses()).unwrap();
    (added, server)
}

fn reaches(lab: &TestLab, from: &Pod, to: &Pod, patience: Duration) -> bool {
    tcp_echo(&lab.netns(&pod(from)).unwrap(), to.addresses()[0], patience).is_ok()
}

/// What `midokube` says of a Pod.
fn state(lab: &TestLab, of: &Pod) -> String {
    let line = format!("{} policy {} -o json", testkit::bin("midokube").display(), of.key);
    let view: Value = serde_json::from_str(&sh(lab, &node1(), &line)).unwrap();
    view["pods"][0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_last_known_counts_while_the_api_server_is_away() {
    let directory = kubeconfig();
    let kubeconfig = format!("--kubeconfig={}", directory.join("config").display());
    let lab = TestLab::without_agents_yet(1, Family::V4, &[&kubeconfig, "--cache-dir=/run/cache"]).unwrap();
    let api = Api::start(&lab, objects(&["shop/db", "shop/first", "other/guest"]));
    sh(&lab, &node1(), &format!("{} install", testkit::bin("midonet-kube-node").display()));
    lab.start_agent(NODE).unwrap();
    testkit::wait_until(DEADLINE, "all is known", || lab.status(NODE).unwrap().policy.unwrap().complete);
    let (db, _db) = add(&lab, "shop", "db");
    let (guest, _guest) = add(&lab, "other", "guest");
    let (first, _first) = add(&lab, "shop", "first");
    assert_eq!([&db, &guest, &first].map(|pod| state(&lab, pod)), ["policed", "open", "open"]);
    assert!(!reaches(&lab, &guest, &db, QUIET) && reaches(&lab, &db, &guest, DEADLINE));
    testkit::wait_until(DEADLINE, "what is known is on disk", || {
        let files = sh(&lab, &node1(), "ls /run/cache 2>/dev/null || true");
        ["nodes", "networkpolicies", "clusternetworkpolicies", "namespaces"]
            .iter()
            .all(|kind| files.contains(&format!("{kind}.json")))
    });

    // Away while it runs, and while another one starts.
    api.set(Mood::Refuses(503, "ServiceUnavailable"));
    for round in 0..2 {
        if round == 1 {
            lab.restart_agent(NODE).unwrap();
            assert!(!lab.status(NODE).unwrap().policy.unwrap().complete);
        }
        assert!(!reaches(&lab, &guest, &db, QUIET) && reaches(&lab, &db, &guest, DEADLINE));
        // A Pod of a namespace without policies; one whose labels would have to be known.
        let (open, _open) = add(&lab, "other", &format!("open-{round}"));
        assert!(reaches(&lab, &open, &guest, DEADLINE) && reaches(&lab, &guest, &open, DEADLINE));
        let (closed, _closed) = add(&lab, "shop", &format!("closed-{round}"));
        assert_eq!((state(&lab, &open).as_str(), state(&lab, &closed).as_str()), ("open", "closed"));
        assert!(!reaches(&lab, &closed, &guest, QUIET) && !reaches(&lab, &guest, &closed, QUIET));
        let node = lab.netns(&Target::Node(NODE.into())).unwrap();
        tcp_echo(&node, closed.addresses()[0], DEADLINE).unwrap();
    }

    api.set(objects(&["shop/db", "shop/first", "other/guest", "shop/closed-0", "shop/closed-1"]));
    testkit::wait_until(DEADLINE, "all is known again", || {
        lab.status(NODE).unwrap().policy.unwrap().complete
    });
    for name in ["closed-0", "closed-1"] {
        let pod = lab.state().unwrap().pod(&naming::PodKey::new("shop", name)).unwrap().clone();
        testkit::wait_until(DEADLINE, "it is open", || state(&lab, &pod) == "open");
        assert!(reaches(&lab, &pod, &guest, DEADLINE));
    }
    assert!(!reaches(&lab, &guest, &db, QUIET));
    std::fs::remove_dir_all(directory).unwrap();
}
