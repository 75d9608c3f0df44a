//! kube-proxy beside the Pod network, in two of its modes, where `--services off` leaves Services to it: names, ClusterIPs,
//! NodePorts and hostPorts, from everywhere, over both families.

use std::net::{IpAddr, SocketAddr};

use e2e::DEADLINE;
use serde_json::Value;

use super::{Cluster, NODES, Pod, wait_for};

const NODE_PORT: u16 = 30_080;
const HOST_PORT: u16 = 18_080;

pub(super) fn kube_proxy_works_beside_it(cluster: &Cluster, pods: &[Pod]) {
    // Its defaults first.
    for mode in ["default", "nftables"] {
        cluster.script_with("proxy-start", &[("PROXY", mode)]);
        let counted: u64 = NODES.iter().map(|node| via_node(cluster, node)).sum();
        a_service_is_reached_by_name_and_number(cluster, pods);
        let now: u64 = NODES.iter().map(|node| via_node(cluster, node)).sum();
        assert!(now > counted, "{mode}: no answer came back through the node that translated its request");
        cluster.script("proxy-stop");
    }
}

/// A Service of a Deployment, and a hostPort, whoever serves them.
pub(super) fn a_service_is_reached_by_name_and_number(cluster: &Cluster, pods: &[Pod]) {
    let addresses = with_service(cluster);
    names_are_resolved(cluster, pods, &addresses);
    services_are_reached(cluster, pods, &addresses);
    host_ports_are_reached(cluster, pods);
    cluster.kubectl(&["delete", "service", "echo"]);
}

/// Creates the Service of the Deployment, and gives its ClusterIPs.
pub(super) fn with_service(cluster: &Cluster) -> Vec<IpAddr> {
    let manifest = cluster.directory.join("service.yaml");
    std::fs::write(&manifest, SERVICE.replace("NODE_PORT", &NODE_PORT.to_string())).unwrap();
    cluster.kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
    let service = cluster.json(&["get", "service", "echo"]);
    let addresses = parse(&service["spec"]["clusterIPs"]);
    assert_eq!(addresses.len(), 2, "{service}");
    addresses
}

fn parse(list: &Value) -> Vec<IpAddr> {
    list.as_array().unwrap().iter().map(|address| address.as_str().unwrap().parse().unwrap()).collect()
}

pub(super) fn url(address: IpAddr, port: u16) -> String {
    format!("http://{}/hostname", SocketAddr::new(address, port))
}

fn exec(cluster: &Cluster, pod: &Pod, line: &str) -> String {
    cluster.kubectl(&["exec", &pod.name, "--", "sh", "-c", line])
}

/// From every Pod, each of the DNS's addresses, over UDP and TCP.
fn names_are_resolved(cluster: &Cluster, pods: &[Pod], service: &[IpAddr]) {
    let servers = cluster.json(&["-n", "kube-system", "get", "service", "kube-dns"]);
    let servers = parse(&servers["spec"]["clusterIPs"]);
    assert_eq!(servers.len(), 2);
    let api = cluster.json(&["get", "service", "kubernetes"]);
    let api = parse(&api["spec"]["clusterIPs"]);
    let mut queries = String::new();
    let mut want = Vec::new();
    for server in &servers {
        for (name, addresses) in [("kubernetes", &api[..]), ("echo", service)] {
            for address in addresses {
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                for transport in ["+notcp", "+tcp"] {
                    queries.push_str(&format!(
                        "dig @{server} +short +tries=3 +time=5 {transport} {kind} {name}.default.svc.cluster.local;"
                    ));
                    want.push(address.to_string());
                }
            }
        }
    }
    // As a program does it: by a short name and /etc/resolv.conf.
    queries
        .push_str("getent hosts kubernetes | grep -o 'kubernetes.*local'; curl -gsfm10 http://echo/hostname");
    want.push("kubernetes.default.svc.cluster.local".into());
    for pod in pods {
        let mut last = Err(String::new());
        let knows_all = || {
            last = cluster.tool("kubectl", &["exec", &pod.name, "--", "sh", "-c", &queries]);
            let Ok(said) = &last else { return false };
            let said: Vec<&str> = said.split_whitespace().collect();
            let (hostname, answers) = said.split_last().unwrap();
            answers == want && pods.iter().any(|pod| pod.name == *hostname)
        };
        // A client of the API server that lost its connection without a word finds out after 45 s: so does the DNS when
        // somebody else serves Services from now on.
        let is_resolved = wait_for(2 * DEADLINE, knows_all);
        assert!(is_resolved, "seen from {}: {last:?} instead of {want:?}", pod.name);
    }
    // What it is for most of all.
    let account = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
    for pod in pods {
        let version = exec(
            cluster,
            pod,
            &format!("curl -sfm10 --cacert {account} https://kubernetes.default.svc/version"),
        );
        assert!(version.contains("gitVersion"), "{version}");
    }
}

/// Every Pod of the Service answers every Pod (itself included), every node and a host outside, sooner or later.
fn services_are_reached(cluster: &Cluster, pods: &[Pod], addresses: &[IpAddr]) {
    let mut want: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    want.sort_unstable();
    let everybody = |from: &str, run: &dyn Fn(&str) -> String, address: IpAddr, port: u16| {
        // One after the other until each was there: a failed one ends it.
        let url = url(address, port);
        let line = format!(
            "seen=; for i in $(seq 300); do name=$(curl -gsSfm10 '{url}') || exit 1; \
             case $seen in *$name*) ;; *) seen=\"$seen $name\" ;; esac; \
             [ $(echo $seen | wc -w) -lt {} ] || break; done; echo $seen",
            want.len()
        );
        let said = run(&line);
        let mut got: Vec<&str> = said.split_whitespace().collect();
        got.sort_unstable();
        assert_eq!(got, want, "{url} seen from {from}");
    };
    let enter = |place: &'static str| move |line: &str| cluster.enter(place, &["bash", "-c", line]);
    let node_addresses: Vec<IpAddr> =
        NODES.iter().flat_map(|node| internal_addresses(cluster, node)).collect();
    assert_eq!(node_addresses.len(), 2 * NODES.len());
    for address in addresses {
        for pod in pods {
            everybody(&pod.name, &|line| exec(cluster, pod, line), *address, 80);
        }
        for node in NODES {
            everybody(node, &enter(node), *address, 80);
        }
    }
    for address in node_addresses {
        everybody("outside", &enter("fabric"), address, NODE_PORT);
        for pod in pods {
            let name = exec(cluster, pod, &format!("curl -gsSfm10 {}", url(address, NODE_PORT)));
            assert!(want.contains(&name.as_str()), "{name}");
        }
    }
}

fn internal_addresses(cluster: &Cluster, node: &str) -> Vec<IpAddr> {
    let node = cluster.json(&["get", "node", node]);
    let addresses = node["status"]["addresses"].as_array().unwrap().clone();
    let internal = addresses.iter().filter(|address| address["type"] == "InternalIP");
    internal.map(|address| address["address"].as_str().unwrap().parse().unwrap()).collect()
}

/// By the datapath, or by the plugin portmap, which is on every node.
fn host_ports_are_reached(cluster: &Cluster, pods: &[Pod]) {
    let node = NODES[0];
    let manifest = cluster.directory.join("host-port.yaml");
    let pod = HOST_PORT_POD.replace("NODE", node).replace("HOST_PORT", &HOST_PORT.to_string());
    std::fs::write(&manifest, pod).unwrap();
    cluster.kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/host-port", "--timeout=60s"]);
    for address in internal_addresses(cluster, node) {
        let line = format!("curl -gsSfm10 {}", url(address, HOST_PORT));
        for pod in pods {
            assert_eq!(exec(cluster, pod, &line), "host-port", "from {} on {}", pod.name, pod.node);
        }
        for place in NODES[1..].iter().chain(&["fabric"]) {
            assert_eq!(cluster.enter(place, &["sh", "-c", &line]), "host-port", "from {place}");
        }
    }
    cluster.kubectl(&["delete", "pod", "host-port", "--wait=true"]);
}

fn via_node(cluster: &Cluster, node: &str) -> u64 {
    let midokube = testkit::bin("midokube");
    let status = cluster.enter(node, &[midokube.to_str().unwrap(), "status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let counters = status["counters"].as_array().unwrap();
    let counter = counters.iter().find(|counter| counter["name"] == "via_node").unwrap();
    counter["packets"].as_u64().unwrap()
}

const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: NODE_PORT}]
"#;

const HOST_PORT_POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: host-port}
spec:
  nodeName: NODE
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: localhost/agnhost:1
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
    ports: [{containerPort: 8080, hostPort: HOST_PORT}]
    readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
"#;
