//! The agents' Pods, one for each node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

/// The agent of a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AgentPod {
    pub(super) node: String,
    /// Its Pod and the agent's container, or why it cannot be asked.
    pub(super) running: Result<(String, String), String>,
}

/// The agent of each node. While one is replaced there are two Pods of it: the one that runs is asked.
pub(super) fn agents(pods: &[Pod]) -> Vec<AgentPod> {
    let mut nodes = BTreeMap::<&str, AgentPod>::new();
    for pod in pods {
        let Some(node) = node(pod) else { continue };
        let agent = AgentPod { node: node.to_owned(), running: running(pod) };
        let known = nodes.get(node);
        if known.is_none_or(|known| known.running.is_err()) {
            nodes.insert(node, agent);
        }
    }
    nodes.into_values().collect()
}

/// The node of a Pod: also of one that is not scheduled, which a DaemonSet makes for one node.
fn node(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    let assigned = spec.node_name.as_deref().filter(|node| !node.is_empty());
    assigned.or_else(|| {
        let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let named =
            fields.filter(|field| field.key == "metadata.name").find_map(|field| field.values.as_ref());
        named?.first().map(String::as_str)
    })
}

fn running(pod: &Pod) -> Result<(String, String), String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let status = pod.status.as_ref();
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(format!("its agent's Pod {name} is being deleted"));
    }
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    if phase != "Running" {
        return Err(format!("its agent's Pod {name} does not run: its phase is {phase}"));
    }
    let Some(container) = pod.spec.as_ref().and_then(|spec| spec.containers.first()) else {
        return Err(format!("its agent's Pod {name} has no container"));
    };
    let states = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let state = states.filter(|state| state.name == container.name).find_map(|state| state.state.as_ref());
    if let Some(state) = state.filter(|state| state.running.is_none()) {
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        let ended = state.terminated.as_ref().and_then(|ended| ended.reason.as_deref());
        let why = waiting.or(ended).unwrap_or("it has not started");
        return Err(format!("the agent in its Pod {name} does not run: {why}"));
    }
    Ok((name, container.name.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, state: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "agent"}, {"name": "other"}]},
            "status": {"phase": phase, "containerStatuses": [{
                "name": "agent", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state,
            }]},
        }))
        .unwrap()
    }

    fn runs() -> Value {
        json!({"running": {}})
    }

    #[test]
    fn each_node_has_one_agent_that_can_be_asked_or_not() {
        let pending = json!({
            "metadata": {"name": "e"},
            "spec": {"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node5"]}]}]}}}},
            "status": {"phase": "Pending"},
        });
        let mut leaving = pod("c", "node3", "Running", &runs());
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let crashing = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let pods = [
            pod("b", "node2", "Pending", &runs()),
            pod("a", "node1", "Running", &runs()),
            pod("b2", "node2", "Running", &runs()),
            leaving,
            pod("d", "node4", "Running", &crashing),
            serde_json::from_value(pending).unwrap(),
        ];
        let told: Vec<_> = agents(&pods).into_iter().map(|agent| (agent.node, agent.running)).collect();
        let asked = |node: &str, pod: &str| (node.to_owned(), Ok((pod.to_owned(), "agent".to_owned())));
        let not = |node: &str, why: &str| (node.to_owned(), Err(why.to_owned()));
        assert_eq!(
            told,
            [
                asked("node1", "a"),
                asked("node2", "b2"),
                not("node3", "its agent's Pod c is being deleted"),
                not("node4", "the agent in its Pod d does not run: CrashLoopBackOff"),
                not("node5", "its agent's Pod e does not run: its phase is Pending"),
            ]
        );
    }
}
