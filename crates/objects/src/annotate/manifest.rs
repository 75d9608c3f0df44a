//! Annotations of Pods and Nodes as manifests in a directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use atomic_file::Durability;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::PodRef;

/// The most bytes of a file's name (NAME_MAX).
const LONGEST_NAME: usize = 255;

/// What the names of Nodes' files begin with, and how much of a Node's name fits.
const NODE: &str = "Node_";
const LONGEST_NODE: usize = LONGEST_NAME - "Node_.yaml".len();

/// `<namespace>_<name>.yaml`; a name that is too long for a file's ends in a hash instead.
fn file_name(pod: &PodRef) -> String {
    let whole = format!("{}_{}.yaml", pod.namespace, pod.name);
    if whole.len() <= LONGEST_NAME {
        return whole;
    }
    let hash: String = Sha256::digest(whole.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let beginning: String = whole.chars().take(LONGEST_NAME - hash.len() - "~.yaml".len()).collect();
    format!("{beginning}~{hash}.yaml")
}

/// The Pod's manifest in a file of its own, as far as it is known here.
pub(super) fn write_pod(
    directory: &Path,
    pod: &PodRef,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<(), String> {
    let metadata = json!({"namespace": pod.namespace, "name": pod.name});
    write(&directory.join(file_name(pod)), "Pod", metadata, pod.uid.as_deref(), annotations)
}

/// The same of a Node. No Pod's file begins with a capital.
pub(super) fn write_node(
    directory: &Path,
    node: &str,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<(), String> {
    let path = directory.join(format!("{NODE}{}.yaml", node.get(..LONGEST_NODE).unwrap_or(node)));
    write(&path, "Node", json!({"name": node}), None, annotations)
}

fn write(
    path: &Path,
    kind: &str,
    mut metadata: Value,
    uid: Option<&str>,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<(), String> {
    // Files are read, changed and written one at a time: no write is lost to another one.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let known =
        std::fs::read_to_string(path).ok().and_then(|text| serde_yaml_ng::from_str::<Value>(&text).ok());
    let uid_of = |known: &Value| known.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
    // Without a UID it is the Pod that is known by this name.
    let known = known.filter(|known| uid.is_none() || uid_of(known).is_none_or(|known| Some(&*known) == uid));
    let uid = uid.map(str::to_owned).or_else(|| uid_of(known.as_ref()?));
    let mut all: BTreeMap<String, String> = known
        .and_then(|known| serde_json::from_value(known.pointer("/metadata/annotations")?.clone()).ok())
        .unwrap_or_default();
    for (key, value) in annotations {
        match value {
            Some(value) => all.insert(key.clone(), value.clone()),
            None => all.remove(key),
        };
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("annotations".into(), json!(all));
        metadata.extend(uid.map(|uid| ("uid".to_owned(), json!(uid))));
    }
    let manifest = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata});
    let text = serde_yaml_ng::to_string(&manifest).map_err(|error| error.to_string())?;
    let written = atomic_file::replace(path, text.as_bytes(), 0o644, Durability::Unsynced);
    written.map_err(|error| format!("{}: {error}", path.display()))
}
