use objects::{Invalid, Key, Kind, Metadata, Resource};
use serde::Deserialize;
use translation::{Node, NodeAddress};

use super::{HOST_ID, MAC_ADDRESS, TUNNEL_ENDPOINT_IP, TUNNEL_ZONE_ID, Watched, all_or_first, names};

/// The fields of a Node that are read.
#[derive(Debug, Deserialize)]
pub struct ApiNode {
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    addresses: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl Kind for Watched<Node> {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Node", plural: "nodes", namespaced: false };

    const CACHED: bool = false;

    type Api = ApiNode;

    fn trim(mut metadata: Metadata, api: ApiNode) -> Result<Self, Invalid> {
        let mut annotation = |name: &str| metadata.annotations.remove(name);
        let (host_id, tunnel_zone_id) = (annotation(HOST_ID), annotation(TUNNEL_ZONE_ID));
        let (tunnel_endpoint_ip, mac_address) = (annotation(TUNNEL_ENDPOINT_IP), annotation(MAC_ADDRESS));
        let (spec, status) = (api.spec.unwrap_or_default(), api.status.unwrap_or_default());
        let addresses = status.addresses.into_iter().flatten();
        let (_, name, uid) = names(&mut metadata, "node");
        Ok(Self(Node {
            name,
            uid,
            pod_cidrs: all_or_first(spec.pod_cidrs, spec.pod_cidr),
            addresses: addresses.map(|Address { kind, address }| NodeAddress { kind, address }).collect(),
            host_id,
            tunnel_zone_id,
            tunnel_endpoint_ip,
            mac_address,
        }))
    }

    fn key(&self) -> Key {
        Key::new(&self.0.name)
    }

    fn uid(&self) -> Option<&str> {
        Some(&self.0.uid)
    }
}
