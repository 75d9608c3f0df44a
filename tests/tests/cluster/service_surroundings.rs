//! What load balancers, probes and monitoring ask a node for: the ports that kube-proxy has elsewhere.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::NODES;
use super::service_scene::{DEADLINE, From, Scene, ready, terminating};

/// The status code, the headers in lower case, and the body.
fn get(scene: &Scene<'_>, from: From, url: &str) -> (String, String, String) {
    let said = scene.sh(from, &format!("curl -gism20 {url} | tr -d '\\r'"));
    let (head, body) = said.split_once("\n\n").unwrap_or((&said, ""));
    let (status, headers) = head.split_once('\n').unwrap_or((head, ""));
    let code = status.split(' ').nth(1).unwrap_or("none").to_owned();
    (code, headers.to_lowercase(), body.to_owned())
}

/// `healthCheckNodePort`: whether the node has ready endpoints of its own; terminating ones do not count.
pub(super) fn health_check_node_port(scene: &Scene<'_>) {
    let local = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}});
    let service = scene.serve("health", &local, &[ready(1), terminating(2)]);
    let port = service.object["spec"]["healthCheckNodePort"].as_u64().unwrap();
    let port = u16::try_from(port).unwrap();
    let expect = |wants: [u64; 3]| {
        for (node, want) in wants.iter().enumerate() {
            for address in scene.nodes[node] {
                let url = format!("http://{}/any/path", SocketAddr::new(address, port));
                let code = if *want > 0 { "200" } else { "503" };
                testkit::wait_until(DEADLINE, &format!("{url} says {code}"), || {
                    get(scene, From::Outside, &url).0 == code
                });
                let (_, headers, body) = get(scene, From::Outside, &url);
                for header in [
                    "content-type: application/json".to_owned(),
                    "x-content-type-options: nosniff".to_owned(),
                    format!("x-load-balancing-endpoint-weight: {want}"),
                ] {
                    assert!(headers.contains(&header), "{url}: {header} is not in {headers}");
                }
                let body: Value =
                    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{url}: {error}: {body}"));
                let service = json!({"namespace": "default", "name": "health"});
                assert_eq!(
                    body,
                    json!({"service": service, "localEndpoints": want, "serviceProxyHealthy": true}),
                    "{url}"
                );
            }
        }
    };
    expect([1, 0, 0]);
    scene.endpoints(service.name, &[ready(1), ready(3)]);
    expect([1, 0, 1]);
    scene.change(service.name, &json!({"spec": {"externalTrafficPolicy": "Cluster"}}));
    let url = format!("http://{}/", SocketAddr::new(scene.nodes[0][0], port));
    testkit::wait_until(DEADLINE, "the port is closed", || get(scene, From::Outside, &url).0 == "none");
    scene.forget(service.name);
}

/// Port 10256 at every address: `/healthz` and `/livez`. A node that the autoscaler removes is not eligible, and lives.
pub(super) fn proxy_health(scene: &Scene<'_>) {
    let url = |node: usize, family: usize, path: &str| {
        format!("http://{}/{path}", SocketAddr::new(scene.nodes[node][family], 10_256))
    };
    for node in 0..NODES.len() {
        for family in 0..2 {
            for path in ["healthz", "livez"] {
                let url = url(node, family, path);
                let (code, headers, body) = get(scene, From::Outside, &url);
                assert_eq!(code, "200", "{url}: {body}");
                assert!(headers.contains("content-type: application/json"), "{url}: {headers}");
                let body: Value =
                    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{url}: {error}: {body}"));
                for key in ["lastUpdated", "currentTime"] {
                    assert!(body[key].is_string(), "{url}: {body}");
                }
                assert_eq!(body["healthy"], true, "{url}: {body}");
                assert_eq!(
                    body["nodeEligible"],
                    if path == "healthz" { json!(true) } else { Value::Null },
                    "{url}: {body}"
                );
                let families: Vec<&str> =
                    body["status"].as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(families, ["IPv4", "IPv6"], "{url}: {body}");
            }
        }
    }
    let taint = |sign: &str| {
        let taint = format!("ToBeDeletedByClusterAutoscaler=1:NoSchedule{sign}");
        scene.cluster.kubectl(&["taint", "node", "node2", &taint]);
    };
    taint("");
    testkit::wait_until(DEADLINE, "node2 is not eligible", || {
        get(scene, From::Outside, &url(1, 0, "healthz")).0 == "503"
    });
    assert_eq!(get(scene, From::Outside, &url(1, 0, "livez")).0, "200");
    assert_eq!(get(scene, From::Outside, &url(0, 0, "healthz")).0, "200");
    taint("-");
    testkit::wait_until(DEADLINE, "node2 is eligible", || {
        get(scene, From::Outside, &url(1, 0, "healthz")).0 == "200"
    });
}

/// Port 10249 at loopback: `/proxyMode`, and the time from an endpoint's change to its being served, per family.
pub(super) fn proxy_mode_and_metric(scene: &Scene<'_>) {
    let node = From::Node("node1");
    let (code, _, mode) = get(scene, node, "http://127.0.0.1:10249/proxyMode");
    assert_eq!((code.as_str(), mode.trim()), ("200", "ebpf"));
    let refused = scene.sh(node, "curl -gsm5 http://172.30.0.11:10249/proxyMode || echo refused");
    assert_eq!(refused.trim(), "refused");
    let count = |family: &str| -> f64 {
        let page = get(scene, node, "http://127.0.0.1:10249/metrics").2;
        let name = format!("kubeproxy_network_programming_duration_seconds_count{{ip_family=\"{family}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |value| value.parse().unwrap())
    };
    let before = ["IPv4", "IPv6"].map(count);
    let service = scene.serve("metric", &json!({}), &[ready(1)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web1"]);
    scene.endpoints(service.name, &[ready(2)]);
    scene.expect_all(From::Pod("node1"), &service.cluster(), &["web2"]);
    for (family, before) in ["IPv4", "IPv6"].iter().zip(before) {
        testkit::wait_until(DEADLINE, &format!("both changes of {family} are counted"), || {
            count(family) >= before + 2.0
        });
    }
    scene.forget(service.name);
}
