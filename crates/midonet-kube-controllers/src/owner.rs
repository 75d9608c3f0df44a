//! Owners of Translations by their names: whoever has an owner's name has its work.

use objects::Key;
use translation::{Object, ObjectKind, Owner};

use crate::kinds::{OwnedBy, Stored};

/// An owner without its UID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerName {
    /// The whole cluster.
    Globals,
    /// An object.
    Object(ObjectKind, translation::Key),
}

impl From<&Owner> for OwnerName {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::Globals => Self::Globals,
            Owner::Object(object) => Self::Object(object.kind, object.key.clone()),
        }
    }
}

/// Whose a Translation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// An owner's that Translations are made for.
    Owner(Owner),
    /// An Endpoints object's, as midonet-kubernetes had it: by now the Service's of this key.
    Endpoints(translation::Key),
    /// Not made by a controller, as far as its label and owner reference say: it is left alone.
    Unmanaged,
}

impl Whose {
    /// By its label and its owner reference.
    pub fn of(stored: &Stored) -> Self {
        let uid = match &stored.owner {
            OwnedBy::Globals => return Self::Owner(Owner::Globals),
            OwnedBy::Nobody => return Self::Unmanaged,
            OwnedBy::Uid(uid) => uid,
        };
        let Some(reference) = &stored.reference else { return Self::Unmanaged };
        let namespace = stored.key.namespace().unwrap_or_default();
        let kind = match reference.kind.as_str() {
            "Node" => ObjectKind::Node,
            "Pod" => ObjectKind::Pod,
            "Service" => ObjectKind::Service,
            "Endpoints" => return Self::Endpoints(translation::Key::new(namespace, &reference.name)),
            _ => return Self::Unmanaged,
        };
        let namespace = if kind == ObjectKind::Node { "" } else { namespace };
        let key = translation::Key::new(namespace, &reference.name);
        Self::Owner(Owner::Object(Object { kind, key, uid: uid.clone() }))
    }
}

/// The key of an object as its source has it.
pub fn object_key(key: &translation::Key) -> Key {
    if key.namespace.is_empty() { Key::new(&key.name) } else { Key::namespaced(&key.namespace, &key.name) }
}
