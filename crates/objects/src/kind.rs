//! What a kind of object is: how it is named, what is read of it, and what is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::shared::shared;

/// A kind of object, implemented by the trimmed form in which its objects are kept.
///
/// An object of which only fields change that are not kept is the same object: nobody is told, and nothing is written.
/// Its strings and lists are to have no spare capacity: there are thousands of them.
pub trait Kind: fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What the API server and manifests call the kind.
    const RESOURCE: Resource;

    /// Whether the objects are cached on disk, for a start while the API server is away.
    const CACHED: bool = true;

    /// Whether there are API servers without the kind: there it has no objects.
    const OPTIONAL: bool = false;

    /// Whether servers get the kind by a CustomResourceDefinition, in whatever version. One that has objects of it in another
    /// version than this alone is no server without objects.
    const CUSTOM: bool = false;

    /// How often a server without an optional kind is asked for it again, at least: it may be upgraded. It is asked at once
    /// when it gets the definition of a custom one.
    const ABSENT: Duration = Duration::from_secs(5 * 60);

    /// The fields that are read of an object besides its metadata: a type of `k8s_openapi`, or one with the few fields
    /// that are used, which is read faster.
    type Api: DeserializeOwned;

    /// Validates and trims an object. Its name is there.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    fn trim(metadata: Metadata, api: Self::Api) -> Result<Self, Invalid>;

    /// What names it.
    fn key(&self) -> Key;

    /// Its UID: another object of the same name has another one. A manifest may leave it out.
    fn uid(&self) -> Option<&str>;

    /// The object of this kind that stands for the node of this name, if the kind has one: objects on disk are of no use
    /// without it.
    fn of_node(_node: &str) -> Option<Key> {
        None
    }
}

/// What the API server and manifests call a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version in that group.
    pub version: &'static str,
    /// The kind, as manifests have it.
    pub kind: &'static str,
    /// The resource's name, as URLs and RBAC have it.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// The path of all objects of the kind, in all namespaces.
    pub(crate) fn path(&self) -> String {
        let Self { group, version, plural, .. } = self;
        if group.is_empty() {
            format!("/api/{version}/{plural}")
        } else {
            format!("/apis/{group}/{version}/{plural}")
        }
    }

    /// The version of an `apiVersion` of this group.
    pub(crate) fn version_of<'a>(&self, api_version: &'a str) -> Option<&'a str> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        (group == self.group).then_some(version)
    }
}

/// What names an object among those of its kind. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    namespace: Option<Arc<str>>,
    name: Arc<str>,
}

impl Key {
    /// The key of an object that is in no namespace.
    pub fn new(name: &str) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// The key of an object in a namespace.
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        Self { namespace: Some(shared(namespace)), name: name.into() }
    }

    /// The namespace, if the kind has namespaces.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of an object of this kind, whose name is there.
    pub(crate) fn of_metadata(resource: &Resource, metadata: &Metadata) -> Self {
        let key = Self::of(resource, metadata.namespace.as_deref(), Some(&metadata.name));
        key.unwrap_or_else(|| Self::new(&metadata.name))
    }

    /// The key of an object of this kind; `None` without a name.
    pub(crate) fn of(resource: &Resource, namespace: Option<&str>, name: Option<&str>) -> Option<Self> {
        let name = name.filter(|name| !name.is_empty())?;
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Some(if resource.namespaced {
            Self::namespaced(namespace.unwrap_or("default"), name)
        } else {
            Self::new(name)
        })
    }
}

/// `name`, or `namespace/name`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What is read of an object's metadata.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace, if it is in one.
    pub namespace: Option<String>,
    /// Its UID. A manifest may leave it out.
    pub uid: Option<String>,
    /// Which version of its specification it has: the API server counts its changes. A manifest may leave it out.
    pub generation: Option<i64>,
    /// When the API server created it. A manifest may leave it out.
    pub creation_timestamp: Option<Time>,
    /// When its deletion was asked for, if it was.
    pub deletion_timestamp: Option<Time>,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// `null` is the same as nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// What is wrong with an object, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// What is wrong, with the field's name.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Invalid {
    /// A problem whose remedy is to correct that field.
    pub fn field(field: &str, problem: impl fmt::Display) -> Self {
        Self { problem: format!("{field}: {problem}"), remedy: format!("correct {field} of the object") }
    }
}
