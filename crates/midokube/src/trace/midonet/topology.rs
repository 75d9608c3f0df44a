//! What MidoNet is told, and where the ends of a trace are in it. No I/O.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use midonet::{Body, Resource};
use naming::Mac;
use translation::CustomResource;
use uuid::Uuid;

/// The network, as the API server tells of it.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) nodes: Vec<Node>,
    pub(super) resources: Vec<Resource>,
    /// Which interface is whose.
    pub(super) bound: Vec<Bound>,
    /// What is wrong with Translations.
    pub(super) problems: Vec<String>,
}

/// A Node that is one of MidoNet's hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) host: Uuid,
    pub(super) cidr: Ipv4Net,
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) host: Uuid,
    pub(super) interface: String,
    /// Such as `Pod default/web`.
    pub(super) owner: String,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) interface: String,
    pub(super) mac: Mac,
    pub(super) address: Ipv4Addr,
}

impl Snapshot {
    /// Adds what a Translation tells MidoNet. One that is being deleted is what MidoNet loses now.
    pub(super) fn add(&mut self, translation: &CustomResource) {
        let metadata = &translation.metadata;
        if metadata.deletion_timestamp.is_some() {
            return;
        }
        let name = format!("Translation {}/{}", metadata.namespace, metadata.name);
        let owner = metadata.owner_references.first().map_or_else(
            || name.clone(),
            |owner| match owner.kind.as_str() {
                "Node" => format!("Node {}", owner.name),
                kind => format!("{kind} {}/{}", metadata.namespace, owner.name),
            },
        );
        for resource in translation.resources() {
            match resource {
                Ok(resource) => {
                    if let Body::HostInterfacePort(port) = &resource.body {
                        let (host, interface) = (port.host_id, port.interface_name.clone());
                        self.bound.push(Bound { host, interface, owner: owner.clone() });
                    }
                    self.resources.push(resource);
                }
                Err(error) => self.problems.push(format!("{name}: {error}")),
            }
        }
    }

    /// The node of a host.
    pub(super) fn node(&self, host: Uuid) -> Option<&Node> {
        self.nodes.iter().find(|node| node.host == host)
    }

    /// Whose an interface is.
    pub(super) fn owner(&self, host: Uuid, interface: &str) -> Option<&str> {
        let mut bound = self.bound.iter();
        let found = bound.find(|bound| bound.host == host && bound.interface == interface);
        found.map(|bound| bound.owner.as_str())
    }
}
