//! Policies from the text of manifests, for who wants to know what they would do.

use serde_yaml_ng::Value;

use crate::directory::{documents, objects};
use crate::entry::Entry;
use crate::kind::{Invalid, Kind};
use crate::kinds::{ClusterNetworkPolicy, NetworkPolicy};

/// The policies of a text, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyManifests {
    /// NetworkPolicies.
    pub policies: Vec<NetworkPolicy>,
    /// ClusterNetworkPolicies.
    pub cluster_policies: Vec<ClusterNetworkPolicy>,
    /// Policies that are no valid objects, each with what is wrong: "ClusterNetworkPolicy base".
    pub invalid: Vec<(String, Invalid)>,
    /// How many objects of other kinds there are, lists aside.
    pub others: usize,
}

/// What an object is read as.
#[derive(Clone, Copy)]
enum As {
    Policy,
    ClusterPolicy,
    /// A version of ClusterNetworkPolicy that is not known.
    Foreign,
    Other,
}

impl PolicyManifests {
    /// Reads YAML or JSON: documents, and lists of objects. A NetworkPolicy without a namespace is in `namespace`.
    ///
    /// # Errors
    /// It is neither, or has something else than Kubernetes objects, or policies without names: with the line where the
    /// document begins.
    pub fn read(text: &str, namespace: &str) -> Result<Self, String> {
        let mut found = Self::default();
        found.others = each(text, namespace, |how, value| found.add(how, &value))?;
        Ok(found)
    }

    /// The policies of a text alone, each as JSON, with the namespaces that they have by then; and how many other objects
    /// there are.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn documents(text: &str, namespace: &str) -> Result<(Vec<String>, usize), String> {
        let mut found = Vec::new();
        let others = each(text, namespace, |how, value| {
            Self::default().add(how, &value)?;
            found.push(serde_json::to_string(&value).map_err(|error| error.to_string())?);
            Ok(())
        })?;
        Ok((found, others))
    }

    fn add(&mut self, how: As, value: &Value) -> Result<(), String> {
        match how {
            As::Policy => {
                let Entry { key, object, .. } = Entry::<NetworkPolicy>::read(|| value)?;
                match object {
                    Ok(policy) => self.policies.push(policy),
                    Err(invalid) => self.invalid.push((format!("NetworkPolicy {key}"), invalid)),
                }
            }
            As::ClusterPolicy | As::Foreign => {
                let Entry { key, mut object, .. } = Entry::<ClusterNetworkPolicy>::read(|| value)?;
                if matches!(how, As::Foreign) {
                    object = Err(Invalid::field("apiVersion", "this version is unknown"));
                }
                match object {
                    Ok(policy) => self.cluster_policies.push(policy),
                    Err(invalid) => self.invalid.push((format!("ClusterNetworkPolicy {key}"), invalid)),
                }
            }
            As::Other => {}
        }
        Ok(())
    }
}

/// Hands over the policies of a text; returns how many other objects it has.
fn each(
    text: &str,
    namespace: &str,
    mut found: impl FnMut(As, Value) -> Result<(), String>,
) -> Result<usize, String> {
    let mut others = 0;
    for document in documents(text) {
        let line = document.line;
        let wrong = |error: String| format!("the document in line {line}: {error}");
        for (how, mut value) in objects(document.text, how).map_err(wrong)? {
            match how {
                As::Other => others += 1,
                As::Policy => {
                    put_into(&mut value, namespace);
                    found(how, value).map_err(wrong)?;
                }
                As::ClusterPolicy | As::Foreign => found(how, value).map_err(wrong)?,
            }
        }
    }
    Ok(others)
}

/// Gives an object a namespace, if it has none.
fn put_into(value: &mut Value, namespace: &str) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_mapping_mut) else { return };
    if metadata.get("namespace").and_then(Value::as_str).is_none_or(str::is_empty) {
        metadata.insert("namespace".into(), namespace.into());
    }
}

/// As what an object is read; `None`: as a list of others.
fn how(api_version: &str, kind: &str) -> Option<As> {
    let (network, cluster) = (NetworkPolicy::RESOURCE, ClusterNetworkPolicy::RESOURCE);
    if kind == network.kind && network.version_of(api_version) == Some(network.version) {
        return Some(As::Policy);
    }
    match cluster.version_of(api_version).filter(|_| kind == cluster.kind) {
        Some(version) if version == cluster.version => Some(As::ClusterPolicy),
        Some(_) => Some(As::Foreign),
        None => (!kind.ends_with("List")).then_some(As::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Key;

    const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME}
spec: {podSelector: {}, policyTypes: [Ingress]}
";
    const CLUSTER: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: base}
spec: {tier: Admin, priority: 5, subject: {namespaces: {}}}
";

    #[test]
    fn policies_are_read_wherever_they_stand_and_others_are_counted() {
        let inside = POLICY.replace("NAME", "b, namespace: shop");
        let item = r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "c"}, "spec": {}}"#;
        let list = format!(
            r#"{{"apiVersion": "v1", "kind": "List", "items": [{item}, {{"apiVersion": "v1", "kind": "Pod"}}]}}"#
        );
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
        let text = format!("{}---{inside}---\n{service}---{CLUSTER}---\n{list}", POLICY.replace("NAME", "a"));
        let found = PolicyManifests::read(&text, "here").unwrap();
        let keys: Vec<_> = found.policies.iter().map(|policy| policy.key.to_string()).collect();
        assert_eq!(keys, ["here/a", "shop/b", "here/c"]);
        assert_eq!(
            found.cluster_policies.iter().map(|policy| &policy.key).collect::<Vec<_>>(),
            [&Key::new("base")]
        );
        assert_eq!((found.others, found.invalid.len()), (2, 0));
        // Each as a document of its own says the same.
        let (documents, others) = PolicyManifests::documents(&text, "here").unwrap();
        assert_eq!((documents.len(), others), (4, 2));
        let again: Vec<_> =
            documents.iter().map(|text| PolicyManifests::read(text, "elsewhere").unwrap()).collect();
        let policies = again.iter().flat_map(|found| found.policies.clone()).collect::<Vec<_>>();
        assert_eq!(policies, found.policies);
        assert!(documents.iter().all(|text| text.starts_with('{')), "{documents:?}");
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_its_own_problem_and_with_the_text_an_error() {
        let text =
            format!("{}---{}", CLUSTER.replace("tier: Admin, ", ""), CLUSTER.replace("v1alpha2", "v7"));
        let found = PolicyManifests::read(&text, "here").unwrap();
        let names: Vec<_> = found.invalid.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ClusterNetworkPolicy base"; 2]);
        assert!(found.invalid[0].1.problem.contains("tier"), "{found:?}");
        assert!(found.invalid[1].1.problem.starts_with("apiVersion"), "{found:?}");
        for (wrong, want) in [
            ("a: [1", "the document in line 1: "),
            ("# x\n---\njust text", "the document in line 2: it has no apiVersion"),
            (&POLICY.replace("{name: NAME}", "{}"), "metadata.name is missing"),
        ] {
            let error = PolicyManifests::read(wrong, "here").unwrap_err();
            assert!(error.contains(want), "{want} in {error}");
        }
    }
}
