//! What a kind of object is: how it is named, what is read of it, and what is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// A kind of object, implemented by the trimmed form in which its objects are kept.
///
/// An object of which only fields change that are not kept is the same object: nobody is told, and nothing is written.
/// Its strings and lists are to have no spare capacity: there are thousands of them.
pub trait Kind: fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What the API server and manifests call the kind.
    const RESOURCE: Resource;

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

    /// Whether a manifest with this `apiVersion` is of this group and version.
    pub(crate) fn has_version(&self, api_version: &str) -> bool {
        match api_version.split_once('/') {
            Some((group, version)) => (group, version) == (self.group, self.version),
            None => self.group.is_empty() && api_version == self.version,
        }
    }
}

/// What names an object among those of its kind. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// The namespace, if the kind has namespaces.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn of(resource: &Resource, names: &Names) -> Option<Self> {
        let name = names.name.as_deref().filter(|name| !name.is_empty())?;
        let namespace = names.namespace.as_deref().filter(|namespace| !namespace.is_empty());
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
    /// When the API server created it. A manifest may leave it out.
    pub creation_timestamp: Option<Time>,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// `null` is the same as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// What is wrong with an object, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// An object as a source has it: what names it, and its trimmed form if it is valid.
#[derive(Debug)]
pub(crate) struct Entry<K> {
    pub(crate) key: Key,
    pub(crate) uid: Option<String>,
    pub(crate) object: Result<K, Invalid>,
}

impl<K: Kind> Entry<K> {
    /// Reads an object's JSON or YAML, which is read more than once: what cannot be read of it is the object's own
    /// problem as long as it has a name.
    ///
    /// # Errors
    /// Nothing names it.
    pub(crate) fn read<'de, D: Deserializer<'de>>(from: impl Fn() -> D) -> Result<Self, String> {
        let resource = &K::RESOURCE;
        let named = Named::deserialize(from());
        let names = named.map_err(|error| format!("{}: {error}", resource.kind))?.metadata;
        let key = Key::of(resource, &names);
        let key = key.ok_or_else(|| format!("{}: metadata.name is missing", resource.kind))?;
        let invalid = |error: D::Error| Invalid {
            problem: error.to_string(),
            remedy: "correct the object: its fields must have the types of its apiVersion".into(),
        };
        let object = Described::deserialize(from()).map_err(invalid).and_then(|described| {
            let metadata = described.metadata.unwrap_or_default();
            let namespace = key.namespace.as_deref().map(str::to_owned);
            let uid = metadata.uid.filter(|uid| !uid.is_empty());
            let metadata = Metadata { name: key.name.as_ref().to_owned(), namespace, uid, ..metadata };
            K::trim(metadata, K::Api::deserialize(from()).map_err(invalid)?)
        });
        Ok(Self { key, uid: names.uid.filter(|uid| !uid.is_empty()), object })
    }
}

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "or_default")]
    metadata: Names,
}

#[derive(Default, Deserialize)]
struct Names {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
}

#[derive(Deserialize)]
struct Described {
    metadata: Option<Metadata>,
}
