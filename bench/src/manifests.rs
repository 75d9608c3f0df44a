//! Nodes as manifests.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A node of these podCIDRs and addresses.
pub(crate) fn node(name: &str, cidrs: &[String], addresses: &[IpAddr]) -> Value {
    let addresses: Vec<Value> =
        addresses.iter().map(|a| json!({"type": "InternalIP", "address": a})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": cidrs.first(), "podCIDRs": cidrs},
        "status": {"addresses": addresses},
    })
}

/// Writes the manifest of a node in one step. JSON is YAML too.
pub(crate) fn write(dir: &Path, name: &str, object: &Value) -> Result<()> {
    let path = dir.join(format!("node-{name}.yaml"));
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, object.to_string())
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}
