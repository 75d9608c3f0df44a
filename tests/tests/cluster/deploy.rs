//! The manifests in `deploy/`: settings and metrics by the ConfigMap, `hostPort`, the directories of other distributions,
//! and removal from all nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::commands::{self, Stage};
use super::{Cluster, NODES, wait_for};

const DEADLINE: Duration = Duration::from_secs(120);

const PORT: u16 = 18080;

/// The addresses of the nodes, of both families.
const ADDRESSES: [(&str, [&str; 2]); 3] = [
    ("node1", ["172.30.0.11", "[fd30::11]"]),
    ("node2", ["172.30.0.12", "[fd30::12]"]),
    ("node3", ["172.30.0.13", "[fd30::13]"]),
];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(file)
}

fn set(cluster: &Cluster, data: &Value) {
    let patch = json!({"data": data}).to_string();
    cluster.kubectl(&[
        "-n",
        "kube-system",
        "patch",
        "configmap",
        "midonet-kube-config",
        "--type=merge",
        "-p",
        &patch,
    ]);
}

fn roll_out(cluster: &Cluster) {
    cluster.kubectl(&["-n", "kube-system", "rollout", "restart", "daemonset/midonet-kube-node"]);
    cluster.kubectl(&[
        "-n",
        "kube-system",
        "rollout",
        "status",
        "daemonset/midonet-kube-node",
        "--timeout=180s",
    ]);
}

/// Who serves Services: `off` leaves them to kube-proxy, nothing is the default.
pub(super) fn services_are_switched(cluster: &Cluster, services: Option<&str>) {
    set(cluster, &json!({"SERVICES": services}));
    roll_out(cluster);
}

/// What the containers of these Pods said when they ended.
fn last_words(cluster: &Cluster, selector: &str, field: &str) -> Vec<String> {
    let list = cluster.json(&["-n", "kube-system", "get", "pods", "-l", selector]);
    let statuses = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|pod| pod["status"][field].as_array().into_iter().flatten());
    let ended = statuses.flat_map(|status| {
        [status["state"]["terminated"].clone(), status["lastState"]["terminated"].clone()]
    });
    ended.filter_map(|ended| ended["message"].as_str().map(str::to_owned)).collect()
}

pub(super) fn settings_come_from_the_config_map(cluster: &Cluster) {
    set(cluster, &json!({"MTTU": "1400", "mtu": "1400"}));
    cluster.kubectl(&[
        "-n",
        "kube-system",
        "delete",
        "pod",
        "-l",
        "k8s-app=midonet-kube-node",
        "--field-selector=spec.nodeName=node3",
    ]);
    let wants = [
        "MIDONETKUBE_MTTU in the environment is no setting",
        "MIDONETKUBE_mtu in the environment is no setting; write MIDONETKUBE_MTU",
    ];
    let mut said = Vec::new();
    let told = wait_for(DEADLINE, || {
        said = last_words(cluster, "k8s-app=midonet-kube-node", "containerStatuses");
        said.iter().any(|words| wants.iter().all(|want| words.contains(want)))
    });
    assert!(told, "{said:?}");

    set(
        cluster,
        &json!({"MTTU": null, "mtu": null, "HTTPLISTEN": "[::]:9454", "LOG_LEVEL": "debug", "MTU": "1400"}),
    );
    roll_out(cluster);
    for (node, addresses) in ADDRESSES {
        for address in addresses {
            let page =
                cluster.enter("fabric", &["curl", "-gsfm5", &format!("http://{address}:9454/metrics")]);
            assert!(
                page.contains("midonet_kube_node_ready 1") && page.contains("midonet_kube_node_build_info{"),
                "{page}"
            );
        }
        assert!(
            cluster.enter(node, &["cat", "/etc/cni/net.d/10-midonet.conflist"]).contains("\"mtu\": 1400")
        );
    }
    let agents = cluster.json(&["-n", "kube-system", "get", "daemonset", "midonet-kube-node"]);
    let ports = &agents["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!((&ports[0]["name"], &ports[0]["containerPort"]), (&json!("metrics"), &json!(9454)));
    let logs =
        cluster.kubectl(&["-n", "kube-system", "logs", "-l", "k8s-app=midonet-kube-node", "--tail=-1"]);
    assert!(logs.contains("DEBUG"), "{logs}");
    set(cluster, &json!({"HTTPLISTEN": null, "LOG_LEVEL": null, "MTU": null}));
    roll_out(cluster);
}

fn with_host_port(cluster: &Cluster, name: &str, node: &str) {
    let port = json!([{"containerPort": 8080, "hostPort": PORT}]);
    let container = json!({"name": name, "image": "localhost/agnhost:1", "args": ["netexec", "--http-port=8080"], "ports": port});
    let spec =
        json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}});
    cluster.kubectl(&["run", name, "--image=localhost/agnhost:1", "--overrides", &spec.to_string()]);
}

pub(super) fn a_host_port_is_served_or_refused(cluster: &Cluster) {
    with_host_port(cluster, "served", "node1");
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/served", "--timeout=120s"]);
    for (address, from) in
        ADDRESSES[0].1.iter().flat_map(|address| ["fabric", "node2", "node1"].map(|from| (address, from)))
    {
        let url = format!("http://{address}:{PORT}/hostname");
        assert_eq!(cluster.enter(from, &["curl", "-gsfm10", &url]), "served", "{url} from {from}");
    }
    cluster.kubectl(&["delete", "pod", "served", "--wait=true"]);
    let rules = || cluster.enter("node1", &["nft", "list", "ruleset"]);
    testkit::wait_until(DEADLINE, "portmap's rules are gone", || !rules().contains(&PORT.to_string()));

    cluster.enter("node2", &["mv", "/opt/cni/bin/portmap", "/opt/cni/portmap"]);
    with_host_port(cluster, "refused", "node2");
    let want =
        format!("hostPort {PORT}/tcp for containerPort 8080: the agent of this node serves no Services");
    testkit::wait_until(DEADLINE, "the Pod's events say why it is refused", || {
        cluster.kubectl(&["get", "events", "--field-selector=involvedObject.name=refused"]).contains(&want)
    });
    cluster.enter("node2", &["mv", "/opt/cni/portmap", "/opt/cni/bin/portmap"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/refused", "--timeout=120s"]);
    cluster.kubectl(&["delete", "pod", "refused", "--wait=true"]);
}

/// The rows of the table in docs/install.md: which distribution has its directories of plugins and configurations where.
fn distributions() -> Vec<[String; 3]> {
    let text = fs::read_to_string(deploy("../docs/install.md")).unwrap();
    let rows = text.lines().filter(|line| line.matches('|').count() == 6 && line.contains("| `/"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        [cells[1], cells[3], cells[4]].map(str::to_owned)
    };
    rows.map(row).collect()
}

pub(super) fn other_distributions_have_their_directories(cluster: &Cluster) {
    let all = distributions();
    assert_eq!(all.len(), 8, "{all:?}");
    for [name, plugins, configurations] in all {
        for (file, kind) in [("midonet-kube.yaml", "DaemonSet"), ("cleanup.yaml", "DaemonSet")] {
            let text = fs::read_to_string(deploy(file)).unwrap();
            let text = text.replace("path: /opt/cni/bin,", &format!("path: {plugins},"));
            let text = text.replace("path: /etc/cni/net.d,", &format!("path: {configurations},"));
            let manifest = cluster.directory.join("variant.yaml");
            fs::write(&manifest, text).unwrap();
            let applied = cluster.json(&["apply", "--dry-run=server", "-f", manifest.to_str().unwrap()]);
            let items = applied["items"].as_array().cloned().unwrap_or_else(|| vec![applied.clone()]);
            let set = items.iter().find(|item| item["kind"] == kind).unwrap();
            let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
            let path = |volume: &str| {
                volumes.iter().find(|v| v["name"] == volume).unwrap()["hostPath"]["path"].clone()
            };
            assert_eq!(
                (path("cni-bin"), path("cni-config")),
                (json!(plugins), json!(configurations)),
                "{name}: {file}"
            );
        }
    }
}

/// As far as an API server knows an object of the Prometheus Operator that has nothing of it but that object's name.
fn definition(kind: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {singular}s.monitoring.coreos.com}}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {{kind: {kind}, plural: {singular}s, singular: {singular}}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    )
}

/// What an API server makes of a file in `deploy/` with an object of the Prometheus Operator.
fn taken(cluster: &Cluster, kind: &str, file: &str) -> Value {
    let path = cluster.directory.join("definition.yaml");
    fs::write(&path, definition(kind)).unwrap();
    let path = path.to_str().unwrap();
    cluster.kubectl(&["apply", "-f", path]);
    cluster.kubectl(&["wait", "--for=condition=Established", "-f", path, "--timeout=60s"]);
    let object = cluster.json(&["apply", "--dry-run=server", "-f", deploy(file).to_str().unwrap()]);
    cluster.kubectl(&["delete", "-f", path]);
    object
}

pub(super) fn the_pod_monitor_names_the_agents_and_their_port(cluster: &Cluster) {
    let monitor = taken(cluster, "PodMonitor", "podmonitor.yaml");
    let agents = cluster.json(&["-n", "kube-system", "get", "daemonset", "midonet-kube-node"]);
    let template = &agents["spec"]["template"];
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&template["metadata"]["labels"][label], value, "{label}");
    }
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    assert_eq!(*port, template["spec"]["containers"][0]["ports"][0]["name"]);
    assert_eq!(monitor["metadata"]["namespace"], agents["metadata"]["namespace"]);
    // The alerts look for the job that the Operator gives a PodMonitor's targets: its namespace and name.
    let rules = taken(cluster, "PrometheusRule", "monitoring/prometheusrule.yaml");
    assert_eq!(monitor["metadata"]["name"], "midonet-kube-node");
    assert!(rules["spec"].to_string().contains(r#"up{job=~\"(.*/)?midonet-kube-node\"}"#), "{rules}");
}

/// Everything that the network may leave on a node.
fn left(cluster: &Cluster, node: &str) -> String {
    let look = "ip -br link | awk '{print $1}' | grep mido; nft list tables | grep midonet; ls -A /etc/cni/net.d; \
        ls -A /opt/cni/bin | grep midonet; ls -A /sys/fs/bpf /run /var/lib /var/lib/cni/networks 2>/dev/null | grep midonet; true";
    cluster.enter(node, &["sh", "-c", look])
}

/// The last of all: afterwards there is no network. Pods are in it when it begins.
pub(super) fn nothing_is_left_on_any_node(cluster: &Cluster, shell: &dyn Fn(&str) -> Command) {
    for node in NODES {
        assert!(left(cluster, node).contains("midonet-kube-node"), "{}", left(cluster, node));
    }
    commands::run(Stage::Remove, shell);
    let mut said = Vec::new();
    let refused = wait_for(DEADLINE, || {
        said = last_words(cluster, "app.kubernetes.io/component=cleanup", "initContainerStatuses");
        said.iter()
            .filter(|words| {
                words.contains("Pods on this node still have interfaces: ") && words.contains("default/echo-")
            })
            .count()
            == NODES.len()
    });
    assert!(refused, "{said:?}");

    cluster.undeploy();
    cluster.script("dns-stop");
    commands::run(Stage::Removed, shell);
    for node in NODES {
        assert_eq!(left(cluster, node), "", "on {node}");
    }
}
