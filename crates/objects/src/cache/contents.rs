//! The form of a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::kind::Kind;

/// Another form of the file gets another number; a file with another number is not read.
pub(super) const FORMAT: u32 = 2;

/// What a file says besides its objects, which are there by their resource's name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding {
    pub(super) format: u32,
    /// The API server's URL.
    pub(super) server: String,
    /// The SHA-256 of the certificates that it is trusted by.
    pub(super) authorities: Vec<String>,
    /// The name of this node.
    pub(super) node: String,
    /// The UID of the namespace kube-system.
    pub(super) cluster_uid: String,
    /// The UID of this node's object of the kind, if the kind has one.
    pub(super) node_uid: Option<String>,
    /// Seconds since 1970.
    pub(super) saved: u64,
}

/// A file's contents.
pub(super) struct Contents<'a, K> {
    pub(super) binding: &'a Binding,
    pub(super) objects: &'a [Arc<K>],
}

impl<K: Kind> Serialize for Contents<'_, K> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Binding { format, server, authorities, node, cluster_uid, node_uid, saved } = self.binding;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("format", format)?;
        map.serialize_entry("server", server)?;
        map.serialize_entry("authorities", authorities)?;
        map.serialize_entry("node", node)?;
        map.serialize_entry("cluster_uid", cluster_uid)?;
        map.serialize_entry("node_uid", node_uid)?;
        map.serialize_entry("saved", saved)?;
        map.serialize_entry(K::RESOURCE.plural, &Objects(self.objects))?;
        map.end()
    }
}

struct Objects<'a, K>(&'a [Arc<K>]);

impl<K: Serialize> Serialize for Objects<'_, K> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Arc::as_ref))
    }
}

/// What a file says.
///
/// # Errors
/// It is damaged, or of another form.
pub(super) fn parse<K: Kind>(text: &str) -> Result<(Binding, Vec<K>), String> {
    let invalid = |error: serde_json::Error| error.to_string();
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_str(text).map_err(invalid)?;
    let format = fields.get("format").map_or("none", |format| format.get());
    if format != FORMAT.to_string() {
        return Err(format!("it is of format {format}, this program's is {FORMAT}"));
    }
    let plural = K::RESOURCE.plural;
    let objects = fields.remove(plural).ok_or_else(|| format!("it has no {plural}"))?;
    let objects = serde_json::from_str(objects.get()).map_err(invalid)?;
    let binding = serde_json::to_string(&fields).and_then(|rest| serde_json::from_str(&rest));
    Ok((binding.map_err(invalid)?, objects))
}
