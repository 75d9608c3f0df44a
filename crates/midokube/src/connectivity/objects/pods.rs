//! Pods: each serves, and is asked to try things, by the image that agents have.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::scene::{CLIENT, FAR, MOVING, NEAR, PORTS};

/// The container's name.
pub(in crate::connectivity) const CONTAINER: &str = "midokube";

/// Nobody of the node.
const USER: i64 = 65_532;

/// What Pods have of their agents'.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::connectivity) struct Template {
    pub(in crate::connectivity) image: String,
    pub(in crate::connectivity) tolerations: Value,
    /// Secrets of these names may be in every namespace; else they do not matter.
    pub(in crate::connectivity) pull_secrets: Value,
}

impl Template {
    /// That of an agent's Pod; `None`: it has no container.
    pub(in crate::connectivity) fn of(agent: &Pod) -> Option<Self> {
        let spec = agent.spec.as_ref()?;
        let image = spec.containers.first()?.image.clone()?;
        let tolerations = serde_json::to_value(spec.tolerations.as_deref().unwrap_or_default()).ok()?;
        let pull_secrets =
            serde_json::to_value(spec.image_pull_secrets.as_deref().unwrap_or_default()).ok()?;
        Some(Self { image, tolerations, pull_secrets })
    }
}

/// The Pod `name` for a node.
///
/// # Errors
/// It is no Pod: a fault of this program.
pub(in crate::connectivity) fn pod(
    (namespace, name): (&str, &str),
    node: &str,
    Template { image, tolerations, pull_secrets }: &Template,
) -> serde_json::Result<Pod> {
    let ports = PORTS.map(|port| port.to_string()).join(",");
    // `NEAR` and `FAR` are the endpoints of Services; `NEAR` is the one of `MOVING`, at first.
    let is_endpoint = [NEAR, FAR].contains(&name);
    let labels = json!({
        "app.kubernetes.io/name": "midokube-connectivity",
        "pod": name,
        "echo": is_endpoint.to_string(),
        "allowed": (name == CLIENT).to_string(),
        MOVING: (name == NEAR).to_string(),
    });
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}},
            "tolerations": tolerations,
            "imagePullSecrets": pull_secrets,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
                // Who may send pings, without a capability.
                "sysctls": [{"name": "net.ipv4.ping_group_range", "value": format!("{USER} {USER}")}],
            },
            "containers": [{
                "name": CONTAINER,
                "image": image,
                // The agents run it: it is there.
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/midokube"],
                "args": ["connectivity", "serve", "--name", name, "--ports", ports],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "256Mi"}},
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }],
        },
    }))
}

/// What makes a Pod an endpoint of `MOVING`, or none.
pub(in crate::connectivity) fn move_label(is_endpoint: bool) -> Value {
    json!({"metadata": {"labels": {MOVING: is_endpoint.to_string()}}})
}
