use serde::Deserialize;
use uuid::Uuid;

/// A host as MidoNet lists it (media type Host-v3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: Uuid,
    /// Its name; a node's name, if they are named alike.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Whether MidoNet's agent runs on it.
    #[serde(default, deserialize_with = "or_default")]
    pub alive: bool,
    /// The addresses of its interfaces, as text: IPv4 and IPv6, some of them link-local with a zone.
    #[serde(default, deserialize_with = "or_default")]
    pub addresses: Vec<String>,
}

/// MidoNet writes null for what it does not know.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}
