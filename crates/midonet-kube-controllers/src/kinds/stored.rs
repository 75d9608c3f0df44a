use std::collections::BTreeMap;

use midonet::Entry;
use objects::{Invalid, Key, Kind, Metadata, Resource};
use serde::{Deserialize, Serialize};
use translation::{FINALIZER, GLOBAL_LABEL, OWNER_LABEL, OwnerReference};

/// The annotation with what a Translation no longer wants and MidoNet may still have: a list of resources as in
/// `resources`. It goes away once MidoNet has none of them.
pub const REPLACED: &str = "midonet.org/replaced";

/// What the API server calls Translations.
pub const TRANSLATION: Resource = Resource {
    group: "midonet.org",
    version: "v1",
    kind: "Translation",
    plural: "translations",
    namespaced: true,
};

/// Whom a Translation is labelled for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OwnedBy {
    /// The whole cluster.
    Globals,
    /// The object of this UID.
    Uid(String),
    /// Nobody: it is not one of these programs'.
    Nobody,
}

/// A Translation as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What names it.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub version: String,
    /// Its label.
    pub owner: OwnedBy,
    /// Its first owner reference.
    pub reference: Option<OwnerReference>,
    /// All of its finalizers.
    pub finalizers: Vec<String>,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// The resources that MidoNet is to have.
    pub resources: Box<[Entry]>,
    /// Those of [`REPLACED`].
    pub replaced: Box<[Entry]>,
}

impl Stored {
    /// Whether it waits for MidoNet to have none of its resources.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }

    /// Whether this is a later state of the same object than the other, or the same state.
    pub fn is_not_before(&self, other: &Self) -> bool {
        let version = |stored: &Self| stored.version.parse::<u64>().ok();
        match (version(self), version(other)) {
            (Some(this), Some(other)) => this >= other,
            _ => true,
        }
    }
}

/// The fields of a Translation that are read besides those that [`Metadata`] has.
#[derive(Debug, Deserialize)]
pub struct ApiTranslation {
    metadata: More,
    #[serde(default)]
    resources: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct More {
    resource_version: Option<String>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

impl Kind for Stored {
    const RESOURCE: Resource = TRANSLATION;

    const CACHED: bool = false;

    type Api = ApiTranslation;

    fn trim(mut metadata: Metadata, api: ApiTranslation) -> Result<Self, Invalid> {
        let replaced = match metadata.annotations.remove(REPLACED) {
            None => Vec::new(),
            Some(text) => serde_json::from_str(&text).map_err(|error| {
                Invalid::field(
                    &format!("the annotation {REPLACED}"),
                    format!("no list of resources: {error}"),
                )
            })?,
        };
        let More { resource_version, finalizers, owner_references } = api.metadata;
        Ok(Self {
            key: Key::namespaced(metadata.namespace.as_deref().unwrap_or("default"), &metadata.name),
            uid: metadata.uid.unwrap_or_default(),
            version: resource_version.unwrap_or_default(),
            owner: owner(&mut metadata.labels),
            reference: owner_references.and_then(|all| all.into_iter().next()),
            finalizers: finalizers.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            resources: api.resources.unwrap_or_default().into(),
            replaced: replaced.into(),
        })
    }

    fn key(&self) -> Key {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        Some(&self.uid)
    }
}

fn owner(labels: &mut BTreeMap<String, String>) -> OwnedBy {
    match labels.remove(OWNER_LABEL) {
        Some(uid) => OwnedBy::Uid(uid),
        None if labels.contains_key(GLOBAL_LABEL) => OwnedBy::Globals,
        None => OwnedBy::Nobody,
    }
}
