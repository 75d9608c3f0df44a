//! The policy at the API server.

use anyhow::{Context, Result, anyhow};
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use objects::{ClusterNetworkPolicy, Kind as _, NetworkPolicy, PolicyManifests, Resource};

use super::super::target::{Kind, Target};
use super::view::Version;

/// The version of a policy; `None`: there is none of that name.
///
/// # Errors
/// The API server does not say, or it is no valid policy, which no node enforces.
pub(super) async fn read(client: &Client, target: &Target) -> Result<Option<Version>> {
    let Resource { group, version, kind, plural, .. } = match target.kind {
        Kind::Network => NetworkPolicy::RESOURCE,
        Kind::Cluster => ClusterNetworkPolicy::RESOURCE,
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api: Api<DynamicObject> = match &target.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let found = api.get_opt(&target.name).await.with_context(|| format!("cannot read {target}"))?;
    found.map(|object| version_of(target, &object)).transpose()
}

/// What the agents make of it.
fn version_of(target: &Target, object: &DynamicObject) -> Result<Version> {
    let text = serde_json::to_string(object)?;
    let PolicyManifests { policies, cluster_policies, invalid, .. } =
        PolicyManifests::read(&text, "default").map_err(|error| anyhow!("cannot read {target}: {error}"))?;
    if let Some((_, invalid)) = invalid.first() {
        return Err(anyhow!(
            "{target} is invalid, so that no node enforces it: {}; {}",
            invalid.problem,
            invalid.remedy
        ));
    }
    let of = |uid: &Option<Box<str>>, generation, audit| Version {
        uid: uid.as_deref().unwrap_or_default().to_owned(),
        generation,
        audit,
    };
    let network = policies.first().map(|policy| of(&policy.uid, policy.generation, policy.audit));
    let cluster = cluster_policies.first().map(|policy| of(&policy.uid, policy.generation, policy.audit));
    network
        .or(cluster)
        .with_context(|| format!("cannot read {target}: the API server answers with something else"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn version(value: Value) -> Result<Version> {
        let target = "networkpolicy/shop/db".parse().unwrap();
        version_of(&target, &serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_version_is_what_agents_see() {
        let mut object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 7,
                "annotations": {"midonet.org/policy-audit": "true"}},
            "spec": {"podSelector": {}},
        });
        let want = Version { uid: "u".into(), generation: 7, audit: true };
        assert_eq!(version(object.clone()).unwrap(), want);
        assert_eq!(want.word().parse(), Ok(want));
        object["apiVersion"] = "policy.networking.k8s.io/v1alpha2".into();
        object["kind"] = "ClusterNetworkPolicy".into();
        let error = version(object).unwrap_err().to_string();
        assert!(error.contains("no node enforces it"), "{error}");
    }
}
