//! What is appended to a message about a name that nobody has: names of the same kind that may be meant.

use objects::did_you_mean;

use crate::agent::Agent;
use crate::policies::Policies;

/// Of Pods that this node knows, also on others.
pub(super) fn pod(agent: &Agent, namespace: &str, name: &str) -> String {
    let own = agent.backend().ports().into_iter().map(|port| {
        let pod = port.pod();
        format!("{}/{}", pod.namespace, pod.name)
    });
    let all = agent.policies().map(Policies::pod_names).unwrap_or_default();
    did_you_mean(&format!("{namespace}/{name}"), own.chain(all))
}

/// Of Services.
pub(super) fn service(agent: &Agent, id: &str) -> String {
    let near = agent.with_model(|model| {
        let all = model.services().filter(|service| service.ignored.is_none());
        did_you_mean(id, all.map(|service| &*service.id))
    });
    near.unwrap_or_default()
}

/// Of nodes.
pub(super) fn node(agent: &Agent, name: &str) -> String {
    let peers = agent.peers();
    did_you_mean(name, peers.keys().map(|peer| &**peer).chain([agent.node_name()]))
}
