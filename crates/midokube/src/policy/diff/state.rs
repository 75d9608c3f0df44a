//! What manifests say, as a judge knows it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use objects::{ClusterNetworkPolicy, ClusterPeer, Key, Manifests, Pod, Workload};
use policy::Judge;

/// One of the two states.
pub(super) struct State {
    pub(super) judge: Judge,
    /// What the Pods that the judge knows are: of workloads of several kinds that have one name, each has another one there.
    pub(super) workloads: BTreeMap<Key, Named>,
    pub(super) warnings: Vec<Warning>,
}

/// A workload's name.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) kind: &'static str,
    pub(super) key: Key,
}

/// What is wrong with a state while it can be compared.
#[derive(Debug, Clone)]
pub(super) struct Warning {
    pub(super) object: String,
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl State {
    /// Reads a manifest or a directory of manifests.
    ///
    /// # Errors
    /// One of them cannot be read, or has an invalid object.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let manifests = Manifests::read(path)?;
        let mut judge = Judge::new(0);
        manifests.policies.values().for_each(|policy| judge.upsert_policy(Arc::clone(policy)));
        manifests
            .cluster_policies
            .values()
            .for_each(|policy| judge.upsert_cluster_policy(Arc::clone(policy)));
        manifests.namespaces.values().for_each(|namespace| judge.upsert_namespace(Arc::clone(namespace)));
        let mut workloads = BTreeMap::new();
        for Workload { kind, pod } in manifests.workloads.values() {
            let namespace = pod.key.namespace().unwrap_or_default();
            let key = Key::namespaced(namespace, &format!("{}/{kind}", pod.key.name()));
            judge.upsert_pod(Arc::new(Pod { key: key.clone(), ..(**pod).clone() }));
            workloads.insert(key, Named { kind, key: pod.key.clone() });
        }
        let doubles = manifests.doubles.iter().map(|(object, problem)| Warning {
            object: object.clone(),
            problem: problem.clone(),
            remedy: "remove one of them".into(),
        });
        let defects = judge
            .problems()
            .into_iter()
            .map(|policy::Problem { object, problem, remedy, .. }| Warning { object, problem, remedy });
        let about_nodes = manifests.cluster_policies.values().filter(|policy| is_about_nodes(policy));
        let about_nodes = about_nodes.map(|policy| Warning {
            object: format!("ClusterNetworkPolicy {}", policy.key),
            problem: "its rules about nodes are not compared: manifests do not say which nodes there are"
                .into(),
            remedy: "look at changes of these rules by yourself".into(),
        });
        let warnings = doubles.chain(defects).chain(about_nodes).collect();
        Ok(Self { judge, workloads, warnings })
    }
}

fn is_about_nodes(policy: &ClusterNetworkPolicy) -> bool {
    let mut rules = policy.ingress.iter().chain(&policy.egress);
    rules.any(|rule| rule.peers.iter().any(|peer| matches!(peer, ClusterPeer::Nodes(_))))
}
