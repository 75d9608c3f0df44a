use midonet::Resource;

use crate::Object;

/// The finalizer that keeps a Translation until its resources are deleted in MidoNet.
pub const FINALIZER: &str = "midonet.org/deleter";

/// The label with the owner's uid.
pub const OWNER_LABEL: &str = "midonet.org/owner-uid";

/// The label, with an empty value, of what has no owner.
pub const GLOBAL_LABEL: &str = "midonet.org/global";

/// Whom Translations are made for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The whole cluster: the router, the tunnel zone and the chains that all nodes share.
    Globals,
    /// An object: a Node, a Pod or a Service.
    Object(Object),
}

impl Owner {
    /// The label that all of the owner's Translations have, and its value.
    pub fn label(&self) -> (&'static str, &str) {
        match self {
            Self::Globals => (GLOBAL_LABEL, ""),
            Self::Object(object) => (OWNER_LABEL, &object.uid),
        }
    }

    /// The label selector that lists all of the owner's Translations.
    pub fn selector(&self) -> String {
        match self {
            Self::Globals => GLOBAL_LABEL.to_owned(),
            Self::Object(object) => format!("{OWNER_LABEL}={}", object.uid),
        }
    }

    /// The namespace of the owner's Translations: "kube-system" for globals, "default" for an owner without namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Globals => "kube-system",
            Self::Object(object) if object.key.namespace.is_empty() => "default",
            Self::Object(object) => &object.key.namespace,
        }
    }
}

/// A list of MidoNet's resources that is kept in Kubernetes as a custom resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// Its namespace, see [`Owner::namespace`].
    pub namespace: String,
    /// Its name, see [`crate::translation_name`].
    pub name: String,
    /// Whom it is made for: its label and its owner reference.
    pub owner: Owner,
    /// In the order in which they are posted: parents come first, and of two rules of a chain the later one is in front.
    pub resources: Vec<Resource>,
}
