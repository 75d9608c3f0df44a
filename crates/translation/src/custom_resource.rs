use std::collections::BTreeMap;

use midonet::{Entry, EntryError, Resource};
use serde::{Deserialize, Serialize};

use crate::{FINALIZER, Owner, Translation};

/// The `apiVersion` of Translations.
pub const API_VERSION: &str = "midonet.org/v1";

/// The kind of Translations.
pub const KIND: &str = "Translation";

/// A Translation as Kubernetes stores it; to write it as JSON or YAML, and to read it. Fields that are not known are left
/// out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomResource {
    /// [`API_VERSION`]. Items of a list do not have it.
    #[serde(default)]
    pub api_version: String,
    /// [`KIND`]. Items of a list do not have it.
    #[serde(default)]
    pub kind: String,
    /// Its names, labels and owner.
    pub metadata: Metadata,
    /// The resources, in the order in which they are posted.
    #[serde(default)]
    pub resources: Vec<Entry>,
}

/// What is used of an object's `metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "Kubernetes' words")]
pub struct Metadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// The API server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The API server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The API server's: it is deleted as soon as it has no finalizers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
}

/// The object that a Translation is deleted with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "Kubernetes' words")]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl CustomResource {
    /// The resources, each or what is wrong with it.
    pub fn resources(&self) -> impl Iterator<Item = Result<Resource, EntryError>> {
        self.resources.iter().map(Resource::try_from)
    }
}

impl From<&Translation> for CustomResource {
    fn from(translation: &Translation) -> Self {
        let (label, value) = translation.owner.label();
        let owner_references = match &translation.owner {
            Owner::Globals => Vec::new(),
            Owner::Object(object) => vec![OwnerReference {
                api_version: object.kind.api_version().into(),
                kind: object.kind.name().into(),
                name: object.key.name.clone(),
                uid: object.uid.clone(),
            }],
        };
        Self {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            metadata: Metadata {
                namespace: translation.namespace.clone(),
                name: translation.name.clone(),
                labels: [(label.to_owned(), value.to_owned())].into(),
                finalizers: vec![FINALIZER.into()],
                owner_references,
                ..Metadata::default()
            },
            resources: translation.resources.iter().map(Entry::from).collect(),
        }
    }
}
