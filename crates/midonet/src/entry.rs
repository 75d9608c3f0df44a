use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Body, Resource};

/// A resource as a Translation stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The kind's name, see [`crate::Kind::name`].
    pub kind: String,
    /// The parent's id in lower case, or nothing.
    #[serde(default)]
    pub parent: String,
    /// The body as JSON text.
    pub body: String,
}

/// A Translation's entry is no resource that is known.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// No such kind.
    #[error("\"{0}\" is no kind of MidoNet's resources that Translations have")]
    Kind(String),
    /// The parent is no UUID.
    #[error("the parent \"{parent}\" of a {kind} is not a UUID")]
    Parent {
        /// The kind.
        kind: String,
        /// What is there.
        parent: String,
    },
    /// The body is not one of the kind.
    #[error("the body of a {kind} cannot be read: {error}")]
    Body {
        /// The kind.
        kind: String,
        /// Why.
        error: serde_json::Error,
    },
}

impl From<&Resource> for Entry {
    fn from(resource: &Resource) -> Self {
        Self {
            kind: resource.kind().name().to_owned(),
            parent: resource.parent.map(|id| id.to_string()).unwrap_or_default(),
            // Bodies have string keys alone: this does not fail.
            body: serde_json::to_string(&resource.body).unwrap_or_default(),
        }
    }
}

impl TryFrom<&Entry> for Resource {
    type Error = EntryError;

    fn try_from(entry: &Entry) -> Result<Self, EntryError> {
        let kind = entry.kind.parse().map_err(|()| EntryError::Kind(entry.kind.clone()))?;
        let parent = match entry.parent.as_str() {
            "" => None,
            text => Some(
                Uuid::try_parse(text)
                    .map_err(|_| EntryError::Parent { kind: entry.kind.clone(), parent: text.to_owned() })?,
            ),
        };
        let body = Body::parse(kind, &entry.body)
            .map_err(|error| EntryError::Body { kind: entry.kind.clone(), error })?;
        Ok(Self { parent, body })
    }
}

#[cfg(test)]
mod tests {
    use naming::Tenant;

    use super::*;
    use crate::{HostInterfacePort, Ipv4MacPair, MacPort, PortLink, Rule, TunnelZone};

    fn id(name: &str) -> Uuid {
        Tenant::default().id("test", name)
    }

    #[test]
    fn vectors_of_the_legacy_project() {
        let entry = Entry::from(&Resource::top(TunnelZone::default()));
        assert_eq!(
            (entry.kind.as_str(), entry.parent.as_str(), entry.body.as_str()),
            ("TunnelZone", "", "{}")
        );
        let port = "dbb7065f-ab57-433c-92b6-84816a9e87be".parse().unwrap();
        let mac = "01:23:45:67:89:ab".parse().unwrap();
        let at = Resource::of(id("bridge"), MacPort { mac_addr: mac, port_id: port }).item_path().unwrap();
        assert!(at.ends_with("/mac_table/01-23-45-67-89-ab_dbb7065f-ab57-433c-92b6-84816a9e87be"), "{at}");
        let pair = Resource::of(id("bridge"), Ipv4MacPair { ip: [192, 168, 1, 1].into(), mac });
        let at = pair.item_path().unwrap();
        assert!(at.ends_with("/arp_table/192.168.1.1_01-23-45-67-89-ab"), "{at}");
    }

    #[test]
    fn a_body_has_the_fields_in_the_order_of_the_legacy_project() {
        let link = Entry::from(&Resource::of(id("a"), PortLink { port_id: None, peer_id: id("b") }));
        assert_eq!(link.body, format!("{{\"portId\":null,\"peerId\":\"{}\"}}", id("b")));
        let jump = Entry::from(&Resource::of(id("a"), Rule::jump(id("r"), id("b"))));
        assert_eq!(
            jump.body,
            format!("{{\"id\":\"{}\",\"type\":\"jump\",\"jumpChainId\":\"{}\"}}", id("r"), id("b"))
        );
    }

    #[test]
    fn an_entry_is_read_back() {
        let resource = Resource::of(
            id("host"),
            HostInterfacePort { host_id: id("host"), port_id: id("port"), interface_name: "mido0".into() },
        );
        let entry = Entry::from(&resource);
        assert_eq!(Resource::try_from(&entry).unwrap(), resource);
        let says = |entry: Entry| Resource::try_from(&entry).unwrap_err().to_string();
        assert!(says(Entry { kind: "Vtep".into(), ..entry.clone() }).contains("\"Vtep\" is no kind"));
        assert!(says(Entry { parent: "x".into(), ..entry.clone() }).contains("\"x\" of a HostInterfacePort"));
        assert!(says(Entry { body: "{}".into(), ..entry }).contains("missing field `hostId`"));
    }
}
