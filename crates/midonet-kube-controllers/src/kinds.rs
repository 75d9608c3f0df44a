//! The objects that are watched, trimmed to what Translations are made of. What is wrong with their text is found when they
//! are converted, so text stays as it is written.

mod node;
mod pod;
mod service;
mod slice;
mod stored;

use naming::annotation::{HOST_ID, MAC_ADDRESS, TUNNEL_ENDPOINT_IP, TUNNEL_ZONE_ID};
use objects::Metadata;
use serde::{Deserialize, Serialize};

pub use stored::{OwnedBy, REPLACED, Stored, TRANSLATION};

/// An object as the conversion takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched<T>(pub T);

/// Slices that no proxy needs are not even sent.
pub const PROXIED: &str = "!service.kubernetes.io/headless";

/// The annotations that make a Node one of MidoNet's hosts.
pub const NODE_ANNOTATIONS: [&str; 3] = [HOST_ID, TUNNEL_ZONE_ID, TUNNEL_ENDPOINT_IP];

/// Namespace, name and UID. A manifest may leave out the first and the last; `fallback` stands for a UID then, so that two
/// owners have two labels.
fn names(metadata: &mut Metadata, fallback: &str) -> (String, String, String) {
    let namespace = metadata.namespace.take().unwrap_or_default();
    let name = std::mem::take(&mut metadata.name);
    let uid = metadata.uid.take().unwrap_or_else(|| match namespace.is_empty() {
        true => format!("{fallback}-{name}"),
        false => format!("{fallback}-{namespace}-{name}"),
    });
    (namespace, name, uid)
}

/// `podIPs` and the like, or the first alone, as old and hand-written objects have it.
fn all_or_first(all: Option<Vec<String>>, first: Option<String>) -> Vec<String> {
    let mut texts = all.filter(|all| !all.is_empty()).unwrap_or_else(|| first.into_iter().collect());
    texts.shrink_to_fit();
    texts
}
