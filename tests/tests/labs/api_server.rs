//! The agent and `check` with an API server that is away, comes back, refuses, or is another cluster's: a small one on
//! the node's loopback. Errors of TLS and of single answers are tested in `objects/tests/api`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use e2e::api::{Api, Mood, URL, kubeconfig};
use e2e::{TestLab, node1, sh};
use lab::Family;
use serde_json::{Value, json};

/// How long one step may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Its UID is the cluster's and its name.
fn node(cluster: &str, name: &str, pod_cidr: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("{cluster}-{name}"), "resourceVersion": "1"},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    })
}

/// A cluster with this node, which has the first podCIDR, and another one with the second.
fn cluster(uid: &'static str, own: &str, other: &str) -> Mood {
    let nodes = vec![node(uid, "node1", own, "172.30.0.11"), node(uid, "other", other, "172.30.0.99")];
    Mood::Serves(uid, nodes)
}

/// A node without an agent, and a kubeconfig for the server there.
fn scene(agent_args: &[&str]) -> (TestLab, PathBuf) {
    let directory = kubeconfig();
    let kubeconfig = format!("--kubeconfig={}", directory.join("config").display());
    let args = [&[kubeconfig.as_str(), "--cache-dir=/run/cache"], agent_args].concat();
    (TestLab::without_agents_yet(1, Family::V4, &args).unwrap(), directory)
}

/// An agent that need not get ready; it ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(lab: &TestLab, directory: &std::path::Path, log: &std::path::Path) -> Running {
    let log = fs::File::create(log).unwrap();
    let mut command = Command::new(testkit::bin("midonet-kube-node"));
    command.args(["--node-name=node1", "--cluster-cidr=10.244.0.0/16", "--cache-dir=/run/cache"]);
    command.arg(format!("--kubeconfig={}", directory.join("config").display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Running(lab.enter(&node1(), &mut command).unwrap())
}

#[test]
fn cached_nodes_of_another_cluster_are_replaced_when_the_api_server_answers() {
    let (lab, directory) = scene(&[]);
    let api = Api::start(&lab, cluster("first", "10.244.1.0/24", "10.244.2.0/24"));
    sh(&lab, &node1(), &format!("{} install", testkit::bin("midonet-kube-node").display()));
    lab.start_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "the Nodes are on disk", || {
        sh(&lab, &node1(), "cat /run/cache/nodes.json 2>/dev/null || true")
            .contains("\"cluster_uid\":\"first\"")
    });
    // Away while an agent starts: it goes on with what is on disk.
    api.set(Mood::Refuses(503, "ServiceUnavailable"));
    lab.restart_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "the agent is ready with what is on disk", || {
        let agent = lab.status("node1").unwrap().agent.unwrap();
        agent.ready && agent.objects_from_disk_seconds.is_some() && agent.source_error.contains("503")
    });
    assert_eq!(lab.status("node1").unwrap().network.unwrap().pod_cidrs, ["10.244.1.0/24"]);
    // What answers then at this address is another cluster.
    api.set(cluster("second", "10.244.7.0/24", "10.244.8.0/24"));
    testkit::wait_until(DEADLINE, "the other cluster's Nodes count", || {
        let status = lab.status("node1").unwrap();
        status.agent.unwrap().objects_from_disk_seconds.is_none()
            && status.network.unwrap().pod_cidrs == ["10.244.7.0/24"]
            && status.peers.iter().map(|peer| peer.pod_cidrs.join(",")).eq(["10.244.8.0/24"])
    });
    testkit::wait_until(DEADLINE, "the file is the other cluster's", || {
        sh(&lab, &node1(), "cat /run/cache/nodes.json").contains("\"cluster_uid\":\"second\"")
    });
    let log = fs::read_to_string(lab.log("node1")).unwrap();
    for want in ["route removed cidr=10.244.1.0/24", "route removed cidr=10.244.2.0/24", "another cluster"] {
        assert!(log.contains(want), "{want} in {log}");
    }
    let config = sh(&lab, &node1(), "cat /etc/cni/net.d/10-midonet.conflist");
    assert!(config.contains("10.244.7.0/24") && !config.contains("10.244.1.0/24"), "{config}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_file_that_is_too_old_is_not_used() {
    let (lab, directory) = scene(&["--cache-max-age=0s"]);
    let api = Api::start(&lab, cluster("first", "10.244.1.0/24", "10.244.2.0/24"));
    sh(&lab, &node1(), &format!("{} install", testkit::bin("midonet-kube-node").display()));
    lab.start_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "the Nodes are on disk", || {
        sh(&lab, &node1(), "ls /run/cache 2>/dev/null || true").contains("nodes.json")
    });
    api.set(Mood::Refuses(503, "ServiceUnavailable"));
    lab.restart_agent("node1").unwrap();
    testkit::wait_until(DEADLINE, "the agent says why it waits", || {
        let agent = lab.status("node1").unwrap().agent.unwrap();
        !agent.ready && agent.not_ready_reason.contains("does not list nodes: 503 ServiceUnavailable")
    });
    let log = fs::read_to_string(lab.log("node1")).unwrap();
    assert!(log.contains("the cached objects are not used") && log.contains("the limit is 0s"), "{log}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn readyz_names_what_the_agent_waits_for_and_the_log_each_cause_once() {
    let (lab, directory) = scene(&[]);
    let log = directory.join("log");
    let agent = start(&lab, &directory, &log);
    let readyz = || sh(&lab, &node1(), "curl -s -m5 http://127.0.0.1:9454/readyz || true");
    let refused = format!(
        "waiting for the first list of Nodes: cannot reach the API server {URL}: connection refused; "
    );
    testkit::wait_until(DEADLINE, "it waits for the API server", || readyz().starts_with(&refused));
    assert!(lab.status("node1").unwrap().agent.unwrap().source_error.contains(URL));
    // Three tries or more later.
    thread::sleep(Duration::from_secs(8));
    let api = Api::start(&lab, Mood::Refuses(403, "Forbidden"));
    testkit::wait_until(DEADLINE, "it may not list", || {
        readyz().contains("does not allow to list nodes: 403")
    });
    api.set(Mood::Serves("first", Vec::new()));
    testkit::wait_until(DEADLINE, "it has no Node", || readyz().starts_with("there is no Node node1; "));
    drop(agent);
    let log = fs::read_to_string(log).unwrap();
    let count = |what: &str| log.matches(what).count();
    assert_eq!((count("connection refused"), count("list nodes: 403 Forbidden")), (1, 1), "{log}");
    // Of the other kinds, those that were asked for in that time.
    let kinds = ["services", "endpointslices", "servicecidrs", "networkpolicies", "clusternetworkpolicies"];
    for kind in kinds.into_iter().chain(["namespaces", "pods"]) {
        assert!(count(&format!("list {kind}: 403 Forbidden")) <= 1, "{kind} in {log}");
    }
    for structure in ["Some(", "Error(", "hyper", "kube_client"] {
        assert_eq!(count(structure), 0, "{structure} in {log}");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn check_asks_the_api_server() {
    let (lab, directory) = scene(&[]);
    let check = |more: &str| {
        let program = testkit::bin("midonet-kube-node");
        let line = format!(
            "{} check --node-name node1 --cluster-cidr 10.244.0.0/16 --kubeconfig {} {more} 2>&1 || true",
            program.display(),
            directory.join("config").display()
        );
        sh(&lab, &node1(), &line)
    };
    let line =
        |said: &str, want: &str| assert!(said.lines().any(|line| line.contains(want)), "{want} in:\n{said}");
    line(&check(""), &format!("MISSING  API server {URL} by the kubeconfig "));
    line(&check(""), &format!("cannot reach the API server {URL}: connection refused; start the API server"));
    line(
        &check("--api-server https://FILL-IN-THE-API-SERVERS-ADDRESS:6443"),
        "INVALID  settings: --api-server",
    );
    let api = Api::start(&lab, Mood::Refuses(401, "Unauthorized"));
    line(&check(""), "INVALID  API server");
    line(&check(""), "does not accept the credentials: 401 Unauthorized: the server's words on 401; renew");
    for (mood, want) in [
        (Mood::Refuses(403, "Forbidden"), "MISSING  permissions: "),
        (Mood::Serves("c", Vec::new()), "MISSING  Node node1: there is no Node node1; correct --node-name"),
        (
            cluster("c", "10.99.1.0/24", "10.244.2.0/24"),
            "INVALID  Node node1: Node node1's podCIDR 10.99.1.0/24 lies",
        ),
        (
            cluster("c", "10.244.1.0/24", "10.244.2.0/24"),
            "ok       the uplink, with the tunnel address 172.30.0.11",
        ),
        (
            Mood::Serves("c", vec![node("c", "node1", "10.244.1.0/24", "172.30.0.77")]),
            "MISSING  the uplink, with the tunnel address 172.30.0.77: ",
        ),
    ] {
        api.set(mood);
        line(&check(""), want);
    }
    fs::write(directory.join("config"), "kind: [").unwrap();
    line(&check(""), "INVALID  settings of the API server: cannot use the kubeconfig");
    fs::remove_dir_all(directory).unwrap();
}
