//! The runtime calls STATUS of the plugin, and the kubelet uses it: a node whose agent does not answer is NotReady, with
//! the reason.
//!
//! The runtime's own GC is not tested: go-cni 1.1.14, through which containerd 2.4 speaks CNI, has no call for it.
//! `tests/conformance.rs` has GC with libcni.

use std::time::Duration;

use serde_json::Value;

use super::Cluster;

const NODE: &str = "node2";

/// A kubelet asks its runtime every five seconds and writes its Node's status at once.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn a_node_is_ready_while_the_plugin_is(cluster: &Cluster) {
    let agent = cluster.enter(NODE, &["pgrep", "-x", "midonet-kube-no"]);
    cluster.enter(NODE, &["kill", "-STOP", agent.trim()]);
    let mut condition = (String::new(), String::new());
    let told = super::wait_for(DEADLINE, || {
        condition = ready(cluster);
        condition.0 == "False" && condition.1.contains("the node agent at /")
    });
    cluster.enter(NODE, &["kill", "-CONT", agent.trim()]);
    assert!(told, "the runtime did not tell what STATUS says: {condition:?}");
    testkit::wait_until(DEADLINE, "the node is Ready again", || ready(cluster).0 == "True");
}

/// The status of the Node's condition Ready, and its message.
fn ready(cluster: &Cluster) -> (String, String) {
    let node = cluster.json(&["get", "node", NODE]);
    let ready = condition(&node, "Ready").unwrap();
    let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// A condition of a Node.
pub(super) fn condition(node: &Value, kind: &str) -> Option<Value> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}
