//! Objects for the API server.

use serde_json::{Value, json};

use crate::api::Api;

pub const NODES: &str = "/api/v1/nodes";
pub const PODS: &str = "/api/v1/pods";
pub const SERVICES: &str = "/api/v1/services";
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub const TRANSLATIONS: &str = "/apis/midonet.org/v1/translations";
pub const EVENTS: &str = "/apis/events.k8s.io/v1/events";
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/leases";

/// A node as the agent leaves it: its host is the controllers' to find.
pub fn node(number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("node{number}"),
            "annotations": {"midonet.org/mac-address": format!("02:00:00:00:01:{number:02x}")},
        },
        "spec": {"podCIDR": format!("10.1.{number}.0/24"), "podCIDRs": [format!("10.1.{number}.0/24")]},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("192.0.2.{number}")}]},
    })
}

pub fn pod(name: &str, node: u8, address: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default",
            "annotations": {"midonet.org/mac-address": format!("02:00:00:00:{node:02x}:{address:02x}")},
        },
        "spec": {"nodeName": format!("node{node}")},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("10.1.{node}.{address}")}]},
    })
}

pub fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
        },
    })
}

pub fn slice(service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-1"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    })
}

/// Two nodes with three Pods, and a Service with two endpoints.
pub fn fill(api: &Api) {
    api.create(NODES, node(1));
    api.create(NODES, node(2));
    api.create(PODS, pod("web-0", 1, 3));
    api.create(PODS, pod("web-1", 2, 3));
    api.create(PODS, pod("client", 2, 4));
    api.create(SERVICES, service("web"));
    api.create(SLICES, slice("web", &["10.1.1.3", "10.1.2.3"]));
}
