//! What happens to a cluster that is at work: agents are replaced, many Pods come at once, the API server has no time,
//! is broken or falls silent. No node stops being Ready, and no packet is lost.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use naming::annotation;
use serde_json::{Value, json};

use super::outage::{self, add, delete, status};
use super::{Cluster, NODES, Pod};

const DEADLINE: Duration = Duration::from_secs(120);

/// So many Pods come at once to one node: with its others, as many as a kubelet takes by default.
const CROWD: usize = 105;

/// Where they come.
const CROWDED: &str = "node2";

/// The agent's user.
const USER: &str = "system:serviceaccount:kube-system:midonet-kube-node";

/// A Pod of node1 whose pings, ten a second, count what is lost.
const PINGER: &str = "pinger";

pub(super) fn a_cluster_in_trouble_loses_nothing(cluster: &Cluster, pods: &[Pod]) {
    let before = ready_since(cluster);
    add(cluster, "node1", PINGER);
    let pings: Vec<Ping> =
        pods.iter().flat_map(|pod| &pod.addresses).map(|address| Ping::start(cluster, *address)).collect();

    let silent = falls_silent(cluster, "node3");
    has_no_time(cluster, "node1");
    is_noticed_and_replaced(cluster, "node3", &silent);
    agents_are_replaced_while_many_pods_come(cluster);
    assert_eq!(ready_since(cluster), before, "no node was anything but Ready meanwhile");
    // Longer than that: Kubernetes itself may doubt a node that it has not heard of.
    outage::an_outage_of_the_api_server_stops_nobody(cluster, pods);

    for ping in pings {
        ping.lost_nothing(cluster);
    }
    delete(cluster, "node1", PINGER);
}

/// Since when each node is Ready.
fn ready_since(cluster: &Cluster) -> Vec<(String, String)> {
    let ready = |node: &str| {
        let node = cluster.json(&["get", "node", node]);
        let ready = super::readiness::condition(&node, "Ready").unwrap();
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        (text("status"), text("lastTransitionTime"))
    };
    NODES.map(ready).into()
}

struct Ping {
    address: IpAddr,
    pid: String,
    child: Child,
}

impl Ping {
    fn start(cluster: &Cluster, address: IpAddr) -> Self {
        let pid = format!("/run/ping-{address}");
        let line = format!("echo $$ >{pid}; exec ping -q -n -i0.1 {address}");
        let netns = format!("--net=/run/netns/{PINGER}");
        let child = Command::new(cluster.directory.join("enter"))
            .args(["node1", "nsenter", &netns, "sh", "-c", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { address, pid, child }
    }

    fn lost_nothing(self, cluster: &Cluster) {
        cluster.enter("node1", &["sh", "-c", &format!("kill -INT $(cat {0}); rm {0}", self.pid)]);
        let said = self.child.wait_with_output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        // "100 packets transmitted, 100 received, 0% packet loss, time 9999ms"
        let counts = said
            .lines()
            .find(|line| line.contains("packets transmitted"))
            .unwrap_or_else(|| panic!("{said}"));
        let counts: Vec<u64> = counts.split(' ').filter_map(|word| word.parse().ok()).collect();
        let (sent, received) = (counts[0], counts[1]);
        // The answer to the last one may have been on its way.
        assert!(sent > 100 && received + 1 >= sent, "to {}: {said}", self.address);
    }
}

/// Makes the agent's connections to the API server half open: packets of them are lost. Returns when, and how many
/// connections had been given up before.
fn falls_silent(cluster: &Cluster, node: &str) -> (Instant, u64) {
    let lost = errors(cluster, node, "watch", "unreachable");
    let connections = cluster.enter(node, &["ss", "-Htnp", "state", "established", "dport", "=", ":6443"]);
    let ports: Vec<&str> = connections
        .lines()
        .filter(|line| line.contains("midonet-kube-no"))
        .map(|line| line.split_whitespace().nth(2).unwrap().rsplit_once(':').unwrap().1)
        .collect();
    assert!(!ports.is_empty(), "{connections}");
    let ports = ports.join(", ");
    let rules = format!(
        "add table inet hole; \
         add chain inet hole out {{ type filter hook output priority -300; }}; \
         add chain inet hole in {{ type filter hook input priority -300; }}; \
         add rule inet hole out tcp sport {{ {ports} }} tcp dport 6443 drop; \
         add rule inet hole in tcp dport {{ {ports} }} tcp sport 6443 drop"
    );
    cluster.enter(node, &["nft", &rules]);
    (Instant::now(), lost)
}

fn is_noticed_and_replaced(cluster: &Cluster, node: &str, (since, lost): &(Instant, u64)) {
    let left = Duration::from_secs(45).saturating_sub(since.elapsed());
    testkit::wait_until(left.max(Duration::from_secs(1)), "the silence is noticed", || {
        errors(cluster, node, "watch", "unreachable") > *lost
    });
    testkit::wait_until(DEADLINE, "another connection is used", || source_error(cluster, node).is_none());
    cluster.enter(node, &["nft", "delete table inet hole"]);
}

/// An agent starts while the API server rejects all its requests, as API Priority and Fairness does: 429 in plain text,
/// and a header that says how long to wait.
fn has_no_time(cluster: &Cluster, node: &str) {
    let (directory, answer) = (cluster.directory.display(), cluster.directory.join("no-time.http"));
    std::fs::write(&answer, NO_TIME).unwrap();
    let server = format!(
        "echo $$ >/run/no-time; exec socat \
         OPENSSL-LISTEN:7443,fork,reuseaddr,verify=0,cert={directory}/pki/apiserver.crt,key={directory}/pki/apiserver.key \
         SYSTEM:'cat {}; cat >/dev/null'",
        answer.display()
    );
    let enter = cluster.directory.join("enter");
    let mut server =
        Command::new(enter).args([node, "sh", "-c", &server]).stderr(Stdio::null()).spawn().unwrap();
    testkit::wait_until(DEADLINE, "the rejecting server listens", || {
        !cluster.enter(node, &["ss", "-Htln", "sport", "=", ":7443"]).is_empty()
    });
    // New connections go there, which are the agent's: the kubelet keeps its own.
    let rules = "add table inet no-time; add chain inet no-time out { type nat hook output priority -100; }; \
                 add rule inet no-time out ip daddr 172.30.0.10 tcp dport 6443 dnat ip to 172.30.0.11:7443";
    cluster.enter(node, &["nft", rules]);
    let agent = cluster.enter(node, &["pgrep", "-x", "midonet-kube-no"]);
    cluster.enter(node, &["kill", "-9", agent.trim()]);
    testkit::wait_until(DEADLINE, "the agent says that it is rejected, and serves", || {
        let status = status(cluster, node).unwrap_or_default();
        let error = status["agent"]["sourceError"].as_str().unwrap_or_default();
        status["agent"]["ready"] == true && error.contains("429 TooManyRequests")
    });
    cluster.enter(node, &["nft", "delete table inet no-time"]);
    cluster.enter(node, &["sh", "-c", "kill $(cat /run/no-time)"]);
    let _ended = server.wait().unwrap();
    testkit::wait_until(DEADLINE, "it is served again", || {
        status(cluster, node).is_some_and(|status| {
            status["agent"]["sourceError"].is_null() && status["agent"]["objectsFromDiskSeconds"].is_null()
        })
    });
}

/// While the API server answers agents' writes with 500.
fn agents_are_replaced_while_many_pods_come(cluster: &Cluster) {
    apply(cluster, "broken.yaml", BROKEN);
    let crowd = CROWD_YAML.replace("CROWD", &CROWD.to_string()).replace("NODE", CROWDED);
    apply(cluster, "crowd.yaml", &crowd);
    let daemonset = ["-n", "kube-system", "daemonset/midonet-kube-node"];
    let [n, ns, target] = daemonset;
    cluster.kubectl(&[n, ns, "rollout", "restart", target]);
    cluster.kubectl(&[n, ns, "rollout", "status", target, "--timeout=300s"]);
    cluster.kubectl(&["rollout", "status", "deployment/crowd", "--timeout=600s"]);
    testkit::wait_until(DEADLINE, "annotations are refused with 500", || {
        errors(cluster, CROWDED, "patch", "server") > 0
    });
    cluster.kubectl(&["delete", "-f", cluster.directory.join("broken.yaml").to_str().unwrap()]);
    testkit::wait_until(DEADLINE, "all Pods are annotated by their status", || {
        let pods = cluster.json(&["get", "pods", "-l", "app=crowd"]);
        let pods = pods["items"].as_array().unwrap();
        let annotated = |pod: &&Value| pod["metadata"]["annotations"][annotation::PORT_ID].is_string();
        pods.iter().filter(annotated).count() == CROWD
    });
    cluster.kubectl(&["delete", "deployment/crowd", "--wait=true"]);
    testkit::wait_until(Duration::from_secs(600), "the Pods are gone", || {
        cluster.kubectl(&["get", "pods", "-l", "app=crowd", "-o", "name"]).is_empty()
    });
}

/// Whoever has an agent's token changes no Pod, and a Node's problems are told in Kubernetes.
pub(super) fn a_token_is_for_what_is_needed(cluster: &Cluster, pods: &[Pod]) {
    let pod = &pods[0].name;
    let image = json!({"spec": {"containers": [{"name": "echo", "image": "evil"}]}}).to_string();
    let patch = |more: &[&str]| {
        let all = [&["patch", "pod", pod, "--as", USER, "-p", &image], more].concat();
        cluster.tool("kubectl", &all)
    };
    let refused = patch(&[]).unwrap_err();
    assert!(refused.contains("forbidden"), "{refused}");
    let _ = patch(&["--subresource=status"]);
    let now = cluster.json(&["get", "pod", pod]);
    assert_eq!(now["spec"]["containers"][0]["image"], "localhost/agnhost:1");

    assert_eq!(degraded(cluster, "node1").0, "False");
    let key = annotation::TUNNEL_ENDPOINT_IP;
    cluster.kubectl(&["annotate", "node", "node3", &format!("{key}=0.0.0.0")]);
    testkit::wait_until(DEADLINE, "node1's condition tells of it", || {
        let (status, message) = degraded(cluster, "node1");
        status == "True" && message.contains("node3") && message.contains("0.0.0.0")
    });
    testkit::wait_until(DEADLINE, "an Event tells of it", || {
        cluster.kubectl(&["describe", "node", "node1"]).contains("midonet.org/midonet-kube-node")
    });
    cluster.kubectl(&["annotate", "node", "node3", &format!("{key}-")]);
    testkit::wait_until(DEADLINE, "it is over", || degraded(cluster, "node1").0 == "False");
    let node = cluster.json(&["get", "node", "node1"]);
    assert_eq!(super::readiness::condition(&node, "Ready").unwrap()["status"], "True");
}

/// The status of the condition, and its message.
fn degraded(cluster: &Cluster, node: &str) -> (String, String) {
    let node = cluster.json(&["get", "node", node]);
    let condition = super::readiness::condition(&node, "MidonetKubeDegraded").unwrap_or_default();
    let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

fn source_error(cluster: &Cluster, node: &str) -> Option<String> {
    let status = status(cluster, node)?;
    Some(status["agent"]["sourceError"].as_str()?.to_owned())
}

/// How many requests of the node's agent failed like this.
fn errors(cluster: &Cluster, node: &str, verb: &str, reason: &str) -> u64 {
    let page = cluster.enter(node, &["curl", "-sfm10", "http://127.0.0.1:9454/metrics"]);
    let name = format!("midonet_kube_node_api_errors_total{{verb=\"{verb}\",reason=\"{reason}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{page}"));
    value.parse().unwrap()
}

fn apply(cluster: &Cluster, name: &str, manifest: &str) {
    let path = cluster.directory.join(name);
    std::fs::write(&path, manifest).unwrap();
    cluster.kubectl(&["apply", "-f", path.to_str().unwrap()]);
}

const NO_TIME: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n\
    Content-Length: 43\r\nConnection: close\r\n\r\nToo many requests, please try again later.\n";

/// A webhook that nobody serves.
const BROKEN: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: broken}
webhooks:
- name: broken.midonet.org
  admissionReviewVersions: [v1]
  clientConfig: {url: "https://127.0.0.1:1/"}
  failurePolicy: Fail
  sideEffects: None
  timeoutSeconds: 1
  matchConditions:
  - {name: agents, expression: "request.userInfo.username == 'system:serviceaccount:kube-system:midonet-kube-node'"}
  rules:
  - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/status]}
"#;

const CROWD_YAML: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: crowd}
spec:
  replicas: CROWD
  selector: {matchLabels: {app: crowd}}
  template:
    metadata: {labels: {app: crowd}}
    spec:
      nodeName: NODE
      terminationGracePeriodSeconds: 0
      containers:
      - {name: pause, image: "localhost/pause:1", imagePullPolicy: Never}
"#;
