//! Namespaces, by which everything of a test is found.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::json;

/// Of a test's namespaces: whether they are in use.
pub(in crate::connectivity) const LABEL: &str = "midonet.org/connectivity-test";

/// A test goes on in them, or was interrupted.
pub(in crate::connectivity) const RUNNING: &str = "running";

/// They are kept for somebody to look into.
pub(in crate::connectivity) const KEPT: &str = "kept";

/// When a test has ended for certain, in seconds since 1970.
pub(in crate::connectivity) const UNTIL: &str = "midonet.org/connectivity-test-until";

/// A namespace of a test that has ended by then. Pods without any privilege are all that is in it.
///
/// # Errors
/// It is no Namespace: a fault of this program.
pub(in crate::connectivity) fn namespace(name: &str, until: u64) -> serde_json::Result<Namespace> {
    serde_json::from_value(json!({"metadata": {
        "name": name,
        "labels": {LABEL: RUNNING, "pod-security.kubernetes.io/enforce": "restricted"},
        "annotations": {UNTIL: until.to_string()},
    }}))
}
