//! A real Kubernetes: three kubelets with containerd, the product installed by its manifest.
//!
//! One cluster serves all of it, so this is one test that goes from state to state; `tests/cluster`
//! says how the cluster is made. It is made, used and ended by what a user types (`commands`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod commands;
mod conformance;
mod connectivity;
mod deploy;
mod kube_proxy;
mod midonet;
mod midonet_network;
mod outage;
mod policy;
mod readiness;
mod service_everywhere;
mod service_flows;
mod service_objects;
mod service_policy;
mod service_scene;
mod service_surroundings;
mod services;
mod trouble;

use std::io::Write as _;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use commands::Stage;
use naming::{PodKey, annotation};
use serde_json::Value;

const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// So many Pods, spread over the nodes.
const REPLICAS: usize = 6;

/// The cluster under test.
struct Cluster {
    directory: PathBuf,
    script: PathBuf,
    /// It ends with this value.
    ours: bool,
}

/// One Pod as the API server knows it.
struct Pod {
    name: String,
    node: String,
    addresses: Vec<IpAddr>,
    annotations: Value,
}

impl Cluster {
    fn up() -> Self {
        // One that is up already is somebody's: it says so, and stays.
        commands::run(Stage::Up, &commands::user);
        let mut cluster = Self::existing();
        cluster.ours = true;
        cluster
    }

    /// The one that is up, and stays.
    fn existing() -> Self {
        let repository = commands::repository();
        Self {
            directory: repository.join("target/cluster"),
            script: repository.join("tests/cluster/cluster"),
            ours: false,
        }
    }

    fn script(&self, what: &str) {
        self.script_with(what, &[]);
    }

    fn script_with(&self, what: &str, environment: &[(&str, &str)]) {
        let status = Command::new(&self.script).arg(what).envs(environment.iter().copied()).status().unwrap();
        assert!(status.success(), "cluster {what}: {status}; logs are in {}", self.directory.display());
    }

    /// Runs one of the cluster's own tools; what it printed, if it succeeded.
    fn tool(&self, name: &str, args: &[&str]) -> Result<String, String> {
        let output = Command::new(self.directory.join(name)).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!(
                "{name} {args:?}: {}: {}{}",
                output.status,
                text(&output.stdout),
                text(&output.stderr)
            ))
        }
    }

    fn kubectl(&self, args: &[&str]) -> String {
        self.tool("kubectl", args).unwrap_or_else(|error| panic!("{error}"))
    }

    fn enter(&self, node: &str, args: &[&str]) -> String {
        let all: Vec<&str> = [node].iter().chain(args).copied().collect();
        self.tool("enter", &all).unwrap_or_else(|error| panic!("{error}"))
    }

    fn json(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = args.iter().chain(&["-o", "json"]).copied().collect();
        serde_json::from_str(&self.kubectl(&all)).unwrap()
    }

    /// Creates the Deployment and waits until every Pod of it is ready.
    fn deploy(&self) -> Vec<Pod> {
        let manifest = self.directory.join("echo.yaml");
        std::fs::write(&manifest, DEPLOYMENT.replace("REPLICAS", &REPLICAS.to_string())).unwrap();
        self.kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
        self.kubectl(&["rollout", "status", "deployment/echo", "--timeout=300s"]);
        let pods = self.pods();
        assert_eq!(pods.len(), REPLICAS);
        for node in NODES {
            assert_eq!(
                pods.iter().filter(|pod| pod.node == node).count(),
                REPLICAS / NODES.len(),
                "on {node}"
            );
        }
        pods
    }

    fn pods(&self) -> Vec<Pod> {
        let list = self.json(&["get", "pods", "-l", "app=echo"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = |item: &Value| Pod {
            name: text(&item["metadata"]["name"]),
            node: text(&item["spec"]["nodeName"]),
            addresses: item["status"]["podIPs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|ip| ip["ip"].as_str().unwrap().parse().unwrap())
                .collect(),
            annotations: item["metadata"]["annotations"].clone(),
        };
        list["items"].as_array().unwrap().iter().map(pod).collect()
    }

    /// Every Pod answers from every node and from every Pod, over both families.
    fn everybody_answers(&self, pods: &[Pod]) {
        let urls: Vec<String> = pods
            .iter()
            .flat_map(|pod| &pod.addresses)
            .map(|address| format!("http://{}/hostname", std::net::SocketAddr::new(*address, 8080)))
            .collect();
        let mut want: Vec<&str> =
            pods.iter().flat_map(|pod| pod.addresses.iter().map(|_| pod.name.as_str())).collect();
        want.sort_unstable();
        let loops = format!("for url in {}; do curl -gsfm30 $url || exit 1; echo; done", urls.join(" "));
        let check = |who: &str, said: String| {
            let mut got: Vec<&str> = said.split_whitespace().collect();
            got.sort_unstable();
            assert_eq!(got, want, "seen from {who}");
        };
        for node in NODES {
            check(node, self.enter(node, &["sh", "-c", &loops]));
        }
        for pod in pods {
            check(&pod.name, self.kubectl(&["exec", &pod.name, "--", "sh", "-c", &loops]));
        }
    }

    /// The annotations say what the Pod itself and the formula say.
    fn annotations_are_right(&self, pods: &[Pod]) {
        for pod in pods {
            let mac = self.kubectl(&["exec", &pod.name, "--", "cat", "/sys/class/net/eth0/address"]);
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            let port_id = naming::pod_port_id(&PodKey::new("default", &pod.name)).to_string();
            for (key, want) in [
                (annotation::MAC_ADDRESS, mac.trim()),
                (annotation::IP_ADDRESSES, &addresses.join(",")),
                (annotation::PORT_ID, &port_id),
            ] {
                assert_eq!(pod.annotations[key], want, "{key} of {}", pod.name);
            }
        }
    }

    fn undeploy(&self) {
        self.kubectl(&["delete", "deployment/echo", "--wait=true"]);
        testkit::wait_until(Duration::from_secs(180), "the Pods are gone", || self.pods().is_empty());
    }

    /// What a failure is looked at with: Pods, nodes, events, and the end of the agents' logs.
    fn describe(&self) -> String {
        let agents =
            ["-n", "kube-system", "logs", "-l", "k8s-app=midonet-kube-node", "--prefix", "--tail=20"];
        let all = [&["get", "pods,nodes,events", "-A", "-o", "wide"][..], &agents];
        all.map(|args| self.tool("kubectl", args).unwrap_or_else(|error| error)).join("\n")
    }

    /// What Pods leave on a node: links, addresses, routes and entries of the datapath.
    fn traces(&self, node: &str) -> String {
        let midokube = testkit::bin("midokube");
        let status = self.enter(node, &[midokube.to_str().unwrap(), "status", "-o", "json"]);
        let mut status: Value = serde_json::from_str(&status).unwrap();
        // What Pods send meanwhile leaves no trace.
        for port in status["ports"].as_array_mut().unwrap() {
            port.as_object_mut().unwrap().retain(|key, _| key != "received" && key != "sent");
        }
        let links = self.enter(node, &["sh", "-c", "ip -br link | awk '{print $1}' | sort"]);
        let routes = self.enter(node, &["sh", "-c", "ip route; ip -6 route show | grep -v fe80"]);
        let addresses = self.enter(node, &["sh", "-c", "cd /var/lib/cni/networks 2>/dev/null && find . -name '*[.:]*' ! -name 'last_reserved_ip.*' -type f | sort || true"]);
        format!("{links}{routes}{addresses}{}", status["ports"])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.ours {
            let _status = Command::new(&self.script).arg("down").status();
        }
    }
}

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: echo}}}
      containers:
      - name: echo
        image: localhost/agnhost:1
        imagePullPolicy: Never
        args: [netexec, --http-port=8080]
        readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
"#;

#[test]
fn a_real_kubernetes_works_and_nothing_is_left() {
    testkit::require_root();
    // For whoever works on Services: some of their checks alone, on the cluster of `make cluster`, which stays.
    if let Ok(wanted) = std::env::var("SERVICE_CHECKS") {
        return services::work_without_kube_proxy(&Cluster::existing(), &wanted);
    }
    // The same for who works on MidoNet.
    if std::env::var_os("MIDONET_ALONE").is_some() {
        return midonet::a_midonet_has_what_the_cluster_has(&Cluster::existing());
    }
    // And on the test of connectivity.
    if let Ok(wanted) = std::env::var("CONNECTIVITY_FAULTS") {
        return connectivity::who_reaches_whom_is_tested(&Cluster::existing(), &wanted);
    }
    step("commands that take no cluster", commands_without_a_cluster);
    let cluster = step("the cluster is made", Cluster::up);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| from_state_to_state(&cluster))) {
        eprintln!("{}", cluster.describe());
        drop(cluster);
        // Whoever reads the end of a log reads the cause.
        eprintln!("\nwhat failed, once more: {}", message(&*panic));
        resume_unwind(panic);
    }
}

/// Runs a part of the test and says at once how long it took: on standard error itself, as macros print to what cargo captures.
fn step<T>(name: &str, run: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let ended = if outcome.is_ok() { "ok" } else { "FAILED" };
    let line = format!("cluster: {name} ... {ended} ({:.0} s)\n", begin.elapsed().as_secs_f64());
    let _written = std::io::stderr().write_all(line.as_bytes());
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

fn from_state_to_state(cluster: &Cluster) {
    step("a place writes nothing to the host", || a_place_writes_nothing_to_the_host(cluster));
    let directory = step("commands on the cluster", || typed_on_the_cluster(cluster));
    let before = NODES.map(|node| cluster.traces(node));

    let pods = step("Pods answer", || {
        let pods = cluster.deploy();
        cluster.everybody_answers(&pods);
        testkit::wait_until(Duration::from_secs(60), "every Pod is annotated", || {
            cluster.pods().iter().all(|pod| pod.annotations.get(annotation::PORT_ID).is_some())
        });
        cluster.annotations_are_right(&cluster.pods());
        pods
    });
    step("policy", || policy::is_previewed_and_waited_for_on_every_node(cluster, &pods));
    step("connectivity", || connectivity::who_reaches_whom_is_tested(cluster, ""));
    step("Services by name", || kube_proxy::a_service_is_reached_by_name_and_number(cluster, &pods));
    std::thread::scope(|scope| {
        let upstream =
            scope.spawn(|| step("upstream's specs", || conformance::upstreams_specs_pass(cluster)));
        step("Services", || services::work_without_kube_proxy(cluster, ""));
        upstream.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
    step("trouble", || {
        trouble::a_token_is_for_what_is_needed(cluster, &pods);
        trouble::a_cluster_in_trouble_loses_nothing(cluster, &pods);
    });
    step("MidoNet", || midonet::a_midonet_has_what_the_cluster_has(cluster));
    step("nothing is left", || {
        cluster.undeploy();
        leaves_nothing(cluster, &before);
    });
    step("readiness", || readiness::a_node_is_ready_while_the_plugin_is(cluster));
    step("Go plugin and kube-proxy", || the_go_plugin_and_kube_proxy(cluster, &before));
    step("settings", || deploy::settings_come_from_the_config_map(cluster));
    step("directories and monitoring", || {
        deploy::other_distributions_have_their_directories(cluster);
        deploy::the_pod_monitor_names_the_agents_and_their_port(cluster);
    });
    step("removal", || the_network_is_removed(cluster, &directory));
}

/// The same with the Go plugin, which the runtime's plugin executes, and with kube-proxy for Services.
fn the_go_plugin_and_kube_proxy(cluster: &Cluster, before: &[String; 3]) {
    let daemonset = ["-n", "kube-system", "daemonset/midonet-kube-node"];
    let [n, ns, target] = daemonset;
    cluster.kubectl(&[n, ns, "set", "env", target, "MIDONETKUBE_IPAMTYPE=host-local"]);
    cluster.kubectl(&[n, ns, "rollout", "status", target, "--timeout=300s"]);
    for node in NODES {
        let config = cluster.enter(node, &["cat", "/etc/cni/net.d/10-midonet.conflist"]);
        assert!(config.contains("\"type\": \"host-local\""), "{config}");
    }
    let pods = cluster.deploy();
    cluster.everybody_answers(&pods);
    deploy::services_are_switched(cluster, Some("off"));
    kube_proxy::kube_proxy_works_beside_it(cluster, &pods);
    cluster.everybody_answers(&pods);
    cluster.undeploy();
    deploy::a_host_port_is_served_or_refused(cluster);
    deploy::services_are_switched(cluster, None);
    leaves_nothing(cluster, before);
}

/// Pods are there when it begins; at its end there is no cluster.
fn the_network_is_removed(cluster: &Cluster, directory: &tempfile::TempDir) {
    cluster.deploy();
    deploy::nothing_is_left_on_any_node(cluster, &|line| with_kubectl(cluster, directory, line));
    commands::run(Stage::NodeAtEnd, &|line| on_a_node(cluster, directory, line));
    let left = cluster
        .enter("node1", &["sh", "-c", "ls /etc/cni/net.d /sys/fs/bpf /sys/class/net; nft list tables"]);
    assert!(!left.contains("mido"), "{left}");
    commands::run(Stage::Down, &commands::user);
    assert!(!cluster.directory.exists(), "{} is left", cluster.directory.display());
}

/// The lab's commands and what takes no cluster.
fn commands_without_a_cluster() {
    let own = commands::OwnRun::new();
    commands::run(Stage::Lab, &|line| own.shell(line));
}

/// The commands for a cluster and for a node that has the agent. What they are typed beside is in the directory.
fn typed_on_the_cluster(cluster: &Cluster) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let repository = commands::repository();
    let deploy = directory.path().join("deploy");
    let copy = |from: &str, to: &std::path::Path| {
        testkit::run(Command::new("cp").arg("-r").arg(repository.join(from)).arg(to));
    };
    copy("deploy", directory.path());
    copy("target/midonet-kube.tar", directory.path());
    // With the settings of this cluster, as `cluster up` filled them in.
    copy("target/cluster/midonet-kube.yaml", &deploy);
    let policies = directory.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("web.yaml"), POLICY).unwrap();
    let policies = policies.to_str().unwrap();
    cluster.kubectl(&["apply", "-f", policies]);
    commands::run(Stage::Kubectl, &|line| with_kubectl(cluster, &directory, line));
    cluster.kubectl(&["delete", "-f", policies]);
    commands::run(Stage::Node, &|line| on_a_node(cluster, &directory, line));
    directory
}

/// A policy that is there when commands about one are typed. No Pod has that label.
const POLICY: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {matchLabels: {app: documented}}, policyTypes: [Ingress]}
";

/// A shell beside the directory `deploy`, with the cluster's kubectl and midokube in PATH.
fn with_kubectl(cluster: &Cluster, directory: &tempfile::TempDir, line: &str) -> Command {
    let mut command = commands::user(line);
    let path = format!("{}:{}", cluster.directory.display(), std::env::var("PATH").unwrap());
    command.current_dir(directory.path()).env("PATH", path).env("MIDOKUBE_BIN", e2e::programs());
    command
}

/// A shell on node1 whose environment has the agent's settings.
fn on_a_node(cluster: &Cluster, directory: &tempfile::TempDir, line: &str) -> Command {
    let line = format!("cd {}; PATH={}:$PATH; {line}", directory.path().display(), e2e::programs().display());
    let mut command = Command::new(cluster.directory.join("enter"));
    command.args(["node1", "bash", "-ec", &line]);
    command.env("MIDONETKUBE_NODENAME", "node1").env("MIDONETKUBE_CLUSTERCIDR", "10.244.0.0/16,fd44::/48");
    command.env("MIDONETKUBE_KUBECONFIG", cluster.directory.join("pki/admin.conf"));
    command
}

/// Wherever a place writes, it is its own, or cannot be written.
fn a_place_writes_nothing_to_the_host(cluster: &Cluster) {
    let name = testkit::unique("midokube-written-");
    let directories = [
        "",
        "/boot",
        "/etc",
        "/etc/cni/net.d",
        "/home",
        "/mnt",
        "/opt",
        "/opt/cni/bin",
        "/root",
        "/run",
        "/srv",
        "/sys/fs/bpf",
        "/usr",
        "/usr/local/bin",
        "/usr/libexec",
        "/var",
        "/var/lib",
        "/var/lib/cni",
        "/var/lib/midonet-kube-node",
        "/var/tmp",
    ];
    let files: Vec<String> = directories.iter().map(|directory| format!("{directory}/{name}")).collect();
    let line = format!("for f in {}; do mkdir -p $f 2>/dev/null && echo $f; done; true", files.join(" "));
    let written = cluster.enter("node2", &["sh", "-c", &line]);
    for directory in
        ["/etc/cni/net.d", "/opt/cni/bin", "/usr/libexec", "/var/lib", "/var/lib/midonet-kube-node", "/root"]
    {
        assert!(
            written.contains(&format!("{directory}/{name}\n")),
            "{directory} is no node's own: {written}"
        );
    }
    let leaked: Vec<_> = files.iter().filter(|file| std::fs::remove_dir(file).is_ok()).collect();
    assert!(leaked.is_empty(), "on the host: {leaked:?}");
    cluster.enter("node2", &["sh", "-c", &format!("rmdir {} 2>/dev/null; true", files.join(" "))]);
}

fn leaves_nothing(cluster: &Cluster, before: &[String; 3]) {
    for (node, want) in NODES.iter().zip(before) {
        let mut now = String::new();
        let same = || {
            now = cluster.traces(node);
            now == *want
        };
        let clean = wait_for(Duration::from_secs(60), same);
        assert!(clean, "on {node} there was\n{want}\nand is\n{now}");
    }
}

/// Like `testkit::wait_until`, for a caller that tells more than that it took too long.
fn wait_for(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
