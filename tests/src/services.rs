//! A Service of the lab and its endpoints, as files.

use anyhow::Result;
use lab::{Lab, Pod};
use serde_json::{Value, json};

/// The port of the ClusterIP.
pub const PORT: u16 = 80;
/// The port of the Pods: another one, so that it is translated, too.
pub const TARGET: u16 = 8080;
/// The port of the nodes.
pub const NODE_PORT: u16 = 30_080;
/// The ClusterIP of each family.
pub const CLUSTER_IPS: [&str; 2] = ["10.96.0.80", "fd96::80"];
/// The agents' argument for them.
pub const SERVICE_CIDRS: &str = "--service-cidr=10.96.0.0/16,fd96::/112";

/// Writes the Service `default/web` of a protocol, whose endpoints are these Pods. Where they are does not matter to it.
///
/// # Errors
/// The lab's directory cannot be written.
pub fn write_service(lab: &Lab, protocol: &str, pods: &[Pod]) -> Result<()> {
    for (number, object) in objects(protocol, pods).iter().enumerate() {
        lab.write_manifest(&format!("web-{number}"), object)?;
    }
    Ok(())
}

/// The Service `default/web` of a protocol.
pub fn service(protocol: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "type": "NodePort", "clusterIP": CLUSTER_IPS[0], "clusterIPs": CLUSTER_IPS,
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"protocol": protocol, "port": PORT, "targetPort": TARGET, "nodePort": NODE_PORT}],
        },
    })
}

/// That Service, and a slice of each family.
fn objects(protocol: &str, pods: &[Pod]) -> [Value; 3] {
    let slice = |family: &str| {
        let is_of = |pod: &Pod| pod.addresses().into_iter().find(|ip| ip.is_ipv4() == (family == "IPv4"));
        let endpoint = |pod: &Pod| {
            json!({
                "addresses": [is_of(pod)], "nodeName": pod.node,
                "conditions": {"ready": true, "serving": true, "terminating": false},
            })
        };
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": "default", "name": format!("web-{}", family.to_lowercase()),
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": family,
            "ports": [{"name": "", "protocol": protocol, "port": TARGET}],
            "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        })
    };
    [service(protocol), slice("IPv4"), slice("IPv6")]
}
