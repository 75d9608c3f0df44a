//! An object's JSON or YAML in, its trimmed form or what is wrong with it out.

use serde::{Deserialize, Deserializer};

use crate::kind::{Invalid, Key, Kind, Metadata, or_default};

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
        let described = Described::deserialize(from());
        // What names it is in the metadata, unless these cannot be read.
        let names = match &described {
            Ok(Described { metadata }) => metadata.as_ref().map(Names::of).unwrap_or_default(),
            Err(_) => {
                let named = Named::deserialize(from());
                named.map_err(|error| format!("{}: {error}", resource.kind))?.metadata
            }
        };
        let key = Key::of(resource, names.namespace.as_deref(), names.name.as_deref());
        let key = key.ok_or_else(|| format!("{}: metadata.name is missing", resource.kind))?;
        let invalid = |error: D::Error| Invalid {
            problem: error.to_string(),
            remedy: "correct the object: its fields must have the types of its apiVersion".into(),
        };
        let object = described.map_err(invalid).and_then(|described| {
            let metadata = described.metadata.unwrap_or_default();
            let namespace = key.namespace().map(str::to_owned);
            let uid = metadata.uid.filter(|uid| !uid.is_empty());
            let metadata = Metadata { name: key.name().to_owned(), namespace, uid, ..metadata };
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

impl Names {
    fn of(metadata: &Metadata) -> Self {
        let Metadata { name, namespace, uid, .. } = metadata;
        Self { name: Some(name.clone()), namespace: namespace.clone(), uid: uid.clone() }
    }
}

#[derive(Deserialize)]
struct Described {
    metadata: Option<Metadata>,
}
