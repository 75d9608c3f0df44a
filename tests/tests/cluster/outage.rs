//! Without an API server Pods are added, reach each other and are deleted, also after the agent was restarted, and Services
//! are served.

use std::net::IpAddr;
use std::time::Duration;

use naming::annotation;
use serde_json::Value;

use super::kube_proxy::{url, with_service};
use super::{Cluster, NODES, Pod};

/// Kubelets start an agent again after a while that doubles each time.
const DEADLINE: Duration = Duration::from_secs(180);

/// A Pod that no kubelet runs: the API server knows it, and the test does what the runtime would.
const LATE: &str = "late";

pub(super) fn an_outage_of_the_api_server_stops_nobody(cluster: &Cluster, pods: &[Pod]) {
    let nobody = r#"{"spec": {"schedulerName": "nobody"}}"#;
    cluster.kubectl(&["run", LATE, "--image=localhost/agnhost:1", "--overrides", nobody]);
    let service = with_service(cluster);
    let served = || {
        for node in NODES {
            for address in &service {
                let said = cluster.enter(node, &["curl", "-gsfm30", &url(*address, 80)]);
                assert!(pods.iter().any(|pod| pod.name == said), "{address} from {node}: {said}");
            }
        }
    };
    testkit::wait_until(DEADLINE, "the Service is served on every node", || {
        let of = |node| {
            service
                .iter()
                .all(|address| cluster.tool("enter", &[node, "curl", "-gsfm2", &url(*address, 80)]).is_ok())
        };
        NODES.into_iter().all(of)
    });
    cluster.script("api-stop");

    // On a node whose agent goes on, and on one whose agent has to start from what it knows.
    comes_talks_and_goes(cluster, "node2", "steady", pods);
    let ready = status(cluster, "node2").is_some_and(|status| status["agent"]["ready"] == true);
    assert!(ready, "an agent that runs stays ready");
    // By which clouds' load balancers go: all nodes at once would be out of them.
    cluster.enter("fabric", &["curl", "-sfm10", "http://172.30.0.12:10256/healthz"]);
    served();
    let agent = cluster.enter("node1", &["pgrep", "-x", "midonet-kube-no"]);
    cluster.enter("node1", &["kill", "-9", agent.trim()]);
    testkit::wait_until(DEADLINE, "the agent of node1 is back, with what was on disk", || {
        let status = status(cluster, "node1");
        status.is_some_and(|s| s["agent"]["ready"] == true && s["agent"]["objectsFromDiskSeconds"].is_u64())
    });
    comes_talks_and_goes(cluster, "node1", "restarted", pods);
    served();
    let late = add(cluster, "node1", LATE);

    cluster.script("api-start");
    testkit::wait_until(DEADLINE, "the agent of node1 works with the API server again", || {
        let status = status(cluster, "node1");
        status.is_some_and(|s| {
            s["agent"]["objectsFromDiskSeconds"].is_null() && s["agent"]["sourceError"].is_null()
        })
    });
    let want: Vec<String> = late.iter().map(ToString::to_string).collect();
    testkit::wait_until(DEADLINE, "what was due meanwhile is annotated", || {
        let pod = cluster.json(&["get", "pod", LATE]);
        pod["metadata"]["annotations"][annotation::IP_ADDRESSES] == want.join(",").as_str()
    });
    delete(cluster, "node1", LATE);
    cluster.kubectl(&["delete", "pod", LATE, "--force"]);
    cluster.everybody_answers(pods);
    served();
    cluster.kubectl(&["delete", "service", "echo"]);
}

/// A Pod is added, talks with Pods of all nodes over both families, is reached, and is deleted.
fn comes_talks_and_goes(cluster: &Cluster, node: &str, name: &str, pods: &[Pod]) {
    let own = add(cluster, node, name);
    assert_eq!(own.len(), 2, "{own:?}");
    let netns = format!("--net=/run/netns/{name}");
    for address in pods.iter().flat_map(|pod| &pod.addresses) {
        let url = format!("http://{}/hostname", std::net::SocketAddr::new(*address, 8080));
        let said = cluster.enter(node, &["nsenter", &netns, "curl", "-gsfm30", &url]);
        assert!(pods.iter().any(|pod| pod.name == said), "{url}: {said}");
    }
    for other in ["node1", "node3"] {
        for address in &own {
            cluster.enter(other, &["ping", "-c1", "-W30", "-q", &address.to_string()]);
        }
    }
    delete(cluster, node, name);
    let ports = status(cluster, node).unwrap()["ports"].to_string();
    assert!(!ports.contains(&format!("\"{name}\"")), "{ports}");
}

/// As the runtime does it. Returns the Pod's addresses.
pub(super) fn add(cluster: &Cluster, node: &str, name: &str) -> Vec<IpAddr> {
    cluster.enter(node, &["ip", "netns", "add", name]);
    let result: Value = serde_json::from_str(&cni(cluster, node, "add", name)).unwrap();
    let addresses = result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap());
    addresses.map(|address| address.parse::<ipnet::IpNet>().unwrap().addr()).collect()
}

pub(super) fn delete(cluster: &Cluster, node: &str, name: &str) {
    cni(cluster, node, "del", name);
    cluster.enter(node, &["ip", "netns", "del", name]);
}

fn cni(cluster: &Cluster, node: &str, verb: &str, name: &str) -> String {
    let pod = format!(
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={name}"
    );
    let netns = format!("/run/netns/{name}");
    let paths = ["CNI_PATH=/opt/cni/bin", "NETCONFPATH=/etc/cni/net.d"];
    let [path, config] = paths;
    cluster.enter(node, &["env", &pod, path, config, "cnitool", verb, "midonet-pod-network", &netns])
}

pub(super) fn status(cluster: &Cluster, node: &str) -> Option<Value> {
    let midokube = testkit::bin("midokube");
    let said = cluster.tool("enter", &[node, midokube.to_str().unwrap(), "status", "-o", "json"]);
    said.ok().map(|text| serde_json::from_str(&text).unwrap())
}
