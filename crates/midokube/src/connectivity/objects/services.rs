//! Services.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::super::scene::{
    ECHO, EMPTY, FAR, GUARDED, HEADLESS, INNER, MOVING, NEAR, OUTER, PORT, SERVICE_PORT, STICKY,
};

/// All Services.
///
/// # Errors
/// One is none: a fault of this program.
pub(in crate::connectivity) fn services(namespace: &str) -> serde_json::Result<Vec<Service>> {
    let echo = || json!({"echo": "true"});
    let pod = |name: &str| json!({"pod": name});
    [
        (ECHO, echo(), json!({"type": "NodePort"})),
        (NEAR, pod(NEAR), json!({})),
        (FAR, pod(FAR), json!({})),
        (GUARDED, pod(GUARDED), json!({})),
        (HEADLESS, echo(), json!({"clusterIP": "None"})),
        (STICKY, echo(), json!({"sessionAffinity": "ClientIP"})),
        (INNER, echo(), json!({"internalTrafficPolicy": "Local"})),
        (OUTER, pod(FAR), json!({"type": "NodePort", "externalTrafficPolicy": "Local"})),
        (EMPTY, pod("nobody"), json!({})),
        (MOVING, json!({MOVING: "true"}), json!({})),
    ]
    .into_iter()
    .map(|(name, selector, more)| service(namespace, name, &selector, more))
    .collect()
}

fn service(namespace: &str, name: &str, selector: &Value, mut spec: Value) -> serde_json::Result<Service> {
    let port = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": PORT});
    if let Value::Object(spec) = &mut spec {
        spec.insert("selector".to_owned(), selector.clone());
        spec.insert("ipFamilyPolicy".to_owned(), "PreferDualStack".into());
        spec.insert("ports".to_owned(), json!([port("tcp", "TCP"), port("udp", "UDP")]));
    }
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec}))
}
