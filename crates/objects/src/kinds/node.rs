use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::labels::Labels;
use crate::kind::{Invalid, Key, Kind, Metadata, Resource};

/// What this project's own annotations begin with; the others are not kept.
const ANNOTATION_PREFIX: &str = "midonet.org/";

/// The label that says which zone a node is in.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The taint by which the cluster autoscaler announces that it deletes a node.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its UID: another Node of the same name has another one. A manifest may leave it out.
    pub uid: Option<String>,
    /// When the API server created it, in seconds since 1970. A manifest may leave it out.
    #[serde(default)]
    pub created: Option<i64>,
    /// Where its Pods' addresses are from, at most one a family.
    pub pod_cidrs: Vec<IpNet>,
    /// Its addresses of type InternalIP, in its own order.
    pub internal_ips: Vec<IpAddr>,
    /// Every other address of its status, such as those of type ExternalIP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_ips: Vec<IpAddr>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The zone that it is in, by its label `topology.kubernetes.io/zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its annotations of this project.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is being deleted, or about to be by the cluster autoscaler: load balancers are to leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// The fields of a Node that are read. Most of one is images, conditions and managed fields.
#[derive(Debug, Deserialize)]
pub struct ApiNode {
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
    taints: Option<Vec<Taint>>,
}

#[derive(Debug, Deserialize)]
struct Taint {
    key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    addresses: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl Kind for Node {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Node", plural: "nodes", namespaced: false };

    type Api = ApiNode;

    fn trim(metadata: Metadata, api: ApiNode) -> Result<Self, Invalid> {
        let mut annotations = metadata.annotations;
        annotations.retain(|key, _| key.starts_with(ANNOTATION_PREFIX));
        let labels = metadata.labels;
        let spec = api.spec.unwrap_or_default();
        let leaving = metadata.deletion_timestamp.is_some()
            || spec.taints.iter().flatten().any(|taint| taint.key.as_deref() == Some(TO_BE_DELETED));
        let (internal_ips, other_ips) = addresses(api.status.unwrap_or_default())?;
        Ok(Self {
            name: metadata.name,
            uid: metadata.uid,
            created: metadata.creation_timestamp.map(|time| time.0.as_second()),
            pod_cidrs: pod_cidrs(spec)?,
            internal_ips,
            other_ips,
            zone: labels.get(ZONE).filter(|zone| !zone.is_empty()).cloned(),
            labels: labels.into_iter().collect(),
            annotations,
            leaving,
        })
    }

    fn key(&self) -> Key {
        Key::new(&self.name)
    }

    fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    fn of_node(node: &str) -> Option<Key> {
        Some(Key::new(node))
    }
}

fn pod_cidrs(spec: Spec) -> Result<Vec<IpNet>, Invalid> {
    let invalid = |problem: String| {
        Invalid {
        remedy: "correct spec.podCIDRs; where the controller manager set it, delete the Node and restart its kubelet".into(),
        ..Invalid::field("spec.podCIDRs", problem)
    }
    };
    // podCIDR is the first of podCIDRs; an old or hand-written object may have it alone.
    let written = spec.pod_cidrs.filter(|all| !all.is_empty()).or(spec.pod_cidr.map(|one| vec![one]));
    let mut cidrs: Vec<IpNet> = Vec::new();
    for text in written.unwrap_or_default() {
        let cidr: IpNet =
            text.parse().map_err(|_| invalid(format!("\"{text}\" is no CIDR like 10.244.1.0/24")))?;
        if cidrs.iter().any(|other| other.addr().is_ipv4() == cidr.addr().is_ipv4()) {
            return Err(invalid(format!("{cidr} is the second of its family")));
        }
        cidrs.push(cidr);
    }
    cidrs.shrink_to_fit();
    Ok(cidrs)
}

/// Those of type InternalIP, and the others. Of the latter there are also names of hosts.
fn addresses(status: Status) -> Result<(Vec<IpAddr>, Vec<IpAddr>), Invalid> {
    let (mut internal, mut others) = (Vec::new(), Vec::new());
    for Address { kind, address } in status.addresses.unwrap_or_default() {
        let parsed = address.parse::<IpAddr>();
        if kind == "InternalIP" {
            let invalid = |_| Invalid {
                problem: format!("status.addresses: \"{address}\" is no IP address"),
                remedy: "correct the kubelet's --node-ip, or what the cloud controller manager sets".into(),
            };
            internal.push(parsed.map_err(invalid)?);
        } else if let Ok(address) = parsed {
            others.push(address.to_canonical());
        }
    }
    others.sort_unstable();
    others.dedup();
    others.retain(|address| !internal.contains(address));
    internal.shrink_to_fit();
    others.shrink_to_fit();
    Ok((internal, others))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::entry::Entry;

    fn read(value: &serde_json::Value) -> Result<Entry<Node>, String> {
        Entry::read(|| value)
    }

    #[test]
    fn is_trimmed() {
        let node = read(&json!({
            "metadata": {
                "name": "node1", "uid": "u", "creationTimestamp": "1970-01-01T00:01:00Z", "namespace": "ignored",
                "annotations": {"midonet.org/tunnel-endpoint-ip": "192.0.2.1", "other/one": "x"}, "labels": {"topology.kubernetes.io/zone": "a", "other": "x"},
            },
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd44:0:0:1::/64"], "taints": []},
            "status": {"addresses": [
                {"type": "Hostname", "address": "node1"},
                {"type": "InternalIP", "address": "172.30.0.11"},
                {"type": "InternalIP", "address": "fd30::11"},
            ], "images": [{"names": ["x"]}]},
        }))
        .unwrap()
        .object
        .unwrap();
        assert_eq!(node.key().to_string(), "node1");
        assert_eq!((node.uid(), node.created, node.zone.as_deref()), (Some("u"), Some(60), Some("a")));
        assert_eq!((node.pod_cidrs.len(), node.pod_cidrs.capacity()), (2, 2));
        assert_eq!((node.internal_ips.len(), node.internal_ips.capacity()), (2, 2));
        assert_eq!(node.annotations.into_keys().collect::<Vec<_>>(), ["midonet.org/tunnel-endpoint-ip"]);
        let labels: Vec<_> = node.labels.iter().collect();
        assert_eq!(labels, [("other", "x"), ("topology.kubernetes.io/zone", "a")]);
    }

    #[test]
    fn other_addresses_are_those_that_are_addresses() {
        let address = |kind: &str, address: &str| json!({"type": kind, "address": address});
        let addresses = [
            address("InternalIP", "172.30.0.11"),
            address("ExternalIP", "203.0.113.1"),
            address("ExternalIP", "172.30.0.11"),
            address("ExternalIP", "2001:db8::1"),
            address("Hostname", "node1"),
            address("Hostname", "::ffff:203.0.113.2"),
            address("ExternalIP", "203.0.113.1"),
            address("InternalDNS", "node1.example"),
        ];
        let node = read(&json!({"metadata": {"name": "a"}, "status": {"addresses": addresses}}));
        let node = node.unwrap().object.unwrap();
        assert_eq!(node.internal_ips, ["172.30.0.11".parse::<IpAddr>().unwrap()]);
        let others: Vec<_> = node.other_ips.iter().map(IpAddr::to_string).collect();
        assert_eq!(others, ["203.0.113.1", "203.0.113.2", "2001:db8::1"]);
    }

    #[test]
    fn one_that_is_being_deleted_is_leaving() {
        let taint =
            |key: &str| json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": key}]}});
        for (more, leaving) in [
            (json!({}), false),
            (json!({"spec": {"taints": null}}), false),
            (taint("DeletionCandidateOfClusterAutoscaler"), false),
            (taint("ToBeDeletedByClusterAutoscaler"), true),
            (json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-02T03:04:05Z"}}), true),
        ] {
            let mut node = json!({"metadata": {"name": "a"}});
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(read(&node).unwrap().object.unwrap().leaving, leaving, "{node}");
        }
    }

    #[test]
    fn one_without_anything_but_a_name_is_valid() {
        for more in [json!({}), json!({"spec": null, "status": null}), json!({"spec": {"podCIDRs": []}})] {
            let mut node = json!({"metadata": {"name": "a", "annotations": null, "labels": null, "uid": ""}});
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let node = read(&node).unwrap().object.unwrap();
            assert_eq!((node.uid, node.pod_cidrs, node.internal_ips), (None, vec![], vec![]));
        }
    }

    #[test]
    fn what_is_wrong_is_its_own_problem_if_it_has_a_name() {
        let named = |more: serde_json::Value| {
            let mut node = json!({"metadata": {"name": "n", "uid": "u"}});
            node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let entry = read(&node).unwrap();
            assert_eq!((entry.key, entry.uid.as_deref()), (Key::new("n"), Some("u")));
            entry.object.unwrap_err()
        };
        for (more, want) in [
            (json!({"spec": {"podCIDR": "10.244.1.0"}}), "spec.podCIDRs: \"10.244.1.0\" is no CIDR"),
            (json!({"spec": {"podCIDRs": ["10.1.0.0/24", "10.2.0.0/24"]}}), "second of its family"),
            (json!({"spec": {"podCIDRs": 7}}), "invalid type: integer `7`"),
            (
                json!({"status": {"addresses": [{"type": "InternalIP", "address": "x"}]}}),
                "\"x\" is no IP address",
            ),
        ] {
            let invalid = named(more);
            assert!(invalid.problem.contains(want), "{want} in {invalid:?}");
            assert!(!invalid.remedy.is_empty());
        }
        for (metadata, want) in [
            (json!({"metadata": {}}), "Node: metadata.name is missing"),
            (json!({"metadata": null}), "Node: metadata.name is missing"),
            (json!({}), "Node: metadata.name is missing"),
            (json!({"metadata": ["x", 1]}), "Node: "),
        ] {
            let error = read(&metadata).unwrap_err();
            assert!(error.starts_with(want), "{want} in {error}");
        }
    }
}
