//! The cluster's objects as files, which the agents read in an API server's place.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use atomic_file::Durability;
use serde_json::{Value, json};

use crate::state::{Node, Pod};

/// The Node object of a node.
pub(crate) fn node(node: &Node) -> Value {
    let mut addresses: Vec<Value> =
        node.addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
    addresses.push(json!({"type": "Hostname", "address": node.name}));
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {"podCIDR": node.pod_cidrs.first(), "podCIDRs": node.pod_cidrs},
        "status": {"addresses": addresses},
    })
}

/// The Pod object of a Pod: as it stands when its sandbox is made, or, once it has addresses, with them.
pub(crate) fn pod(pod: &Pod) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid},
        "spec": {"nodeName": pod.node, "containers": [{"name": "main", "image": "none"}]},
    });
    let addresses = pod.addresses();
    if let Some(first) = addresses.first() {
        let all: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        merge(&mut object, &json!({"status": {"phase": "Running", "podIP": first, "podIPs": all}}));
    }
    merge(&mut object, &pod.object);
    strip(&mut object);
    object
}

/// Changes an object as a merge patch does (RFC 7386), but for `null`, which stays: a patch can be changed by another
/// one. What is no object changes nothing.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return };
    if !into.is_object() {
        *into = json!({});
    }
    let Value::Object(fields) = into else { return };
    for (name, value) in patch {
        let field = fields.entry(name.as_str()).or_insert(Value::Null);
        match value {
            Value::Object(_) => merge(field, value),
            other => *field = other.clone(),
        }
    }
}

/// Takes away what is `null`.
fn strip(object: &mut Value) {
    if let Value::Object(fields) = object {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(strip);
    }
}

/// The file of a Node object.
pub(crate) fn node_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("node-{name}.yaml"))
}

/// The most bytes of a file's name (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// The file of a Pod object. Neither part of a key can hold an underscore; what is too long for a file's name has the
/// Pod's UID.
pub(crate) fn pod_file(dir: &Path, pod: &Pod) -> PathBuf {
    let name = format!("pod-{}_{}.yaml", pod.key.namespace, pod.key.name);
    dir.join(if name.len() <= LONGEST_NAME { name } else { format!("pod-{}.yaml", pod.uid) })
}

/// Writes an object in one step: a reader sees all of it or nothing.
pub(crate) fn write(path: &Path, object: &Value) -> Result<()> {
    let text = serde_yaml_ng::to_string(object)?;
    atomic_file::replace(path, text.as_bytes(), 0o644, Durability::Unsynced)
        .with_context(|| format!("cannot write manifest {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::Process;
    use crate::topology::{Family, addresses};

    #[test]
    fn a_node_has_its_cidrs_and_internal_addresses() {
        let object = node(&Node {
            name: "node2".into(),
            init: Process { pid: 1, start: 1 },
            agent: None,
            addresses: addresses(&Family::Dual.underlay(2)),
            pod_cidrs: Family::Dual.pod_cidrs(2),
        });
        assert_eq!(object["spec"]["podCIDR"], "10.244.2.0/24");
        assert_eq!(object["spec"]["podCIDRs"], json!(["10.244.2.0/24", "fd44:0:0:2::/64"]));
        assert_eq!(object["status"]["addresses"][1], json!({"type": "InternalIP", "address": "fd30::c"}));
    }

    #[test]
    fn a_pods_object_has_its_addresses_and_what_it_was_given() {
        let mut it = Pod {
            key: naming::PodKey::new("shop", "web"),
            node: "node1".into(),
            uid: "u".into(),
            container_id: "c".into(),
            ips: Vec::new(),
            mac: None,
            add_microseconds: 0,
            capability_args: serde_json::Map::new(),
            object: json!({"metadata": {"labels": {"app": "web"}}}),
            result: Value::Null,
        };
        assert_eq!(pod(&it)["status"], Value::Null);
        merge(
            &mut it.object,
            &json!({"metadata": {"labels": {"tier": "a", "app": null}}, "status": {"phase": "Failed"}}),
        );
        it.ips = vec!["10.244.1.3/24".parse().unwrap(), "fd44::3/64".parse().unwrap()];
        let object = pod(&it);
        assert_eq!(object["metadata"]["labels"], json!({"tier": "a"}));
        assert_eq!(object["metadata"]["uid"], "u");
        let status = json!({"phase": "Failed", "podIP": "10.244.1.3", "podIPs": [{"ip": "10.244.1.3"}, {"ip": "fd44::3"}]});
        assert_eq!(object["status"], status);
    }

    #[test]
    fn a_manifest_is_yaml_of_the_same_object() {
        let dir = tempfile::tempdir().unwrap();
        let path = node_file(dir.path(), "n");
        write(&path, &json!({"kind": "Node", "metadata": {"name": "n"}})).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("kind: Node"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file is left");
    }
}
