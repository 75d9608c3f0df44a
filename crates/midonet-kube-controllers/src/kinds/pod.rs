use objects::{Invalid, Key, Kind, Metadata, Resource};
use serde::Deserialize;
use translation::Pod;

use super::{MAC_ADDRESS, Watched, all_or_first, names};

/// The fields of a Pod that are read.
#[derive(Debug, Deserialize)]
pub struct ApiPod {
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Debug, Deserialize)]
struct PodIp {
    ip: Option<String>,
}

impl Kind for Watched<Pod> {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", kind: "Pod", plural: "pods", namespaced: true };

    const CACHED: bool = false;

    type Api = ApiPod;

    fn trim(mut metadata: Metadata, api: ApiPod) -> Result<Self, Invalid> {
        let (spec, status) = (api.spec.unwrap_or_default(), api.status.unwrap_or_default());
        let mac_address = metadata.annotations.remove(MAC_ADDRESS);
        let ips = status.pod_ips.map(|all| all.into_iter().filter_map(|one| one.ip).collect());
        let (namespace, name, uid) = names(&mut metadata, "pod");
        Ok(Self(Pod {
            namespace,
            name,
            uid,
            node: spec.node_name.unwrap_or_default(),
            host_network: spec.host_network.unwrap_or_default(),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ips: all_or_first(ips, status.pod_ip),
            mac_address,
        }))
    }

    fn key(&self) -> Key {
        Key::namespaced(&self.0.namespace, &self.0.name)
    }

    fn uid(&self) -> Option<&str> {
        Some(&self.0.uid)
    }
}
