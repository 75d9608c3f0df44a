use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node as ApiNode;
use serde::{Deserialize, Serialize};

/// What our own annotations begin with; the others are not kept.
const ANNOTATION_PREFIX: &str = "midonet.org/";

/// An object of the cluster, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A node.
    Node(Node),
}

/// What names an object in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A node, by name.
    Node(String),
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its UID: another Node of the same name has another one. A manifest may leave it out.
    pub uid: Option<String>,
    /// When the API server created it, in seconds since 1970. A manifest may leave it out.
    #[serde(default)]
    pub created: Option<i64>,
    /// Where its Pods' addresses are from, at most one a family.
    pub pod_cidrs: Vec<IpNet>,
    /// Its addresses of type InternalIP, in its own order.
    pub internal_ips: Vec<IpAddr>,
    /// Its annotations of this project.
    pub annotations: BTreeMap<String, String>,
}

/// An object that says something impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name}: {problem}")]
pub struct InvalidObject {
    kind: &'static str,
    name: String,
    problem: String,
}

impl Object {
    /// What names it.
    pub fn key(&self) -> Key {
        match self {
            Self::Node(node) => Key::Node(node.name.clone()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "Node {name}"),
        }
    }
}

impl TryFrom<ApiNode> for Node {
    type Error = InvalidObject;

    fn try_from(node: ApiNode) -> Result<Self, InvalidObject> {
        let name = node.metadata.name.unwrap_or_default();
        let invalid = |problem| InvalidObject { kind: "Node", name: name.clone(), problem };
        if name.is_empty() {
            return Err(invalid("metadata.name is missing".into()));
        }
        let uid = node.metadata.uid.filter(|uid| !uid.is_empty());
        let created = node.metadata.creation_timestamp.map(|time| time.0.as_second());
        let spec = node.spec.unwrap_or_default();
        // podCIDR is the first of podCIDRs; an old or hand-written object may have it alone.
        let written = spec.pod_cidrs.filter(|all| !all.is_empty()).or(spec.pod_cidr.map(|one| vec![one]));
        let mut pod_cidrs: Vec<IpNet> = Vec::new();
        for text in written.unwrap_or_default() {
            let cidr: IpNet = text
                .parse()
                .map_err(|_| invalid(format!("spec.podCIDRs: \"{text}\" is no CIDR like 10.244.1.0/24")))?;
            if pod_cidrs.iter().any(|other| other.addr().is_ipv4() == cidr.addr().is_ipv4()) {
                return Err(invalid(format!("spec.podCIDRs: {cidr} is the second of its family")));
            }
            pod_cidrs.push(cidr);
        }
        let mut internal_ips = Vec::new();
        for address in node.status.unwrap_or_default().addresses.unwrap_or_default() {
            if address.type_ == "InternalIP" {
                let text = &address.address;
                let ip = text
                    .parse()
                    .map_err(|_| invalid(format!("status.addresses: \"{text}\" is no IP address")))?;
                internal_ips.push(ip);
            }
        }
        let mut annotations = node.metadata.annotations.unwrap_or_default();
        annotations.retain(|key, _| key.starts_with(ANNOTATION_PREFIX));
        Ok(Self { name, uid, created, pod_cidrs, internal_ips, annotations })
    }
}
