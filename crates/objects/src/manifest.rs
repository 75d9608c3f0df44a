//! Kubernetes manifests: text in, objects out.

use k8s_openapi::api::core::v1::Node as ApiNode;
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

use crate::{Node, Object};

/// The objects of one file, YAML (several documents) or JSON. Kinds that are not used are passed over.
pub(crate) fn parse(text: &str) -> Result<Vec<Object>, String> {
    let mut objects = Vec::new();
    for (index, document) in Deserializer::from_str(text).enumerate() {
        // The error has the line and the column.
        let value = Value::deserialize(document).map_err(|error| error.to_string())?;
        collect(value, &mut objects).map_err(|error| format!("document {}: {error}", index + 1))?;
    }
    Ok(objects)
}

fn collect(value: Value, objects: &mut Vec<Object>) -> Result<(), String> {
    if value.is_null() {
        return Ok(()); // nothing between two separators
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match (text("apiVersion").as_str(), text("kind").as_str()) {
        ("", _) | (_, "") => Err("it has no apiVersion or no kind, so it is no Kubernetes object".into()),
        ("v1", "Node") => node(value, objects),
        ("v1", "List") => items(&value).into_iter().try_for_each(|item| collect(item, objects)),
        // Here an item need not say its kind.
        ("v1", "NodeList") => items(&value).into_iter().try_for_each(|item| node(item, objects)),
        _ => Ok(()),
    }
}

fn node(value: Value, objects: &mut Vec<Object>) -> Result<(), String> {
    let node: ApiNode = serde_yaml_ng::from_value(value).map_err(|error| format!("Node: {error}"))?;
    objects.push(Object::Node(Node::try_from(node).map_err(|error| error.to_string())?));
    Ok(())
}

fn items(list: &Value) -> Vec<Value> {
    list.get("items").and_then(Value::as_sequence).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node1
  annotations: {midonet.org/tunnel-endpoint-ip: 192.0.2.1, other/one: x}
spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd44:0:0:1::/64']}
status:
  addresses:
  - {type: Hostname, address: node1}
  - {type: InternalIP, address: 172.30.0.11}
  - {type: InternalIP, address: fd30::11}
";

    fn node(text: &str) -> Node {
        match parse(text).unwrap().as_slice() {
            [Object::Node(node)] => node.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_is_trimmed() {
        let node = node(NODE);
        assert_eq!(node.name, "node1");
        assert_eq!(node.pod_cidrs.len(), 2);
        assert_eq!(node.internal_ips.len(), 2);
        assert_eq!(node.annotations.into_keys().collect::<Vec<_>>(), ["midonet.org/tunnel-endpoint-ip"]);
    }

    #[test]
    fn documents_lists_json_and_other_kinds() {
        let text = format!("---\n{NODE}\n---\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: s}}\n");
        assert_eq!(parse(&text).unwrap().len(), 1);
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "spec": {"podCIDR": "10.244.1.0/24"}},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "b"}}]}"#;
        assert_eq!(parse(list).unwrap().len(), 2);
        let nodes = r#"{"apiVersion": "v1", "kind": "NodeList", "items": [{"metadata": {"name": "a"}}]}"#;
        assert_eq!(parse(nodes).unwrap().len(), 1);
        assert_eq!(parse("{apiVersion: example.org/v1, kind: AllowList, items: [a, b]}").unwrap(), []);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        for (text, want) in [
            ("a: [1", "line"),
            ("kind: Node", "document 1: it has no apiVersion"),
            ("just text", "document 1: it has no apiVersion"),
            (
                "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDR: 10.244.1.0}",
                "Node n: spec.podCIDRs: \"10.244.1.0\"",
            ),
            (
                "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}",
                "second of its family",
            ),
            ("apiVersion: v1\nkind: Node\nmetadata: {}", "metadata.name is missing"),
            ("apiVersion: v1\nkind: Node\nmetadata: [x]", "document 1: Node"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{want} in {error}");
        }
    }
}
