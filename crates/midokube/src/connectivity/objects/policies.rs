//! NetworkPolicies: see `scenarios/policies.rs` for who is to get an answer.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::super::scene::{CONFINED, GUARDED, NEAR, PORT, PORT_BLOCK, PORT_EXCEPT, PORT_NAMESPACE};
use super::{Namespaces, block};

/// Both policies, with the addresses of the client and of the visitor. Their names are those of the Pods that they apply to.
///
/// # Errors
/// One is none: a fault of this program.
pub(in crate::connectivity) fn policies(
    namespaces: &Namespaces,
    client: &[IpAddr],
    visitor: &[IpAddr],
) -> serde_json::Result<[NetworkPolicy; 2]> {
    let ports = |port: u16| json!([{"protocol": "TCP", "port": port}, {"protocol": "UDP", "port": port}]);
    let blocks: Vec<Value> = visitor.iter().map(|one| json!({"ipBlock": {"cidr": block(*one)}})).collect();
    let except: Vec<Value> = client.iter().map(|one| everything_but(*one)).collect();
    let guarded = json!({
        "podSelector": {"matchLabels": {"pod": GUARDED}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"allowed": "true"}}}], "ports": ports(PORT)},
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespaces.other}}}],
                "ports": ports(PORT_NAMESPACE),
            },
            {"from": blocks, "ports": ports(PORT_BLOCK)},
            {"from": except, "ports": ports(PORT_EXCEPT)},
        ],
    });
    let confined = json!({
        "podSelector": {"matchLabels": {"pod": CONFINED}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"pod": NEAR}}}], "ports": ports(PORT)}],
    });
    Ok([policy(namespaces, GUARDED, &guarded)?, policy(namespaces, CONFINED, &confined)?])
}

fn policy(namespaces: &Namespaces, name: &str, spec: &Value) -> serde_json::Result<NetworkPolicy> {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespaces.own}, "spec": spec}))
}

fn everything_but(address: IpAddr) -> Value {
    let all = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    json!({"ipBlock": {"cidr": all, "except": [block(address)]}})
}
