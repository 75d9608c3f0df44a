//! Services from everywhere a packet can come from: Pods, the backends themselves among them, nodes, hosts outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::json;

use super::NODES;
use super::service_scene::{From, PROTOCOLS, Protocol, REFUSED, Scene, Service, To, both, node_port, ready};

const WEBS: [&str; 3] = ["web1", "web2", "web3"];

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn clients() -> impl Iterator<Item = From> {
    NODES.iter().flat_map(|node| [From::Pod(node), From::Node(node)])
}

/// Every frontend that clients inside use.
fn inside(scene: &Scene<'_>, service: &Service) -> Vec<To> {
    let mut all = service.cluster();
    all.extend(scene.nodes.iter().flat_map(|addresses| service.node(*addresses)));
    all
}

/// All three Pods answer at the ClusterIPs and at every node's NodePorts.
pub(super) fn pods_answer_everywhere(scene: &Scene<'_>) {
    let service = scene.serve("everywhere", &node_port(), &[ready(1), ready(2), ready(3)]);
    for from in clients() {
        scene.expect_all(from, &inside(scene, &service), &WEBS);
    }
    for addresses in &scene.nodes {
        scene.expect_all(From::Outside, &service.node(*addresses), &WEBS);
    }
    scene.forget(service.name);
}

/// The same with Pods that have their node's network, the client's own node among them.
pub(super) fn host_network_pods_answer_everywhere(scene: &Scene<'_>) {
    let service = scene.serve("host-network", &node_port(), &[]);
    scene.host_endpoints(service.name, &[ready(1), ready(2), ready(3)]);
    for from in clients() {
        scene.expect_all(from, &inside(scene, &service), &NODES);
    }
    for addresses in &scene.nodes {
        scene.expect_all(From::Outside, &service.node(*addresses), &NODES);
    }
    scene.forget(service.name);
}

/// A Pod reaches itself through its own Service, and a node what runs on it alone.
pub(super) fn backends_reach_themselves(scene: &Scene<'_>) {
    let service = scene.serve("hairpin", &node_port(), &[ready(2)]);
    scene.expect_all(From::Web(2), &inside(scene, &service), &["web2"]);
    scene.host_endpoints(service.name, &[ready(2)]);
    scene.expect_all(From::Node("node2"), &inside(scene, &service), &["node2"]);
    scene.forget(service.name);
}

/// NodePorts at 127.0.0.1 and ::1, over TCP.
pub(super) fn node_ports_on_loopback(scene: &Scene<'_>) {
    let service = scene.serve("loopback", &node_port(), &[ready(1), ready(2), ready(3)]);
    for node in NODES {
        for address in LOOPBACK {
            scene.expect(From::Node(node), To(Protocol::Tcp, address, service.node_ports[0]), &WEBS);
        }
    }
    scene.forget(service.name);
}

/// A hostPort at every address of its node, from everywhere, and over TCP at its loopback addresses.
pub(super) fn host_ports(scene: &Scene<'_>) {
    let port = 18_090;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "with-ports"}, "spec": {
        "nodeName": "node1", "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "web", "image": "localhost/agnhost:1", "imagePullPolicy": "Never",
            "args": ["netexec", "--http-port=8080", "--udp-port=8080"],
            "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1},
            "ports": PROTOCOLS.map(|protocol| json!({"protocol": if protocol == Protocol::Tcp { "TCP" } else { "UDP" },
                "containerPort": 8080, "hostPort": port}))}]}});
    scene.apply(&pod);
    scene.cluster.kubectl(&["wait", "--for=condition=Ready", "pod/with-ports", "--timeout=60s"]);
    for from in clients().chain([From::Outside]) {
        scene.expect_all(from, &both(scene.nodes[0], port), &["with-ports"]);
    }
    for address in LOOPBACK {
        scene.expect(From::Node("node1"), To(Protocol::Tcp, address, port), &["with-ports"]);
    }
    let addresses = both(scene.nodes[0], port);
    let seen = scene.client_address(From::Outside, addresses[0]);
    assert_eq!(seen.to_string(), "172.30.0.1", "the client's address is kept");
    scene.cluster.kubectl(&["delete", "pod", "with-ports", "--wait=true"]);
    for to in addresses {
        scene.expect(From::Outside, to, REFUSED);
    }
}
